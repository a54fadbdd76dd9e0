# Recipes of state scripts: every file of SRC_URI whose name begins with a capital letter is one.
# Scripts of the states around an installation come with the artifact: the image takes them from the
# recipes that its TANDEM_STATE_SCRIPTS names. Scripts of Idle, Sync and Download run before there is
# an artifact, so they are part of the root file system.

INHIBIT_DEFAULT_DEPS = "1"
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

TANDEM_SCRIPTS = "${@' '.join(tandem_scripts(d, ('Idle', 'Sync', 'Download')))}"
TANDEM_ARTIFACT_SCRIPTS = "${@' '.join(tandem_scripts(d, ('Artifact',)))}"

def tandem_scripts(d, states):
    import re
    files = [uri[len('file://'):].split(';')[0] for uri in d.getVar('SRC_URI').split() if uri.startswith('file://')]
    return [path for path in files if re.match('|'.join(states), os.path.basename(path))]

python () {
    import re
    states = 'Idle|Sync|Download|Artifact(Install|Reboot|Commit|Rollback|RollbackReboot|Failure)'
    for path in tandem_scripts(d, ('[A-Z]',)):
        name = os.path.basename(path)
        if not re.fullmatch(r'(%s)_(Enter|Leave|Error)_\d\d(_[^\s/]+)?' % states, name):
            bb.fatal('"%s" is no name of a state script, such as ArtifactInstall_Enter_10_backup: the state is one of '
                     '%s, and two digits give the order' % (name, states))
}

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install () {
	for script in ${TANDEM_SCRIPTS}; do
		install -D -m 0755 -t ${D}${sysconfdir}/tandem/scripts ${S}/$script
	done
}

SYSROOT_PREPROCESS_FUNCS += "tandem_stage_scripts"
tandem_stage_scripts () {
	for script in ${TANDEM_ARTIFACT_SCRIPTS}; do
		install -D -m 0755 -t ${SYSROOT_DESTDIR}${datadir}/tandem/artifact-scripts ${S}/$script
	done
}

ALLOW_EMPTY:${PN} = "1"
