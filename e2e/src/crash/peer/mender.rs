//! Mender's client, standalone: `install`, a reboot, `commit`. The logic of the boot loader is that
//! of its integration with U-Boot, which the agent's devices share.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;
use tandem_e2e::peers::{Keys, mender_configuration};

use crate::scene::keep;

pub(super) fn configure(root: &Path, data: &Path, keys: &Keys) -> Result<()> {
    fs::create_dir_all(root.join("etc/mender"))?;
    fs::copy(&keys.public, root.join("etc/mender/key.pem"))?;
    let configuration = mender_configuration(
        Path::new("/disk/root2"),
        Path::new("/disk/root3"),
        "/etc/mender/key.pem",
    );
    keep(
        &root.join("etc/mender/mender.conf"),
        configuration.as_bytes(),
    )?;
    // Where its documentation has it: on the data partition.
    symlink("/data/mender", root.join("var/lib/mender"))?;
    fs::create_dir_all(data.join("mender"))?;
    keep(&data.join("mender/device_type"), b"device_type=bench\n")
}

pub(super) fn label(root: &Path, release: &str) -> Result<()> {
    let line = format!("artifact_name={release}\n");
    keep(&root.join("etc/mender/artifact_info"), line.as_bytes())
}
