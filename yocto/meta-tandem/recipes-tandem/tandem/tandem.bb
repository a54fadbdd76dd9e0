SUMMARY = "Over-the-air updates that cannot brick a device"
DESCRIPTION = "The device program of Tandem: installs Mender artifacts into the root file system that \
does not run, starts it on trial, and goes back if it does not prove itself."
SECTION = "base"

TANDEM_PACKAGE = "tandem-agent"
inherit tandem_source systemd

# As small as the hot paths allow. The second and third line are for releases without CARGO_PROFILE.
CARGO_PROFILE = "device"
BUILD_MODE = "--profile device"
BUILD_DIR = "device"

SYSTEMD_SERVICE:${PN} = "tandem.service"

do_install:append () {
	install -d ${D}${datadir}/tandem/modules ${D}${sysconfdir}/tandem/scripts
	install -D -m 0644 ${S}/agent/systemd/tandem.service ${D}${systemd_system_unitdir}/tandem.service
	install -D -m 0644 -t ${D}${mandir}/man1 ${S}/agent/man/tandem.1
	install -D -m 0644 -t ${D}${mandir}/man5 ${S}/agent/man/tandem.toml.5
	install -D -m 0755 -t ${D}${datadir}/tandem/identity ${S}/agent/support/identity/*
	install -D -m 0755 -t ${D}${datadir}/tandem/inventory ${S}/agent/support/inventory/*
	install -D -m 0755 -t ${D}${datadir}/tandem/modules/v3 ${S}/agent/modules/v3/*
	# The version of the interface that scripts of the root file system are written for.
	printf 3 > ${D}${sysconfdir}/tandem/scripts/version
}

# Update modules bring their own needs: docker-compose that of Docker, deb that of dpkg.
RDEPENDS:${PN} = "ca-certificates"
RRECOMMENDS:${PN} = "tandem-config"
