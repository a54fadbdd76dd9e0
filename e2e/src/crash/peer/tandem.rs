//! The agent; its artifact and boot environment are Mender's, too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use tandem_e2e::peers::Keys;
use tandem_e2e::program;

use super::Materials;
use crate::scene::keep;
use crate::tool::run;

/// The environment that both take.
pub(super) const FACTORY: [(&str, &str); 5] = [
    ("bootcount", "0"),
    ("bootlimit", "1"),
    ("mender_boot_part", "2"),
    ("mender_boot_part_hex", "2"),
    ("upgrade_available", "0"),
];

pub(super) fn configure(root: &Path, data: &Path, keys: &Keys) -> Result<()> {
    fs::create_dir_all(root.join("etc/tandem"))?;
    fs::copy(&keys.public, root.join("etc/tandem/key.pem"))?;
    keep(&data.join("device_type"), b"device_type=bench\n")?;
    keep(
        &root.join("etc/tandem/tandem.toml"),
        b"data_dir = \"/data\"\n\
          rootfs_part_a = \"/disk/root2\"\n\
          rootfs_part_b = \"/disk/root3\"\n\
          artifact_verify_key = \"/etc/tandem/key.pem\"\n",
    )
}

pub(super) fn artifact(materials: &Materials) -> Result<PathBuf> {
    let name = format!("{}.mender", materials.release);
    let mut command = Command::new(program("tandem-artifact")?);
    command.args(["--quiet", "write", "rootfs-image", "--device-type", "bench"]);
    command.args(["--artifact-name", materials.release]);
    command.arg("--key").arg(&materials.keys.private);
    command.arg("--file").arg(materials.image);
    command.arg("--output-path").arg(materials.dir.join(&name));
    run(&mut command)?;
    Ok(name.into())
}
