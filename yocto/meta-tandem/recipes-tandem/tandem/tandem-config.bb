SUMMARY = "What Tandem's agent is told about this device"
DESCRIPTION = "tandem.toml, made of the TANDEM_* variables, with the keys and certificates that it \
names. Apart from the program, so that another server does not mean another build."
SECTION = "base"
LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

SRC_URI = "${@' '.join('file://' + path for name, path in tandem_files(d))}"
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

inherit tandem_settings

PACKAGE_ARCH = "${MACHINE_ARCH}"
INHIBIT_DEFAULT_DEPS = "1"

# (name on the device, file on this machine) of what the configuration names.
def tandem_files(d):
    key, cert = d.getVar('TANDEM_VERIFY_KEY'), d.getVar('TANDEM_SERVER_CERT')
    return [('verify.pem', key)] * (key not in ('', 'none')) + [('server.crt', cert)] * bool(cert)

python () {
    tandem_check(d, tandem.settings.check, tandem.settings.check_trust, tandem.layout.of)
}

do_configure[noexec] = "1"
do_compile[noexec] = "1"

python do_install () {
    layout, disk = tandem.layout.of(d), d.getVar('TANDEM_STORAGE_DEVICE')
    place = d.expand('${D}${sysconfdir}/tandem')
    bb.utils.mkdirhier(place)
    for name, path in tandem_files(d):
        bb.utils.copyfile(os.path.join(d.getVar('S'), path.lstrip('/')), os.path.join(place, name))
        os.chmod(os.path.join(place, name), 0o644)
    # It may have a token in it.
    with open(os.path.join(place, 'tandem.toml'), 'w', opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(tandem.settings.config(d, tandem.layout.root_devices(layout, disk)))
}
do_install[vardeps] += "TANDEM_LAYOUT TANDEM_BOOT TANDEM_CONFIG TANDEM_SERVER_CERT TANDEM_SERVER_URL \
    TANDEM_STORAGE_DEVICE TANDEM_TENANT_TOKEN TANDEM_VERIFY_KEY"

CONFFILES:${PN} = "${sysconfdir}/tandem/tandem.toml"
