"""The boot logic: the scripts that the virtual devices of the tests boot, filled in for a board.

The scripts lie in e2e/src/disk_image/boot/ of the repository; only their words between @ are made
here, by the same rules as in chain.rs beside them.
"""

import hashlib
import re

from . import layout as disk_layout

SCRIPTS = {"aarch64": ("arm64", "arm64.cmd"), "x86_64": ("x86", "x86.cmd"), "i686": ("x86", "x86.cmd")}

# What starts a kernel in a boot script of U-Boot.
_START = {"arm64": "booti ${kernel_addr_r} - ${tree}", "x86": "zboot 1000000 ${filesize}"}

# GRUB's environment block: it must exist, since GRUB never makes or grows one, and what counts
# must lie in its first sector, which is written wholly or not at all.
_GRUB_BLOCK = 1024


def script(arch):
    """(mkimage's name of the architecture, file of the boot script) for TARGET_ARCH."""
    if arch not in SCRIPTS:
        raise ValueError(
            f'there is no boot script for {arch}: TANDEM_BOOT = "uboot-script" works on {", ".join(SCRIPTS)}; '
            'use TANDEM_BOOT = "uboot"'
        )
    return SCRIPTS[arch]


def boot_command(arch):
    """What starts a kernel in U-Boot."""
    if arch not in ("aarch64", "arm"):
        raise ValueError(f'TANDEM_BOOT = "uboot" works on aarch64 and arm, not on {arch}')
    return "booti" if arch == "aarch64" else "bootz"


def words(d):
    """What the words between @ stand for."""
    layout = disk_layout.of(d)
    disk = d.getVar("TANDEM_STORAGE_DEVICE")
    root = disk_layout.part(layout, "root-a").number
    other = disk_layout.part(layout, "root-b").number
    found = {
        "ARGS": kernel_arguments(d),
        "HOOK": "",
        "KERNEL": d.getVar("TANDEM_KERNEL"),
        "PARTITION": disk_layout.device(disk, ""),
        "START": "boot",
    }
    if d.getVar("TANDEM_BOOT") == "grub":
        return found
    interface, number = uboot_device(d)
    size = disk_layout.environment_size(d)
    tree = d.getVar("TANDEM_DEVICE_TREE") or ""
    found.update(
        DEVICE=f"{interface} {number}",
        DEVICE_TREE=_device_tree(interface, number, tree),
        SCAN=f"mmc dev {number}" if interface == "mmc" else f"{interface} scan",
    )
    if d.getVar("TANDEM_BOOT") == "uboot-script":
        first, second = (f"{place * 2:x}" for place in layout.environment)
        found.update(
            BLOCKS=f"{size // 512:x}",
            BLOCK_0=first,
            BLOCK_1=second,
            DATA_SIZE=f"{size - 5:x}",
            HEX_LIST=" ".join(f"{flag:x}" for flag in [*range(256), 0]),
            KEEP="",
            READ=f"{interface} read",
            SIZE=f"{size:x}",
            START=_START[script(d.getVar("TARGET_ARCH"))[0]],
            WRITE=f"{interface} write",
        )
    else:
        found.update(A=str(root), B=str(other), BOOT=boot_command(d.getVar("TARGET_ARCH")))
    return found


def fill(template, words):
    """A template without its comments, and with its words filled in."""
    lines = [line for line in template.splitlines() if line and not line.startswith("#")]
    text = "\n".join(lines) + "\n"
    for word, value in words.items():
        if "@" in value:
            raise ValueError(f'"{value}" cannot be part of a boot script: it has an @')
        text = text.replace(f"@{word}@", value)
    if "@" in text:
        raise ValueError(f'nothing fills in @{text.split("@")[1]}@ in the boot script')
    return text


def kernel_arguments(d):
    """What the kernel is told beside its root. A kernel that cannot go on must say so by a reset:
    nothing else tells the boot loader that a trial has failed."""
    said = (d.getVar("TANDEM_KERNEL_ARGS") or "").split()
    first = [] if any(word in ("ro", "rw") for word in said) else ["rw"]
    if not any(word.startswith("panic=") for word in said):
        first.append("panic=1")
    return " ".join(first + said)


def uboot_device(d):
    """How U-Boot calls the disk: interface and number."""
    said = d.getVar("TANDEM_UBOOT_DEVICE")
    if said:
        match = re.fullmatch(r"([a-z]+) (\d+)", said)
        if not match:
            raise ValueError(f'TANDEM_UBOOT_DEVICE is "{said}"; it must be interface and number, such as "mmc 1"')
        return match.groups()
    disk = d.getVar("TANDEM_STORAGE_DEVICE")
    for pattern, interface in (
        (r"/dev/mmcblk(\d+)", "mmc"),
        (r"/dev/nvme(\d+)n1", "nvme"),
        (r"/dev/vd([a-z])", "virtio"),
        (r"/dev/sd([a-z])", "scsi"),
    ):
        match = re.fullmatch(pattern, disk)
        if match:
            number = match[1]
            return interface, number if number.isdigit() else str(ord(number) - ord("a"))
    raise ValueError(f'nothing says how U-Boot calls {disk}: set TANDEM_UBOOT_DEVICE, such as "mmc 1"')


def grub_files(root):
    """GRUB's state when a device leaves the factory, by path on the ESP."""
    state = _grub_block(f"bootcount=0\nmender_boot_part={root}\nupgrade_available=0\n")
    lock = _grub_block("editing=0\n")
    checksum = f"{hashlib.sha256(lock).hexdigest()}  lock\n".encode()
    return {
        f"grub-mender-grubenv/mender_grubenv{copy}/{name}": content
        for copy in (1, 2)
        for name, content in (("env", state), ("lock", lock), ("lock.sha256sum", checksum))
    }


def uboot_config(d):
    """The lines of U-Boot's configuration that depend on the layout."""
    layout = disk_layout.of(d)
    interface, number = uboot_device(d)
    if interface != "mmc":
        raise ValueError(
            f'TANDEM_BOOT = "uboot" keeps the environment on an MMC device, not on "{interface}": '
            'use "uboot-script", or set TANDEM_UBOOT_DEVICE'
        )
    first, second = (place * 1024 for place in layout.environment)
    values = {"ENV_SIZE": f"{disk_layout.environment_size(d):#x}", "ENV_OFFSET": f"{first:#x}"}
    values["ENV_OFFSET_REDUND"] = f"{second:#x}"
    # The same under its older name.
    values["ENV_MMC_DEVICE_INDEX"] = values["SYS_MMC_ENV_DEV"] = number
    return "".join(f"CONFIG_{name}={value}\n" for name, value in values.items())


def _device_tree(interface, number, tree):
    if tree.startswith("$"):
        # A variable of U-Boot with the address of a tree that is loaded already.
        return f"setenv tree {tree}"
    if not tree:
        return "setenv tree ${fdtcontroladdr}"
    part = f"{interface} {number}:${{mender_boot_part_hex}}"
    return f"load {part} ${{fdt_addr_r}} {tree}; setenv tree ${{fdt_addr_r}}"


def _grub_block(variables):
    return ("# GRUB Environment Block\n" + variables).encode().ljust(_GRUB_BLOCK, b"#")
