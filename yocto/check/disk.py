"""Makes the disk of every reference board with the functions of the image class, exactly as BitBake
would run them, and looks at what is on it with the tools of others.

    python disk.py WORK PROGRAMS

PROGRAMS is the directory of tandem, tandem-artifact and tandem-image.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from boards import BOARDS, SETTINGS
from bb_layer import LAYER, Layer

import bb
import bb.build
import bb.utils
import tandem.boot
import tandem.layout
import tandem.settings

IMAGE = LAYER / "recipes-tandem/images/tandem-image-minimal.bb"
BOOT = LAYER / "recipes-tandem/tandem/tandem-boot.bb"
CONFIG = LAYER / "recipes-tandem/tandem/tandem-config.bb"


class Failed(Exception):
    """A command has failed; the text has what it said."""


def main(work, programs):
    layer = Layer(work / "stub")
    os.environ["PATH"] = f"{programs}:{os.environ['PATH']}:/sbin:/usr/sbin"
    for name in BOARDS:
        check_board(layer, work / name, name, programs)
    refuse_too_large(layer, work / "too-large")
    configure_uboot(layer, work / "u-boot")
    print(f"{len(BOARDS)} disks, made and read back")


def check_board(layer, place, name, programs):
    place.mkdir(parents=True)
    d = image(layer, place, name)
    deploy = Path(d.getVar("DEPLOY_DIR_IMAGE"))
    if d.getVar("TANDEM_BOOT") != "uboot":
        deploy_boot(layer, place, name)
    build(d)
    images = Path(d.getVar("IMGDEPLOYDIR"))
    disk = images / (d.getVar("IMAGE_NAME") + ".disk")
    layout = tandem.layout.of(d)

    # The table, as sfdisk reads it back.
    table = json.loads(run("sfdisk", "-J", disk))["partitiontable"]
    same(disk.stat().st_size, int(d.getVar("TANDEM_STORAGE_SIZE_MB")) << 20, f"length of {name}")
    same(table["label"], layout.table, f"table of {name}")
    found = [(int(p["node"].rsplit("disk", 1)[1]), p["start"] * 512, p["size"] * 512) for p in table["partitions"]]
    wanted = [(part.number, part.start * 1024, part.size * 1024) for part in layout.parts]
    same(found, wanted, f"partitions of {name}")

    # Nothing on the places of U-Boot's environment: it then starts with what is compiled into it.
    with disk.open("rb") as file:
        for copy in layout.environment:
            file.seek(copy * 1024)
            expect(not any(file.read(tandem.layout.environment_size(d))), f"environment of {name} is not empty")

    # The file systems, by those who made the formats' tools.
    checkers = {"ext4": ("e2fsck", "-fn"), "vfat": ("fsck.vfat", "-n")}
    rootfs = images / (d.getVar("IMAGE_NAME") + ".ext4")
    for part in layout.parts:
        piece = place / part.name
        if part.name == "root-a":
            cut(disk, part, piece, rootfs.stat().st_size)
            run("cmp", piece, rootfs)
        elif part.name == "root-b":
            expect(hole(disk, part), f"root part B of {name} is not empty")
        elif part.fstype in checkers:
            cut(disk, part, piece, part.size * 1024)
            run(*checkers[part.fstype], piece)

    check_boot_files(place, name, d)
    check_device(place, name, d, images, programs)
    if d.getVar("TANDEM_BOOT") != "uboot":
        same_boot_script(place, name, d, rootfs)
    for raw, start, _ in tandem.layout.raw_files(d):
        with disk.open("rb") as file:
            file.seek(start)
            content = (deploy / raw).read_bytes()
            same(file.read(len(content)), content, f"{raw} of {name}")


def image(layer, place, name, **settings):
    """The data of the image recipe, and around it what other recipes would have deployed."""
    board = BOARDS[name].machine
    settings = {**SETTINGS, **board, "TOPDIR": str(place), "TANDEM_ARTIFACT_ARGS": "--compression none", **settings}
    if name == "beaglebone-black":
        settings.setdefault("TANDEM_RAW_FILES", "MLO@0x20000 u-boot.img@0x60000")
    d = layer.recipe(IMAGE, settings, name)
    deploy = Path(d.getVar("DEPLOY_DIR_IMAGE"))
    for file in ("MLO", "u-boot.img", "u-boot.bin", "bootfiles/start.elf", "bootfiles/overlays/a.dtbo", "grub-efi-bootx64.efi"):
        path = deploy / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.encode() * 100)
    root = Path(d.getVar("IMAGE_ROOTFS"))
    for file, text in (
        ("etc/fstab", "/dev/root / auto defaults 1 1\n"),
        (f"boot/{d.getVar('KERNEL_IMAGETYPE')}", "kernel\n"),
        ("data/of-a-package/file", "kept\n"),
    ):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    Path(d.getVar("TANDEM_DATA_TREE")).mkdir(parents=True)
    Path(d.getVar("IMGDEPLOYDIR")).mkdir(parents=True)
    return d


def build(d):
    """What the tasks of the image do, in their order."""
    for step in d.getVar("ROOTFS_POSTPROCESS_COMMAND").split():
        task(d, step)
    rootfs = Path(d.getVar("IMGDEPLOYDIR")) / (d.getVar("IMAGE_NAME") + ".ext4")
    run("mke2fs", "-q", "-t", "ext4", "-d", d.getVar("IMAGE_ROOTFS"), rootfs, "32M")
    for name in ("mender", "bootstrap-artifact", "disk"):
        task(d, f"IMAGE_CMD:{name}")


def deploy_boot(layer, place, name):
    """What the recipe of the boot script deploys."""
    d = layer.recipe(BOOT, {**SETTINGS, **BOARDS[name].machine, "TOPDIR": str(place)}, name)
    source = Path(d.getVar("S"))
    source.mkdir(parents=True)
    Path(d.getVar("B")).mkdir(parents=True)
    scripts = Path(d.getVar("TANDEM_SOURCE")) / "e2e/src/disk_image/boot"
    for uri in d.getVar("SRC_URI").split():
        file = uri.removeprefix("file://")
        (source / file).write_bytes((scripts / file).read_bytes())
    task(d, "do_compile")
    d.setVar("DEPLOYDIR", d.getVar("DEPLOY_DIR_IMAGE"))
    task(d, "do_deploy")


def task(d, name):
    """Runs a function of the metadata."""
    if d.getVarFlag(name, "python", False):
        scope = {"bb": bb, "os": os, "tandem": tandem}
        exec(f"def task(d):\n{d.getVar(name, False)}", scope)
        scope["task"](d)
    else:
        # With the task come the functions that it calls.
        body = d.getVar(name)
        functions = [n for n in d.keys() if n.startswith("tandem_") and re.search(rf"\b{n}\b", body)]
        script = 'set -e\nbbfatal () { echo "$*" >&2; exit 1; }\n'
        script += "".join(f"{function} () {{\n{d.getVar(function)}\n}}\n" for function in functions)
        script += f"task () {{\n{body}\n}}\ntask\n"
        file = Path(d.getVar("TOPDIR")) / f"run.{name.replace(':', '-')}"
        file.write_text(script)
        run("sh", file)


# The boot script's recipe has a function for the part of its task that is shell.
bb.build.exec_func = lambda name, d: task(d, name)


def check_boot_files(place, name, d):
    wanted = {
        "qemuarm64": ["boot.scr"],
        "uefi-pc": ["EFI/BOOT/bootx64.efi", "EFI/BOOT/grub.cfg"]
        + [f"grub-mender-grubenv/mender_grubenv{copy}/{file}" for copy in (1, 2) for file in ("env", "lock", "lock.sha256sum")],
        "beaglebone-black": ["MLO", "u-boot.img"],
        "raspberrypi3": ["start.elf", "overlays/a.dtbo", "kernel8.img"],
    }[name]
    tree = place / "boot.tree"
    tree.mkdir()
    run("mcopy", "-s", "-i", place / "boot", "::", tree)
    found = sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
    same(found, sorted(wanted), f"boot partition of {name}")
    if name == "uefi-pc":
        for copy in (1, 2):
            env = tree / f"grub-mender-grubenv/mender_grubenv{copy}"
            listed = run("grub-editenv", env / "env", "list").split()
            same(sorted(listed), ["bootcount=0", "mender_boot_part=2", "upgrade_available=0"], "GRUB's state")
            same(run("grub-editenv", env / "lock", "list"), "editing=0\n", "GRUB's lock")
            run("sha256sum", "-c", "--status", "lock.sha256sum", cwd=env)


def check_device(place, name, d, images, programs):
    """What the agent makes of it: its configuration, and what it says is installed."""
    artifact = images / (d.getVar("IMAGE_NAME") + ".mender")
    run("tandem-artifact", "--quiet", "validate", artifact)
    read = json.loads(run("tandem-artifact", "--quiet", "read", "--json", artifact))
    expect("release-1" in json.dumps(read) and d.getVar("MACHINE") in json.dumps(read), f"artifact of {name}: {read}")
    data = place / "data.tree"
    data.mkdir()
    run("debugfs", "-R", f"rdump / {data}", place / "data")
    same((data / "of-a-package/file").read_text(), "kept\n", f"data of packages of {name}")
    same((data / "tandem/device_type").read_text(), f"device_type={d.getVar('MACHINE')}\n", f"device type of {name}")
    config = layer_config(d, place, name)
    os.chmod(data / "tandem", 0o700)
    installed = run("tandem", "--config", config, "--datastore", data / "tandem", "show-artifact").strip()
    same(installed, "release-1", f"what the agent of {name} says is installed")
    root = place / "etc.tree"
    root.mkdir()
    run("debugfs", "-R", f"rdump /etc {root}", place / "root-a")
    fstab = (root / "etc/fstab").read_text().splitlines()
    layout, disk = tandem.layout.of(d), d.getVar("TANDEM_STORAGE_DEVICE")
    mounts = [line.split()[:2] for line in fstab]
    wanted = [["/dev/root", "/"]] + [
        [tandem.layout.device(disk, part.number), part.mount] for part in layout.parts if part.mount not in ("", "/")
    ]
    same(mounts, wanted, f"fstab of {name}")
    if layout.environment:
        # The tools are those of the workspace; that they read this is what counts.
        fw_env = (root / "etc/fw_env.config").read_text().replace(disk, str(images / (d.getVar("IMAGE_NAME") + ".disk")))
        (place / "fw_env.config").write_text(fw_env)
        (place / "initial").write_text("x=1\n")
        run("fw_setenv", "-c", place / "fw_env.config", "-f", place / "initial", "upgrade_available", "0")
        same(run("fw_printenv", "-c", place / "fw_env.config", "-n", "upgrade_available").strip(), "0", f"environment of {name}")


def layer_config(d, place, name):
    path = place / "tandem.toml"
    path.write_text(tandem.settings.config(d, tandem.layout.root_devices(tandem.layout.of(d), d.getVar("TANDEM_STORAGE_DEVICE"))))
    return path


def same_boot_script(place, name, d, rootfs):
    """The script on the disk is what tandem-image puts on the disks that the tests boot."""
    boot = {"uboot-script": "uboot-script-arm64", "grub": "grub"}[d.getVar("TANDEM_BOOT")]
    disk = place / "of-tandem-image"
    arguments = tandem.boot.kernel_arguments(d).removeprefix("rw panic=1 ")
    run(
        "tandem-image", "--rootfs", rootfs, "--release", "release-1", "--device-type", "x", "--output", disk,
        "--boot", boot, "--disk", d.getVar("TANDEM_STORAGE_DEVICE"), "--kernel-path", d.getVar("TANDEM_KERNEL"),
        "--kernel-args", arguments, "--set", "allow_unsigned = true", "--writable-root",
    )
    first = json.loads(run("sfdisk", "-J", disk))["partitiontable"]["partitions"][0]
    file = {"uboot-script": "boot.scr", "grub": "EFI/BOOT/grub.cfg"}[d.getVar("TANDEM_BOOT")]
    theirs = run("mtype", "-i", f"{disk}@@{first['start'] * 512}", f"::{file}", binary=True)
    ours = run("mtype", "-i", place / "boot", f"::{file}", binary=True)
    # A script for U-Boot has a header of 64 bytes, with a time in it.
    skip = 64 if file == "boot.scr" else 0
    same(ours[skip:].decode("latin-1"), theirs[skip:].decode("latin-1"), f"boot script of {name}")


def refuse_too_large(layer, place):
    """A file that does not fit is an error, never a neighbour overwritten."""
    place.mkdir()
    d = image(layer, place, "beaglebone-black", TANDEM_RAW_FILES="MLO@0x20000 u-boot.img@0x20100")
    try:
        build(d)
    except Failed as error:
        expect("its place on the disk 256" in str(error), f"too large a file: {error}")
    else:
        expect(False, "a file that overwrites its neighbour is accepted")


def configure_uboot(layer, place):
    """What happens to a source tree of U-Boot, on one that has no more than what matters."""
    place.mkdir()
    recipe = place / "u-boot_2026.01.bb"
    recipe.write_text("")
    settings = {**SETTINGS, **BOARDS["beaglebone-black"].machine, "TOPDIR": str(place), "UBOOT_MACHINE": "board_defconfig"}
    d = layer.recipe(recipe, settings, "beaglebone-black", appends=["recipes-bsp/u-boot/u-boot_%.bbappend"])
    source, build_dir, unpacked = (Path(d.getVar(name)) for name in ("S", "B", "UNPACKDIR"))
    board = source / "board/vendor/board"
    for directory in (board, source / "configs", build_dir):
        directory.mkdir(parents=True)
    for name in ("tandem.cfg", "tandem.env"):
        (unpacked / name).write_text((LAYER / "recipes-bsp/u-boot/files" / name).read_text())
    task(d, "tandem_fill")
    (source / "configs/board_defconfig").write_text("CONFIG_ARM=y\n")
    whole = 'CONFIG_SYS_VENDOR="vendor"\nCONFIG_SYS_BOARD="board"\n' + (unpacked / "tandem.cfg").read_text()
    (build_dir / ".config").write_text(whole)
    ours = (unpacked / "tandem.env").read_text()

    task(d, "do_configure")
    same((board / "tandem.env").read_text(), ours, "environment of a board without one of its own")
    (board / "board.env").write_text("console=ttyS0\n")
    task(d, "do_configure")
    same((board / "tandem.env").read_text(), "console=ttyS0\n" + ours, "environment of a board with its own")

    for lost, words in (
        ("CONFIG_BOOTCOUNT_ENV=y\n", "a trial would never end"),
        ("CONFIG_ENV_OFFSET=0x800000\n", "cannot be given CONFIG_ENV_OFFSET=0x800000"),
        ("CONFIG_ENV_REDUNDANT=y\nCONFIG_SYS_REDUNDAND_ENVIRONMENT=y\n", "one copy of its environment"),
    ):
        expect(lost in whole, f"{lost} is not in the fragment")
        (build_dir / ".config").write_text(whole.replace(lost, ""))
        try:
            task(d, "do_configure")
        except Failed as error:
            expect(words in str(error), f"U-Boot without {lost}: {error}")
        else:
            expect(False, f"U-Boot without {lost} is accepted")

    # The commands are of a form that a shell understands, and the whole fits into an environment.
    for line in ours.splitlines():
        run("sh", "-n", "-c", line.partition("=")[2])
    size = d.getVar("TANDEM_UBOOT_ENV_SIZE")
    for copy in ("env-0", "env-1"):
        run("mkenvimage", "-r", "-s", size, "-o", place / copy, unpacked / "tandem.env")
    (place / "fw_env.config").write_text("".join(f"{place}/env-{copy} 0 {size}\n" for copy in (0, 1)))
    same(run("fw_printenv", "-c", place / "fw_env.config", "-n", "bootlimit"), "1\n", "bootlimit of U-Boot")


def cut(disk, part, piece, length):
    run("dd", f"if={disk}", f"of={piece}", "bs=1M", f"skip={part.start * 1024}", f"count={length}",
        "iflag=skip_bytes,count_bytes", "conv=sparse", "status=none")


def hole(disk, part):
    """Whether nothing has ever been written there."""
    with disk.open("rb") as file:
        try:
            return os.lseek(file.fileno(), part.start * 1024, os.SEEK_DATA) >= (part.start + part.size) * 1024
        except OSError:
            return True


def run(*command, cwd=None, binary=False):
    done = subprocess.run([str(word) for word in command], cwd=cwd, check=False, capture_output=True)
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))}: {done.stdout.decode()}{done.stderr.decode()}")
    return done.stdout if binary else done.stdout.decode()


def same(found, wanted, what):
    if found != wanted:
        raise SystemExit(f"yocto: {what}: found {found!r:.500}, wanted {wanted!r:.500}")


def expect(holds, otherwise):
    if not holds:
        raise SystemExit(f"yocto: {otherwise}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
