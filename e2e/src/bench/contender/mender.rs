//! Mender's clients. Both take the artifact and the boot environment that the agent takes.

use std::path::Path;

use anyhow::Result;
use tandem_e2e::peers::mender_configuration;

use crate::active_root::DEVICE_TYPE;
use crate::inside::PROGRAM;
use crate::lab::Lab;

pub(super) const GO_INSTALL: &[&str] = &["mender", "--log-level", "warning", "install"];

pub(super) const CPP_INSTALL: &[&str] = &[
    "/opt/program/mender-update",
    "--log-level",
    "warning",
    "install",
];

/// Where the newest client looks for the update module that writes root file systems: in
/// `modules/v3` beside the program, or where it was built to look.
pub(super) fn cpp_env(directory: &Path) -> Vec<String> {
    match directory.join("modules/v3").is_dir() {
        true => vec![format!("MENDER_DATA_DIR={PROGRAM}")],
        false => Vec::new(),
    }
}

pub(super) fn reset(lab: &Lab) -> Result<()> {
    lab.root.forget("var/lib/mender")?;
    let device_type = format!("device_type={DEVICE_TYPE}\n");
    lab.root.write("var/lib/mender/device_type", &device_type)?;
    lab.root
        .write("etc/mender/artifact_info", "artifact_name=old\n")?;
    let key = std::fs::read_to_string(&lab.keys.public)?;
    lab.root.write("etc/mender/key.pem", &key)?;
    let configuration = mender_configuration(
        lab.root.device().path(),
        lab.slot.device().path(),
        "/etc/mender/key.pem",
    );
    lab.root.write("etc/mender/mender.conf", &configuration)
}
