# The variables of the layer. Each may also come under the name that meta-mender has for it, so that
# the configuration of a device that was built with it can be kept. tandem_image.bbclass and
# ../README.md say what they mean; lib/tandem/ what may be in them.

TANDEM_ARTIFACT_NAME ??= "${@d.getVar('MENDER_ARTIFACT_NAME') or ''}"
# The first is what the device is; artifacts suit all of them.
TANDEM_DEVICE_TYPE ??= "${@' '.join(dict.fromkeys(((d.getVar('MENDER_DEVICE_TYPE') or d.getVar('MACHINE')) + ' ' + (d.getVar('MENDER_DEVICE_TYPES_COMPATIBLE') or '')).split()))}"
TANDEM_SERVER_URL ??= "${@d.getVar('MENDER_SERVER_URL') or ''}"
TANDEM_SERVER_CERT ??= ""
TANDEM_TENANT_TOKEN ??= "${@(d.getVar('MENDER_TENANT_TOKEN') or '').replace('dummy', '')}"
TANDEM_VERIFY_KEY ??= "${@d.getVar('MENDER_ARTIFACT_VERIFY_KEY') or ''}"
TANDEM_SIGNING_KEY ??= "${@d.getVar('MENDER_ARTIFACT_SIGNING_KEY') or ''}"
TANDEM_STORAGE_DEVICE ??= "${@d.getVar('MENDER_STORAGE_DEVICE') or '/dev/mmcblk0'}"
TANDEM_STORAGE_SIZE_MB ??= "${@d.getVar('MENDER_STORAGE_TOTAL_SIZE_MB') or '1024'}"
TANDEM_BOOT_SIZE_MB ??= "${@d.getVar('MENDER_BOOT_PART_SIZE_MB') or '16'}"
TANDEM_DATA_SIZE_MB ??= "${@d.getVar('MENDER_DATA_PART_SIZE_MB') or '128'}"
TANDEM_ALIGN_KB ??= "${@str(int(d.getVar('MENDER_PARTITION_ALIGNMENT') or d.getVar('MENDER_STORAGE_PEB_SIZE') or 8388608) // 1024)}"

TANDEM_BOOT ??= ""
TANDEM_TABLE ??= "${@'dos' if d.getVar('TANDEM_BOOT') == 'uboot' else 'gpt'}"
TANDEM_EXTRA_PARTS ??= ""
TANDEM_RAW_FILES ??= ""
TANDEM_KERNEL ??= "/boot/${KERNEL_IMAGETYPE}"
TANDEM_DEVICE_TREE ??= ""
TANDEM_KERNEL_ARGS ??= "${@' '.join('console=%s,%s' % (word.split(';')[1], word.split(';')[0]) for word in (d.getVar('SERIAL_CONSOLES') or '').split())}"
TANDEM_UBOOT_DEVICE ??= ""
TANDEM_UBOOT_ENV_SIZE ??= "${@d.getVar('BOOTENV_SIZE') or '0x20000'}"

TANDEM_ARTIFACT_ARGS ??= "${@d.getVar('MENDER_ARTIFACT_EXTRA_ARGS') or ''}"
TANDEM_CONFIG ??= ""
TANDEM_ROOTFS_TYPE ??= "${@d.getVar('ARTIFACTIMG_FSTYPE') or 'ext4'}"
TANDEM_STATE_SCRIPTS ??= ""

# One line that has all of the layout; what depends on it is made anew when it changes.
TANDEM_LAYOUT = "${@tandem.layout.text(tandem_ask(d, tandem.layout.of))}"
TANDEM_LAYOUT[vardepvalue] = "${TANDEM_LAYOUT}"

# The answer of a function of lib/tandem/. What is not set makes a recipe unavailable and says why;
# what is wrong ends the parsing and says what to do.
def tandem_ask(d, question):
    try:
        return question(d)
    except tandem.settings.Missing as missing:
        raise bb.parse.SkipRecipe(str(missing))
    except ValueError as wrong:
        bb.fatal(str(wrong))

def tandem_check(d, *questions):
    for name, nearest in tandem.settings.misspelt(d.keys()):
        bb.warnonce('there is no variable "%s"%s' % (name, '; did you mean "%s"?' % nearest if nearest else ''))
    for question in questions:
        tandem_ask(d, question)
