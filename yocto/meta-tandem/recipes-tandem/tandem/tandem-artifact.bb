SUMMARY = "Writes, signs, reads and checks Mender artifacts"
DESCRIPTION = "What mender-artifact does, with the same options, for artifacts of version 3. The image \
class makes artifacts with it."
SECTION = "devel"

TANDEM_PACKAGE = "tandem-artifact"

inherit tandem_source

BBCLASSEXTEND = "native nativesdk"
