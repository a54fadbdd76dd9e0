# Recipes that build a member of the product's Cargo workspace, from the checkout that the layer lies
# in, as it is there: files are tracked by their content, and crates are those of its Cargo.lock.
#
#   TANDEM_PACKAGE   the member to build, as Cargo calls it

inherit cargo

LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"
CVE_PRODUCT = "tandem"

PV = "${@tandem_manifest(d, '^version = "([^"]+)"')}"

FILESEXTRAPATHS:prepend := "${TANDEM_SOURCE}:"

# Cargo reads every member, whichever it builds. They go to where S is by default.
SRC_URI = "${@' '.join('file://%s;subdir=${BP}' % name for name in tandem_files(d))}"

def tandem_files(d):
    members = tandem_manifest(d, r'^members = \[([^\]]*)\]')
    # A member inside of another one comes with it.
    folders = {name.split('/')[0] for name in members.replace('"', '').replace(',', ' ').split()}
    return ['Cargo.toml', 'Cargo.lock', 'LICENSE'] + sorted(folders)

def tandem_manifest(d, pattern):
    import re
    return re.search(pattern, tandem_read(d, 'Cargo.toml'), re.MULTILINE)[1]

def tandem_read(d, name):
    path = os.path.join(d.getVar('TANDEM_SOURCE'), name)
    try:
        with open(path) as file:
            return file.read()
    except OSError as error:
        bb.fatal('TANDEM_SOURCE is "%s", which is no checkout of Tandem: use the layer from within the '
                 'repository, or set it to a checkout (%s)' % (d.getVar('TANDEM_SOURCE'), error))

python () {
    for name in ('Cargo.toml', 'Cargo.lock'):
        bb.parse.mark_dependency(d, os.path.join(d.getVar('TANDEM_SOURCE'), name))
    for uri, name, sha256 in tandem.lockfile.crates(tandem_read(d, 'Cargo.lock')):
        d.appendVar('SRC_URI', ' ' + uri)
        d.setVarFlag('SRC_URI', name + '.sha256sum', sha256)
}

CARGO_BUILD_FLAGS += "--package ${TANDEM_PACKAGE} --bins"

# Symbols are for the -dbg packages.
export CARGO_PROFILE_RELEASE_STRIP = "none"
export CARGO_PROFILE_DEVICE_STRIP = "none"

# C libraries are those that were tested, from the crates, whatever the sysroot has.
oe_cargo_fix_env:append () {
	unset ZSTD_SYS_USE_PKG_CONFIG LIBSQLITE3_SYS_USE_PKG_CONFIG
}
