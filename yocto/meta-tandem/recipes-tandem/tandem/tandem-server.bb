SUMMARY = "Server for over-the-air updates of small fleets"
DESCRIPTION = "One program and one directory: the device and management API of Mender, for devices that \
run Tandem or Mender's client."
SECTION = "net"

TANDEM_PACKAGE = "tandem-server"

inherit tandem_source systemd

SYSTEMD_SERVICE:${PN} = "tandem-server.service"

do_install:append () {
	install -D -m 0644 -t ${D}${systemd_system_unitdir} ${S}/mini-server/systemd/tandem-server.service
	install -D -m 0644 -t ${D}${mandir}/man1 ${S}/mini-server/man/tandem-server.1
}
