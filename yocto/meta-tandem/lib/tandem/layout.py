"""Where everything lies on the disk.

    with U-Boot                             with GRUB
    0       partition table, raw files      partition table, raw files
    1 unit  environment, copy 0             boot (the ESP; it holds the environment)
    2 units environment, copy 1
    3 units boot (FAT)
    then    root A, root B (same size), data (ext4), extra partitions; one unit is left over

A unit is the alignment. The sizes of the root parts are what is left of the disk. The arithmetic
is that of meta-mender, so that a device that was set up by it keeps its partitions. A DOS table
with more than four partitions has the first three as primary ones and the others in an extended
one, each with a unit before it for its entry in the table.
"""

# Modules as a whole: BitBake 2.8 looks for the source of every function that it finds here.
import hashlib
import re
import typing

# How large is the smallest root part that could be meant, in KiB.
LEAST_ROOT = 8 * 1024


class Part(typing.NamedTuple):
    """A partition; places and sizes are in KiB."""

    number: int
    name: str
    start: int
    size: int
    fstype: str
    mount: str


class Layout(typing.NamedTuple):
    """The disk; places and sizes are in KiB."""

    parts: tuple
    environment: tuple
    unit: int
    disk: int
    table: str
    esp: bool


def of(d):
    """The layout that the variables describe; ValueError says what to change."""
    sizes = {
        name: _whole(name, d.getVar(name))
        for name in (
            "TANDEM_ALIGN_KB",
            "TANDEM_STORAGE_SIZE_MB",
            "TANDEM_BOOT_SIZE_MB",
            "TANDEM_DATA_SIZE_MB",
        )
    }
    return compute(
        boot=d.getVar("TANDEM_BOOT"),
        table=d.getVar("TANDEM_TABLE"),
        unit=sizes["TANDEM_ALIGN_KB"],
        disk=sizes["TANDEM_STORAGE_SIZE_MB"] * 1024,
        boot_size=sizes["TANDEM_BOOT_SIZE_MB"] * 1024,
        data_size=sizes["TANDEM_DATA_SIZE_MB"] * 1024,
        extra=_extra(d.getVar("TANDEM_EXTRA_PARTS") or ""),
        env_size=environment_size(d),
    )


def compute(boot, table, unit, disk, boot_size, data_size, extra, env_size):
    """Lays the disk out. Sizes are in KiB, but that of the environment, which is in bytes."""
    if unit < 1024 or unit & (unit - 1):
        raise ValueError(
            f"TANDEM_ALIGN_KB is {unit}; it must be a power of two and at least 1024 (8192 suits most storage)"
        )
    if table not in ("gpt", "dos"):
        raise ValueError(f'TANDEM_TABLE is "{table}"; it must be "gpt" or "dos"')
    if boot == "grub" and table == "dos":
        raise ValueError('TANDEM_TABLE is "dos", but GRUB on UEFI needs "gpt"')
    if boot != "uboot" and boot_size == 0:
        raise ValueError(
            f'TANDEM_BOOT_SIZE_MB is 0, but TANDEM_BOOT = "{boot}" keeps its files on the boot partition; 16 is usual'
        )
    if data_size == 0:
        raise ValueError("TANDEM_DATA_SIZE_MB is 0; the agent needs a data partition, 128 is usual")
    if boot != "grub" and (env_size % 512 or not 0 < env_size <= unit * 1024):
        raise ValueError(
            f"TANDEM_UBOOT_ENV_SIZE is {env_size:#x}; it must be a multiple of 512 and at most the alignment ({unit} KiB)"
        )
    names = {"boot", "root-a", "root-b", "data"}
    for name, *_ in extra:
        if name in names:
            raise ValueError(f'TANDEM_EXTRA_PARTS has a second "{name}"; each needs a name of its own')
        names.add(name)

    environment = () if boot == "grub" else (unit, 2 * unit)
    root = None
    wanted = [("boot", boot_size, "vfat", "/boot/efi" if boot == "grub" else "")] if boot_size else []
    wanted += [("root-a", root, "", "/"), ("root-b", root, "", "")]
    wanted += [("data", data_size, "ext4", "/data"), *extra]
    extended = 4 if table == "dos" and len(wanted) > 4 else None
    logical = wanted[3:] if extended else []

    fixed = sum(_up(size, unit) for _, size, *_ in wanted if size is not root)
    overhead = (2 + len(environment) + len(logical)) * unit
    root = (disk - fixed - overhead) // 2 // unit * unit
    if root < LEAST_ROOT:
        least = fixed + overhead + 2 * _up(LEAST_ROOT, unit)
        raise ValueError(
            f"TANDEM_STORAGE_SIZE_MB is {disk // 1024}, which leaves nothing for two root parts: it must be at least "
            f"{_up(least, 1024) // 1024} and some hundred more for a usual system, or boot, data and extra partitions smaller"
        )

    parts, place = [], (1 + len(environment)) * unit
    for number, (name, size, fstype, mount) in enumerate(wanted, 1):
        if extended and number == extended:
            parts.append(Part(number, "extended", place, disk - unit - place, "extended", ""))
        if extended and number >= extended:
            number, place = number + 1, place + unit
        size = root if size is None else size
        parts.append(Part(number, name, place, size, fstype, mount))
        place = _up(place + size, unit)
    return Layout(tuple(parts), environment, unit, disk, table, boot == "grub")


def environment_size(d):
    """The bytes of one copy of U-Boot's environment."""
    text = d.getVar("TANDEM_UBOOT_ENV_SIZE")
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f'TANDEM_UBOOT_ENV_SIZE is "{text}"; it must be a number such as 0x20000') from None


def part(layout, name):
    """The partition of that name; None if there is none."""
    return next((part for part in layout.parts if part.name == name), None)


def root_size(layout):
    """The KiB of each root part."""
    return part(layout, "root-a").size


def device(disk, number):
    """What Linux calls a partition: a disk that ends with a digit gets a `p`."""
    return f"{disk}{'p' if disk[-1].isdigit() else ''}{number}"


def root_devices(layout, disk):
    """What Linux calls the two root parts."""
    return [device(disk, part(layout, name).number) for name in ("root-a", "root-b")]


def sfdisk(layout, seed):
    """The script that makes sfdisk write the partition table; the same seed gives the same bytes."""
    lines = [f"label: {layout.table}", f"label-id: {_label(layout, seed)}", "unit: sectors"]
    for part in layout.parts:
        # With a file of its own size in front of sfdisk, nothing is left to its taste.
        line = f"start={part.start * 2}, size={part.size * 2}, type={_kind(layout, part)}"
        if layout.table == "gpt":
            line += f", uuid={_uuid(f'{seed} {part.name}')}, name={part.name}"
        if part.name == "boot":
            # U-Boot looks for boot scripts on bootable partitions.
            line += ", attrs=LegacyBIOSBootable" if layout.table == "gpt" else ", bootable"
        lines.append(line)
    return "\n".join(lines) + "\n"


def fstab(layout, disk, before):
    """The lines that the file system table `before` lacks."""
    there = {words[1] for words in map(str.split, before.splitlines()) if len(words) > 1}
    options = {"vfat": "umask=0077", "ext4": "defaults,noatime"}
    return "".join(
        f"{device(disk, part.number)} {part.mount} {part.fstype} {options.get(part.fstype, 'defaults')} 0 2\n"
        for part in layout.parts
        if part.mount not in ("", "/") and part.mount not in there
    )


def fw_env_config(layout, disk, env_size):
    """Where U-Boot's environment lies, for fw_setenv and the agent."""
    return "".join(f"{disk} {place * 1024:#x} {env_size:#x}\n" for place in layout.environment)


def text(layout):
    """The layout in one line, for shell functions and signatures: number:name:start:size:fstype:mount."""
    return " ".join(":".join(map(str, part)) for part in layout.parts)


def raw_files(d):
    """(file, first byte, bytes that it may take) for each word `FILE@BYTES` of TANDEM_RAW_FILES."""
    layout, places = of(d), []
    for word in d.getVar("TANDEM_RAW_FILES").split():
        name, _, place = word.partition("@")
        if not name or not re.fullmatch(r"\d+|0x[0-9a-fA-F]+", place):
            raise ValueError(f'TANDEM_RAW_FILES has "{word}"; it must be FILE@BYTES, such as u-boot.img@0x60000')
        places.append((name, int(place, 0)))
    table = 34 * 512 if layout.table == "gpt" else 512
    starts = [place for _, place in places]
    for index, (name, place) in enumerate(places):
        end = min([layout.unit * 1024, *(start for start in starts if start > place)])
        if place < table or place >= layout.unit * 1024:
            raise ValueError(
                f"TANDEM_RAW_FILES puts {name} at {place:#x}; it must be between the partition table "
                f"(up to {table:#x}) and {layout.unit * 1024:#x}, where the first partition or the environment begins"
            )
        places[index] = (name, place, end - place)
    return places


def _extra(text):
    parts = []
    for word in text.split():
        match = re.fullmatch(r"([a-z0-9-]{1,16}):([1-9]\d*)(?::(ext4|vfat|none)(?::(/[^:\s]*))?)?", word)
        if not match:
            raise ValueError(
                f'TANDEM_EXTRA_PARTS has "{word}"; it must be NAME:MIB, NAME:MIB:ext4 (or vfat, none) or NAME:MIB:ext4:/MOUNT/POINT'
            )
        name, size, fstype, mount = match.groups("")
        parts.append((name, int(size) * 1024, fstype.replace("none", ""), mount))
    return parts


def _whole(name, text):
    if not re.fullmatch(r"\d{1,9}", text or ""):
        raise ValueError(f'{name} is "{text}"; it must be a whole number')
    return int(text)


def _up(size, unit):
    return -(-size // unit) * unit


def _kind(layout, part):
    if part.name == "extended":
        return "f"
    if part.fstype != "vfat":
        return "L"
    if part.name == "boot" and layout.esp:
        return "U"
    return {"gpt": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "dos": "c"}[layout.table]


def _uuid(seed):
    digits = list(hashlib.sha256(seed.encode()).hexdigest()[:32])
    digits[12], digits[16] = "4", "8"
    return "-".join("".join(digits[a:b]) for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))


def _label(layout, seed):
    uuid = _uuid(seed)
    return uuid if layout.table == "gpt" else f"0x{uuid[:8]}"
