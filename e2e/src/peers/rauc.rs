//! RAUC's bundles: a squashfs with a signature behind it.

use std::path::Path;
use std::process::Command;

use super::Keys;

/// The manifest of a plain bundle (the form that needs nothing of the kernel but loop devices and
/// squashfs) with `rootfs.img` in it.
#[must_use]
pub fn manifest(version: &str) -> String {
    format!(
        "[update]\ncompatible=bench\nversion={version}\n\
         [bundle]\nformat=plain\n\
         [image.rootfs]\nfilename=rootfs.img\n"
    )
}

/// The command that makes a bundle of the directory `content`; `squashfs` goes to `mksquashfs`.
#[must_use]
pub fn bundle(content: &Path, out: &Path, keys: &Keys, squashfs: &str) -> Command {
    let mut command = Command::new("rauc");
    command.arg("bundle").arg("--cert").arg(&keys.certificate);
    command.arg("--key").arg(&keys.private);
    command.arg("--keyring").arg(&keys.certificate);
    command.arg(format!("--mksquashfs-args={squashfs}"));
    command.arg(content).arg(out);
    command
}
