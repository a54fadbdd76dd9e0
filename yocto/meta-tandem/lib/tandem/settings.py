"""The variables of the layer, and what the device is told of them."""

import difflib
import json
import os
import re

# What an integrator sets, what a board's configuration sets, and what the layer makes of them.
INTEGRATOR = (
    "TANDEM_ARTIFACT_NAME",
    "TANDEM_DEVICE_TYPE",
    "TANDEM_SERVER_URL",
    "TANDEM_SERVER_CERT",
    "TANDEM_TENANT_TOKEN",
    "TANDEM_VERIFY_KEY",
    "TANDEM_SIGNING_KEY",
    "TANDEM_STORAGE_DEVICE",
    "TANDEM_STORAGE_SIZE_MB",
    "TANDEM_BOOT_SIZE_MB",
    "TANDEM_DATA_SIZE_MB",
    "TANDEM_ALIGN_KB",
)
BOARD = (
    "TANDEM_BOOT",
    "TANDEM_TABLE",
    "TANDEM_EXTRA_PARTS",
    "TANDEM_RAW_FILES",
    "TANDEM_KERNEL",
    "TANDEM_DEVICE_TREE",
    "TANDEM_KERNEL_ARGS",
    "TANDEM_UBOOT_DEVICE",
    "TANDEM_UBOOT_ENV_SIZE",
)
OTHER = (
    "TANDEM_ARTIFACT_ARGS",
    "TANDEM_CONFIG",
    "TANDEM_ROOTFS_TYPE",
    "TANDEM_SOURCE",
    "TANDEM_STATE_SCRIPTS",
)
# The layer's own.
INTERNAL = (
    "TANDEM_ARTIFACT_SCRIPTS",
    "TANDEM_DATA_TREE",
    "TANDEM_FOR",
    "TANDEM_LAYOUT",
    "TANDEM_PACKAGE",
    "TANDEM_ROOTFS",
    "TANDEM_SCRIPTS",
    "TANDEM_SEED",
    "TANDEM_SIGN",
    "TANDEM_WRITE",
)
KNOWN = INTEGRATOR + BOARD + OTHER + INTERNAL

BOOTS = ("uboot", "uboot-script", "grub")

# What a device is set up for in meta-mender and this layer does not do, with the way out.
UNSUPPORTED = {
    "mender-ubi": "raw flash (UBI) is not supported",
    "mender-image-ubi": "raw flash (UBI) is not supported",
    "mender-bios": "GRUB on BIOS is not supported; use UEFI (TANDEM_BOOT = \"grub\")",
    "mender-systemd-boot": "systemd-boot is not supported; use TANDEM_BOOT = \"grub\"",
    "mender-partuuid": "root parts are named by device; set TANDEM_STORAGE_DEVICE",
    "mender-partlabel": "root parts are named by device; set TANDEM_STORAGE_DEVICE",
}


class Missing(ValueError):
    """Something has to be set before this can be built; nothing is wrong."""


def misspelt(names):
    """Returns (name, nearest known name or None) for each that begins like ours and is not."""
    ours = {name.split(":")[0].split("[")[0] for name in names if name.startswith("TANDEM_")}
    return [
        (name, next(iter(difflib.get_close_matches(name, INTEGRATOR + BOARD + OTHER, 1)), None))
        for name in sorted(ours.difference(KNOWN))
    ]


def check(d):
    """Refuses what cannot be, whichever recipe asks.

    Raises ValueError for what is wrong and Missing for what is not set; both say what to do.
    """
    boot = d.getVar("TANDEM_BOOT")
    if not boot:
        raise Missing(
            "TANDEM_BOOT is not set: take a board's configuration (conf/fragments/board/), "
            'or set it to "uboot", "uboot-script" or "grub"'
        )
    if boot not in BOOTS:
        nearest = next(iter(difflib.get_close_matches(boot, BOOTS, 1)), BOOTS[0])
        raise ValueError(f'TANDEM_BOOT is "{boot}"; did you mean "{nearest}"?')
    for feature in (d.getVar("MENDER_FEATURES_ENABLE") or "").split():
        if feature in UNSUPPORTED:
            raise ValueError(f"MENDER_FEATURES_ENABLE has {feature}: {UNSUPPORTED[feature]}")
    device = d.getVar("TANDEM_STORAGE_DEVICE")
    if not re.fullmatch(r"/dev/[A-Za-z0-9/]+", device):
        raise ValueError(
            f'TANDEM_STORAGE_DEVICE is "{device}"; it must be the disk as Linux calls it, such as /dev/mmcblk0'
        )
    if re.fullmatch(r"/dev/(mmcblk|nvme\d+n)\d+p\d+|/dev/[shv]d[a-z]+\d+", device):
        raise ValueError(
            f'TANDEM_STORAGE_DEVICE is "{device}", a partition; it must be the whole disk'
        )


def check_identity(d):
    """Refuses what the device or its artifacts could not be called."""
    name = d.getVar("TANDEM_ARTIFACT_NAME")
    if not name:
        raise Missing(
            "TANDEM_ARTIFACT_NAME is not set: it is what this build is called on devices and "
            'servers, such as "release-1"'
        )
    if not re.fullmatch(r"[^\s/\"'`$\\]{1,256}", name):
        raise ValueError(
            f'TANDEM_ARTIFACT_NAME is "{name}"; it must be one word without quotes, slashes and dollars'
        )
    types = (d.getVar("TANDEM_DEVICE_TYPE") or "").split()
    if not types:
        raise ValueError('TANDEM_DEVICE_TYPE is empty; it is usually "${MACHINE}"')
    for word in types:
        if not re.fullmatch(r"[A-Za-z0-9._+-]+", word):
            raise ValueError(
                f'TANDEM_DEVICE_TYPE has "{word}"; a device type has letters, digits and . _ + - only'
            )


def check_trust(d):
    """Refuses settings with which a device would accept nothing, or trust a file that is not there."""
    key = d.getVar("TANDEM_VERIFY_KEY")
    if not key:
        raise Missing(
            "TANDEM_VERIFY_KEY is not set: it is the absolute path of the public key (PEM) of who signs "
            'artifacts; "none" lets the device install what nobody has signed'
        )
    url = d.getVar("TANDEM_SERVER_URL")
    if url and not re.fullmatch(r"https://[^\s/]+(/\S*)?", url):
        raise ValueError(f'TANDEM_SERVER_URL is "{url}"; it must begin with https://')
    if key != "none":
        _check_file("TANDEM_VERIFY_KEY", key)
    _check_file("TANDEM_SERVER_CERT", d.getVar("TANDEM_SERVER_CERT"))


def check_signing_key(d):
    """Refuses a key that is not there."""
    _check_file("TANDEM_SIGNING_KEY", d.getVar("TANDEM_SIGNING_KEY"))


def _check_file(name, path):
    if path and not (os.path.isabs(path) and os.path.isfile(path)):
        raise ValueError(f'{name} is "{path}", which is no file; it must be an absolute path')


def config(d, parts):
    """The text of tandem.toml. `parts` are the devices of root part A and B."""
    lines = {
        "data_dir": "/data/tandem",
        "rootfs_part_a": parts[0],
        "rootfs_part_b": parts[1],
    }
    if d.getVar("TANDEM_BOOT") == "grub":
        lines["boot_loader"] = "grub"
        lines["grub_env_dir"] = "/boot/efi/grub-mender-grubenv"
    if d.getVar("TANDEM_VERIFY_KEY") == "none":
        lines["allow_unsigned"] = True
    else:
        lines["artifact_verify_key"] = "/etc/tandem/verify.pem"
    if d.getVar("TANDEM_SERVER_URL"):
        lines["server_url"] = d.getVar("TANDEM_SERVER_URL")
    if d.getVar("TANDEM_SERVER_CERT"):
        lines["server_certificate"] = "/etc/tandem/server.crt"
    if d.getVar("TANDEM_TENANT_TOKEN"):
        lines["tenant_token"] = d.getVar("TANDEM_TENANT_TOKEN")
    # A JSON string is a TOML string.
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    for line in (d.getVar("TANDEM_CONFIG") or "").split("\\n"):
        if line.strip():
            text += line.strip() + "\n"
    return text
