"""The reference boards: what their board support packages say, and where the layout must come out.

The offsets of the first two are those that meta-mender has for the same sizes.
"""

from collections import namedtuple

Board = namedtuple("Board", "machine offsets slot_mb numbers")

# What an integrator sets in any case.
SETTINGS = {"TANDEM_ARTIFACT_NAME": "release-1", "TANDEM_VERIFY_KEY": "none"}

# Offsets in MiB: copies of U-Boot's environment, then partitions in their order.
BOARDS = {
    "qemuarm64": Board(
        {"MACHINE": "qemuarm64", "SERIAL_CONSOLES": "115200;ttyAMA0 115200;hvc0"},
        [8, 16, 24, 40, 464, 888],
        424,
        [1, 2, 3, 4],
    ),
    "uefi-pc": Board(
        {
            "MACHINE": "genericx86-64",
            "TARGET_ARCH": "x86_64",
            "KERNEL_IMAGETYPE": "bzImage",
            "SERIAL_CONSOLES": "115200;ttyS0",
            "EFI_BOOT_IMAGE": "bootx64.efi",
        },
        [8, 24, 456, 888],
        432,
        [1, 2, 3, 4],
    ),
    "beaglebone-black": Board(
        {
            "MACHINE": "beaglebone-yocto",
            "TARGET_ARCH": "arm",
            "KERNEL_IMAGETYPE": "zImage",
            "SERIAL_CONSOLES": "115200;ttyS0",
            "SPL_BINARY": "MLO",
            "UBOOT_SUFFIX": "img",
            # More than four partitions in a DOS table: data becomes the fifth.
            "TANDEM_EXTRA_PARTS": "logs:64:ext4:/var/log raw:9",
        },
        [8, 16, 24, 40, 408, 776, 784, 920, 992],
        368,
        [1, 2, 3, 4, 5, 6, 7],
    ),
    "raspberrypi3": Board(
        {
            "MACHINE": "raspberrypi3-64",
            "SERIAL_CONSOLES": "115200;ttyS0",
            "IMAGE_BOOT_FILES": "bootfiles/* u-boot.bin;kernel8.img",
            "TANDEM_STORAGE_SIZE_MB": "2048",
            # No limit: a GUID table has as many as one likes.
            "TANDEM_TABLE": "gpt",
            "TANDEM_EXTRA_PARTS": " ".join(f"extra{n}:8:vfat" for n in range(1, 13)),
        },
        [8, 16, 24, 64, 936, 1808, *range(1936, 1936 + 12 * 8, 8)],
        872,
        list(range(1, 17)),
    ),
}
