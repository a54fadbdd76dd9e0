# Recipes that build a member of the product's Cargo workspace, from the checkout that the layer lies
# in, as it is there: files are tracked by their content, and crates are those of its Cargo.lock.
#
#   TANDEM_PACKAGE   the member to build, as Cargo calls it

inherit cargo

LICENSE = "Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"
CVE_PRODUCT = "tandem"

PV = "${@tandem_cargo(d, '^version = "([^"]+)"')}"

FILESEXTRAPATHS:prepend := "${TANDEM_SOURCE}:"

# Cargo reads every member, whichever it builds. They go to where S is by default.
SRC_URI = "${@' '.join('file://%s;subdir=${BP}' % name for name in tandem_members(d))}"

def tandem_cargo(d, pattern):
    import re
    try:
        with open(os.path.join(d.getVar('TANDEM_SOURCE'), 'Cargo.toml')) as manifest:
            return re.search(pattern, manifest.read(), re.MULTILINE)[1]
    except (OSError, TypeError):
        bb.fatal('TANDEM_SOURCE is "%s", which is no checkout of Tandem: use the layer from within the '
                 'repository, or set it to a checkout' % d.getVar('TANDEM_SOURCE'))

def tandem_members(d):
    members = tandem_cargo(d, r'^members = \[([^\]]*)\]')
    return ['Cargo.toml', 'Cargo.lock', 'LICENSE'] + members.replace('"', '').replace(',', ' ').split()

python () {
    source = d.getVar('TANDEM_SOURCE')
    for name in ('Cargo.toml', 'Cargo.lock'):
        bb.parse.mark_dependency(d, os.path.join(source, name))
    try:
        with open(os.path.join(source, 'Cargo.lock')) as lock:
            crates = tandem.lockfile.crates(lock.read())
    except (OSError, ValueError) as wrong:
        bb.fatal('the crates cannot be told: %s' % wrong)
    for uri, name, sha256 in crates:
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
