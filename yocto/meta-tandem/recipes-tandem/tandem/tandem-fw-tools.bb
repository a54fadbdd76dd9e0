SUMMARY = "fw_printenv and fw_setenv: the U-Boot environment from Linux"
DESCRIPTION = "The tools of libubootenv, with the same options and output; changes of a redundant \
environment are atomic."
SECTION = "bootloaders"

TANDEM_PACKAGE = "tandem-uboot-env"

inherit tandem_source

PROVIDES += "u-boot-fw-utils"
RPROVIDES:${PN} = "libubootenv-bin u-boot-fw-utils"
RREPLACES:${PN} = "libubootenv-bin u-boot-fw-utils"
RCONFLICTS:${PN} = "libubootenv-bin u-boot-fw-utils"

do_install:append () {
	install -D -m 0644 -t ${D}${mandir}/man8 ${S}/uboot-env/man/fw_printenv.8 ${S}/uboot-env/man/fw_setenv.8
}

BBCLASSEXTEND = "native"
