"""Parses every recipe of the layer as BitBake does, and checks what comes of it: for each reference
board the layout, for each mistake the error.

    python parse.py WORK
"""

import ast
import re
import sys
import tomllib
from pathlib import Path

from boards import BOARDS, SETTINGS
from bb_layer import HERE, LAYER, Layer, Refused

import bb.codeparser
import tandem.boot
import tandem.layout
import tandem.settings

ROOT = HERE.parent.parent
IMAGE = "recipes-tandem/images/tandem-image-minimal.bb"
UBOOT_APPEND = "recipes-bsp/u-boot/u-boot_%.bbappend"

# Wrong settings, the recipe that they are told to, and what it says.
MISTAKES = [
    (IMAGE, {"TANDEM_ARTIFACT_NAME": ""}, "TANDEM_ARTIFACT_NAME is not set"),
    (IMAGE, {"TANDEM_ARTIFACT_NAME": "release 1"}, "must be one word"),
    (IMAGE, {"TANDEM_DEVICE_TYPE": "my/board"}, "letters, digits"),
    (IMAGE, {"TANDEM_BOOT": ""}, "take a board's configuration"),
    (IMAGE, {"TANDEM_BOOT": "u-boot"}, 'did you mean "uboot"?'),
    (IMAGE, {"TANDEM_STORAGE_DEVICE": "mmcblk0"}, "such as /dev/mmcblk0"),
    (IMAGE, {"TANDEM_STORAGE_DEVICE": "/dev/mmcblk0p2"}, "must be the whole disk"),
    (IMAGE, {"TANDEM_STORAGE_SIZE_MB": "180"}, "must be at least 192"),
    (IMAGE, {"TANDEM_STORAGE_SIZE_MB": "1G"}, "must be a whole number"),
    (IMAGE, {"TANDEM_DATA_SIZE_MB": "0"}, "128 is usual"),
    (IMAGE, {"TANDEM_DATA_SIZE_MB": "2000"}, "it must be at least"),
    (IMAGE, {"TANDEM_BOOT_SIZE_MB": "0"}, "keeps its files on the boot partition"),
    (IMAGE, {"TANDEM_BOOT_SIZE_MB": "-1"}, "must be a whole number"),
    (IMAGE, {"TANDEM_ALIGN_KB": "3000"}, "power of two"),
    (IMAGE, {"TANDEM_ALIGN_KB": "512"}, "at least 1024"),
    (IMAGE, {"TANDEM_UBOOT_ENV_SIZE": "many"}, "such as 0x20000"),
    (IMAGE, {"TANDEM_UBOOT_ENV_SIZE": "0x2000000"}, "at most the alignment"),
    (IMAGE, {"TANDEM_TABLE": "msdos"}, '"gpt" or "dos"'),
    (IMAGE, {"TANDEM_BOOT": "grub", "TANDEM_TABLE": "dos"}, 'needs "gpt"'),
    (IMAGE, {"TANDEM_EXTRA_PARTS": "logs:64M"}, "NAME:MIB"),
    (IMAGE, {"TANDEM_EXTRA_PARTS": "logs:64 logs:64"}, "a name of its own"),
    (IMAGE, {"TANDEM_EXTRA_PARTS": "data:64"}, "a name of its own"),
    (IMAGE, {"TANDEM_EXTRA_PARTS": "logs:900"}, "must be at least"),
    (IMAGE, {"TANDEM_RAW_FILES": "u-boot.img"}, "FILE@BYTES"),
    (IMAGE, {"TANDEM_RAW_FILES": "u-boot.img@0x800000"}, "between the partition table"),
    (IMAGE, {"TANDEM_RAW_FILES": "u-boot.img@512"}, "between the partition table"),
    (IMAGE, {"TANDEM_SIGNING_KEY": "/nonexistent.pem"}, "is no file"),
    (IMAGE, {"MENDER_FEATURES_ENABLE": "mender-image-ubi"}, "raw flash (UBI) is not supported"),
    ("recipes-tandem/tandem/tandem-config.bb", {"TANDEM_VERIFY_KEY": ""}, 'TANDEM_VERIFY_KEY is not set'),
    ("recipes-tandem/tandem/tandem-config.bb", {"TANDEM_VERIFY_KEY": "signer.pub"}, "absolute path"),
    ("recipes-tandem/tandem/tandem-config.bb", {"TANDEM_SERVER_URL": "http://x"}, "must begin with https://"),
    ("recipes-tandem/tandem/tandem-boot.bb", {"TARGET_ARCH": "riscv64"}, "no boot script for riscv64"),
    ("recipes-tandem/tandem/tandem-boot.bb", {"TANDEM_STORAGE_DEVICE": "/dev/nbd0"}, "set TANDEM_UBOOT_DEVICE"),
    ("recipes-tandem/tandem/tandem.bb", {"TANDEM_SOURCE": "/nonexistent"}, "is no checkout of Tandem"),
    ("UBOOT", {"TANDEM_BOOT": "uboot", "TANDEM_STORAGE_DEVICE": "/dev/vda"}, "on an MMC device"),
    ("UBOOT", {"TANDEM_BOOT": "uboot", "TARGET_ARCH": "x86_64", "TANDEM_STORAGE_DEVICE": "/dev/mmcblk0"}, "aarch64 and arm"),
    ("SCRIPTS", {"SRC_URI": "file://ArtifactInstall_Enter_1_x"}, "is no name of a state script"),
    ("SCRIPTS", {"SRC_URI": "file://Idel_Enter_10"}, "is no name of a state script"),
]


def main(work):
    layer = Layer(work)
    layer.stubs = stubs(work)
    crates(layer)
    for name, board in BOARDS.items():
        check_board(layer, name, board)
    for path, settings, words in MISTAKES:
        mistake(layer, path, settings, words)
    fallbacks(layer)
    warnings(layer)
    uboot(layer)
    state_scripts(layer)
    config(layer, work)
    variables()
    code(layer)
    print(f"{len(BOARDS)} boards, {len(MISTAKES)} mistakes")


def stubs(work):
    """Recipes of others, as far as the layer has to do with them."""
    recipes = {
        "UBOOT": ("u-boot_2026.01.bb", ""),
        "SCRIPTS": ("my-scripts.bb", "inherit tandem_state_scripts\n"),
    }
    paths = {}
    for key, (name, text) in recipes.items():
        paths[key] = work / name
        paths[key].write_text(text)
    return paths


def parsed(layer, path, settings=None, board="qemuarm64", **how):
    machine = BOARDS[board].machine if board else {}
    settings = {**SETTINGS, **machine, **(settings or {})}
    appends = [UBOOT_APPEND] if path == "UBOOT" else []
    return layer.recipe(layer.stubs.get(path, path), settings, board, appends=appends, **how)


def crates(layer):
    """Every crate of the lock file, and none besides, is fetched with its checksum."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    wanted = {(p["name"], p["version"], p["checksum"]) for p in lock["package"] if "source" in p}
    recipes = [path for path in LAYER.glob("recipes-*/*/*.bb") if "inherit tandem_source" in path.read_text()]
    same(len(recipes), 4, "recipes that build a member of the workspace")
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    members = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    for path in recipes:
        d = layer.recipe(path, {})
        uris = d.getVar("SRC_URI").split()
        sums = d.getVarFlags("SRC_URI") or {}
        found = set()
        for uri in uris:
            if uri.startswith("crate://"):
                name, crate_version = uri.split("/")[-2:]
                found.add((name, crate_version, sums.get(f"{name}-{crate_version}.sha256sum")))
        same(found, wanted, f"crates of {path.name}")
        same(d.getVar("PV"), version, f"version of {path.name}")
        files = {uri.split(";")[0].removeprefix("file://") for uri in uris if uri.startswith("file://")}
        same(files, {"Cargo.toml", "Cargo.lock", "LICENSE", *(member.split("/")[0] for member in members)}, f"files of {path.name}")
        profile = "device" if path.name == "tandem.bb" else "release"
        same((d.getVar("BUILD_MODE").split()[-1].strip("-"), d.getVar("BUILD_DIR")), (profile, profile), f"profile of {path.name}")
        package = d.getVar("TANDEM_PACKAGE")
        manifests = [tomllib.loads((ROOT / member / "Cargo.toml").read_text()) for member in members]
        expect(package in [manifest["package"]["name"] for manifest in manifests], f"{package} is no member")


def check_board(layer, name, board):
    """The numbers of a reference board."""
    d = parsed(layer, IMAGE, board=name)
    fields = [entry.split(":") for entry in d.getVar("TANDEM_LAYOUT").split()]
    environment = [place // 1024 for place in layout_of(d).environment]
    same(environment + [int(start) / 1024 for _, _, start, *_ in fields], board.offsets, f"offsets of {name}")
    same([int(number) for number, *_ in fields], board.numbers, f"numbers of {name}")
    same(d.getVar("IMAGE_ROOTFS_SIZE"), str(board.slot_mb * 1024), f"root part of {name}")
    same(d.getVar("IMAGE_ROOTFS_MAXSIZE"), str(board.slot_mb * 1024), f"most that a root part of {name} holds")
    parsed(layer, "recipes-tandem/tandem/tandem-config.bb", board=name)


def layout_of(d):
    return tandem.layout.of(d)


def mistake(layer, path, settings, words):
    """A mistake is refused, and what is said about it has the way out."""
    try:
        parsed(layer, path, settings)
    except Refused as refusal:
        expect(words in str(refusal), f"{settings} is refused with {str(refusal)!r}, without {words!r}")
    else:
        expect(False, f"{settings} is accepted")


def fallbacks(layer):
    """A configuration for meta-mender gives the same device."""
    mender = {
        "MENDER_ARTIFACT_NAME": "old-7",
        "MENDER_DEVICE_TYPE": "old-board",
        "MENDER_DEVICE_TYPES_COMPATIBLE": "old-board older-board",
        "MENDER_STORAGE_DEVICE": "/dev/mmcblk1",
        "MENDER_STORAGE_TOTAL_SIZE_MB": "2048",
        "MENDER_BOOT_PART_SIZE_MB": "40",
        "MENDER_DATA_PART_SIZE_MB": "256",
        "MENDER_STORAGE_PEB_SIZE": "4194304",
        "MENDER_SERVER_URL": "https://old.example.com",
        "MENDER_TENANT_TOKEN": "dummy",
        "BOOTENV_SIZE": "0x40000",
        "TANDEM_BOOT": "uboot",
    }
    d = layer.recipe(LAYER / IMAGE, mender)
    for name, value in (
        ("TANDEM_ARTIFACT_NAME", "old-7"),
        ("TANDEM_DEVICE_TYPE", "old-board older-board"),
        ("TANDEM_STORAGE_DEVICE", "/dev/mmcblk1"),
        ("TANDEM_ALIGN_KB", "4096"),
        ("TANDEM_SERVER_URL", "https://old.example.com"),
        ("TANDEM_TENANT_TOKEN", ""),
        ("TANDEM_UBOOT_ENV_SIZE", "0x40000"),
    ):
        same(d.getVar(name), value, f"{name} from meta-mender's")
    same(layout_of(d).environment, (4096, 8192), "environment of a device of meta-mender")
    d = layer.recipe(LAYER / IMAGE, {**mender, "TANDEM_SERVER_URL": "https://new.example.com"})
    same(d.getVar("TANDEM_SERVER_URL"), "https://new.example.com", "our name before meta-mender's")


def warnings(layer):
    """A misspelt variable is told, with the one that was meant."""
    parsed(layer, IMAGE, {"TANDEM_SEVER_URL": "https://x.example.com"})
    told = "\n".join(layer.messages.texts)
    expect('"TANDEM_SEVER_URL"; did you mean "TANDEM_SERVER_URL"?' in told, f"misspelt, but told is {told!r}")
    parsed(layer, IMAGE)
    same(layer.messages.texts, [], "warnings about right settings")


def uboot(layer):
    """U-Boot is left alone unless the board says otherwise."""
    for boot, changed in (("uboot", True), ("uboot-script", False), ("", False)):
        settings = {"TANDEM_BOOT": boot, "TANDEM_STORAGE_DEVICE": "/dev/mmcblk0"}
        d = parsed(layer, "UBOOT", settings)
        same("tandem.cfg" in (d.getVar("SRC_URI") or ""), changed, f"U-Boot with TANDEM_BOOT {boot!r} changed")
    d = parsed(layer, "UBOOT", {"TANDEM_STORAGE_DEVICE": "/dev/mmcblk0", "TANDEM_BOOT": "uboot", "TARGET_ARCH": "arm"})
    template = (LAYER / "recipes-bsp/u-boot/files/tandem.env").read_text()
    text = tandem.boot.fill(template, tandem.boot.words(d))
    for words in ("mender_boot_part=2\n", "bootlimit=1\n", "; bootz ${kernel_addr_r} - ", "root=/dev/mmcblk0p${mender_boot_part}"):
        expect(words in text, f"U-Boot's environment lacks {words!r}")
    # One line each: the build of U-Boot joins lines that do not begin with a name.
    expect(all(re.match(r"[a-z_]+=", line) for line in text.splitlines()), "U-Boot's environment has a broken line")
    for words in ("CONFIG_ENV_OFFSET=0x800000\n", "CONFIG_ENV_OFFSET_REDUND=0x1000000\n", "CONFIG_ENV_SIZE=0x20000\n"):
        expect(words in tandem.boot.uboot_config(d), f"U-Boot's configuration lacks {words!r}")


def state_scripts(layer):
    """Scripts go where their states say."""
    uris = "file://Idle_Enter_00 file://Download_Enter_50_ask-user file://ArtifactInstall_Leave_99_x file://helper.sh"
    d = parsed(layer, "SCRIPTS", {"SRC_URI": uris})
    same(d.getVar("TANDEM_SCRIPTS"), "Idle_Enter_00 Download_Enter_50_ask-user", "scripts of the root file system")
    same(d.getVar("TANDEM_ARTIFACT_SCRIPTS"), "ArtifactInstall_Leave_99_x", "scripts of the artifact")


def config(layer, work):
    """The agent's configuration, with the keys that were given; the agent itself reads it in disk.py."""
    key = work / "signer.pub"
    key.write_text("a key\n")
    settings = {
        "TANDEM_VERIFY_KEY": str(key),
        "TANDEM_SERVER_URL": 'https://x.example.com/"',
        "TANDEM_CONFIG": r"retry_poll_count = 3\nstall_timeout_seconds = '1m'",
    }
    d = parsed(layer, "recipes-tandem/tandem/tandem-config.bb", settings, board="uefi-pc")
    text = tandem.settings.config(d, tandem.layout.root_devices(tandem.layout.of(d), "/dev/sda"))
    same(
        tomllib.loads(text),
        {
            "data_dir": "/data/tandem",
            "rootfs_part_a": "/dev/sda2",
            "rootfs_part_b": "/dev/sda3",
            "boot_loader": "grub",
            "grub_env_dir": "/boot/efi/grub-mender-grubenv",
            "artifact_verify_key": "/etc/tandem/verify.pem",
            "server_url": 'https://x.example.com/"',
            "retry_poll_count": 3,
            "stall_timeout_seconds": "1m",
        },
        "tandem.toml",
    )
    expect(f"file://{key}" in d.getVar("SRC_URI"), "the key is not fetched")


def variables():
    """Every variable that is used is known, every one that is known is used, and the manual has those of users."""
    files = [path for path in LAYER.rglob("*") if path.suffix in (".bbclass", ".bb", ".inc", ".conf", ".bbappend", ".py")]
    texts = {path: path.read_text() for path in files if path.name != "settings.py"}
    used = {name for text in texts.values() for name in re.findall(r"\bTANDEM_[A-Z_]*[A-Z]\b", text)}
    same(used - set(tandem.settings.KNOWN), set(), "variables that are used but not known")
    used |= set(re.findall(r'getVar\("(TANDEM_[A-Z_]+)"', (LAYER / "lib/tandem/settings.py").read_text()))
    same(set(tandem.settings.KNOWN) - used, set(), "variables that are known but not used")
    same(len(tandem.settings.INTEGRATOR), 12, "variables of an integrator")
    # BitBake 2.8 cannot read what modules take from others one by one.
    for path in LAYER.glob("lib/tandem/*.py"):
        expect(not re.search(r"^from [a-z]", path.read_text(), re.MULTILINE), f"{path.name} imports parts of a module")
    manual = (LAYER.parent / "README.md").read_text()
    for name in tandem.settings.INTEGRATOR + tandem.settings.BOARD + tandem.settings.OTHER:
        expect(f"`{name}`" in manual, f"{name} is not in yocto/README.md")


def code(layer):
    """All shell is what BitBake's shell parser understands, all Python compiles."""
    for path in sorted(LAYER.glob("recipes-*/*/*.bb")) + [layer.stubs["UBOOT"], layer.stubs["SCRIPTS"]]:
        settings = {"SRC_URI": "file://Idle_Enter_00"} if path.name == "my-scripts.bb" else {}
        if path.name == "u-boot_2026.01.bb":
            settings = {"TANDEM_BOOT": "uboot", "TANDEM_STORAGE_DEVICE": "/dev/mmcblk0"}
        key = "UBOOT" if path.name.startswith("u-boot") else path
        d = parsed(layer, key, settings)
        for name in d.keys():
            if not d.getVarFlag(name, "func", False) or name.endswith(":append"):
                continue
            if d.getVarFlag(name, "python", False):
                text = d.getVar(name, False) or "    pass\n"
                ast.parse(text if text.startswith("def ") else f"def task(d):\n{text}")
            else:
                bb.codeparser.ShellParser(name, bb.data.logger).parse_shell(d.getVar(name))


def same(found, wanted, what):
    expect(found == wanted, f"{what}: found {found}, wanted {wanted}")


def expect(holds, otherwise):
    if not holds:
        raise SystemExit(f"yocto: {otherwise}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
