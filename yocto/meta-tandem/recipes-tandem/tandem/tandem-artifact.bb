SUMMARY = "Writes, signs, reads and checks Mender artifacts"
DESCRIPTION = "What mender-artifact does, with the same options, for artifacts of version 3. The image \
class makes artifacts with it."
SECTION = "devel"

TANDEM_PACKAGE = "tandem-artifact"

inherit tandem_source

do_install:append () {
	install -D -m 0644 -t ${D}${mandir}/man1 ${S}/artifact/man/tandem-artifact.1
}

BBCLASSEXTEND = "native nativesdk"
