//! The agent.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::active_root::{DEVICE_TYPE, TRUSTED};
use crate::compression::Compression;
use crate::lab::Lab;
use crate::repack::repack;
use crate::sample::Image;

pub(super) const INSTALL: &[&str] = &["/opt/program/tandem", "install"];

/// The signed artifact, for the agent and for Mender's clients: the same bytes.
pub(super) fn artifact(lab: &Lab, image: &Image, compression: Compression) -> Result<PathBuf> {
    let name = format!("rootfs-{}.{compression}.mender", image.mib);
    lab.workplace.once(&name, |path| {
        let compressor = match compression {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            // The tool does that well, on one processor: it takes ten minutes for 1 GiB.
            Compression::Xz => {
                let plain = artifact(lab, image, Compression::None)?;
                return repack(lab, &plain, compression, path);
            }
            Compression::Zstd => "zstd_better",
        };
        let mut command = Command::new(&lab.tandem_artifact);
        command.args(["--quiet", "write", "rootfs-image", "--artifact-name", "new"]);
        command.args(["--device-type", DEVICE_TYPE, "--compression", compressor]);
        command.arg("--key").arg(&lab.keys.private);
        command.arg("--file").arg(&image.path);
        command.arg("--output-path").arg(path);
        lab.interrupt.run(&mut command).map(drop)
    })
}

pub(super) fn reset(lab: &Lab) -> Result<()> {
    lab.root.forget("var/lib/tandem")?;
    let device_type = format!("device_type={DEVICE_TYPE}\n");
    lab.root.write("var/lib/tandem/device_type", &device_type)?;
    let key = std::fs::read_to_string(&lab.keys.public)?;
    lab.root.write("etc/tandem/key.pem", &key)?;
    let configuration = format!(
        "rootfs_part_a = \"{}\"\n\
         rootfs_part_b = \"{}\"\n\
         artifact_verify_key = \"/etc/tandem/key.pem\"\n\
         server_certificate = \"{TRUSTED}\"\n",
        lab.root.device().path().display(),
        lab.slot.device().path().display()
    );
    lab.root.write("etc/tandem/tandem.toml", &configuration)
}
