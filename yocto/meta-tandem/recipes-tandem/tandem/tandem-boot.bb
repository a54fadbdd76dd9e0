SUMMARY = "The boot script for two root file systems"
DESCRIPTION = "For U-Boot, where it is not configured for two root file systems itself, and for GRUB: \
what the image class puts onto the boot partition."
SECTION = "bootloaders"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

DEPENDS += "${@'u-boot-tools-native' if d.getVar('TANDEM_BOOT') == 'uboot-script' else ''}"

# The scripts that the virtual devices of the product's tests boot.
FILESEXTRAPATHS:prepend := "${TANDEM_SOURCE}/e2e/src/disk_image/boot:"
SRC_URI = "file://arm64.cmd file://x86.cmd file://grub.cfg"
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"
B = "${WORKDIR}/build"

inherit tandem_settings deploy

PACKAGE_ARCH = "${MACHINE_ARCH}"
PACKAGES = ""
INHIBIT_DEFAULT_DEPS = "1"

python () {
    tandem_check(d, tandem.settings.check, tandem.layout.of)
    if d.getVar('TANDEM_BOOT') == 'uboot':
        raise bb.parse.SkipRecipe('TANDEM_BOOT = "uboot" has its boot logic in U-Boot itself')
    if d.getVar('TANDEM_BOOT') == 'uboot-script':
        tandem_check(d, lambda d: tandem.boot.script(d.getVar('TARGET_ARCH')), tandem.boot.words)
}

do_configure[noexec] = "1"
do_install[noexec] = "1"
do_compile[cleandirs] = "${B}"

python do_compile () {
    grub = d.getVar('TANDEM_BOOT') == 'grub'
    name = 'grub.cfg' if grub else tandem.boot.script(d.getVar('TARGET_ARCH'))[1]
    with open(os.path.join(d.getVar('S'), name)) as file:
        text = tandem.boot.fill(file.read(), tandem.boot.words(d))
    files = {'EFI/BOOT/grub.cfg' if grub else 'boot.cmd': text.encode()}
    if grub:
        root = tandem.layout.part(tandem.layout.of(d), 'root-a').number
        files.update(tandem.boot.grub_files(root))
    for name, content in files.items():
        path = os.path.join(d.getVar('B'), name)
        bb.utils.mkdirhier(os.path.dirname(path))
        with open(path, 'wb') as file:
            file.write(content)
    if not grub:
        bb.build.exec_func('tandem_boot_script', d)
}
do_compile[vardeps] += "TANDEM_LAYOUT TANDEM_BOOT TANDEM_DEVICE_TREE TANDEM_KERNEL TANDEM_KERNEL_ARGS \
    TANDEM_STORAGE_DEVICE TANDEM_UBOOT_DEVICE TANDEM_UBOOT_ENV_SIZE"

tandem_boot_script () {
	mkimage -A ${@tandem.boot.script(d.getVar('TARGET_ARCH'))[0] if d.getVar('TANDEM_BOOT') == 'uboot-script' else ''} \
		-T script -C none -n tandem -d ${B}/boot.cmd ${B}/boot.scr
	rm ${B}/boot.cmd
}

do_deploy () {
	install -d ${DEPLOYDIR}/tandem-boot
	cp -r ${B}/. ${DEPLOYDIR}/tandem-boot/
}
do_deploy[cleandirs] = "${DEPLOYDIR}"
addtask deploy after do_compile before do_build
