//! SWUpdate: a cpio archive with a signed description in front of the (compressed) image.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use tandem_e2e::peers::{SwupdatePayload, swupdate_pack, swupdate_sign};

use crate::active_root::PASSIVE;
use crate::case::Source;
use crate::compression::Compression;
use crate::lab::Lab;
use crate::sample::Image;
use crate::workplace::write;

/// Without its own marks in the boot environment: nobody else writes any either before the end.
pub(super) const INSTALL: &[&str] = &[
    "swupdate",
    "--loglevel",
    "2",
    "--key",
    "/etc/swupdate.pem",
    "--no-transaction-marker",
    "--no-state-marker",
    "--bootloader",
    "none",
    "--hwrevision",
    "bench:1.0",
];

/// The words that say where the image is.
pub(super) fn from(place: &str, source: Source) -> [String; 2] {
    match source {
        Source::File => ["--image".to_owned(), place.to_owned()],
        Source::Tls => [
            "--download".to_owned(),
            format!("--url {place} --retries 1"),
        ],
    }
}

/// The image in its format, signed.
pub(super) fn image(lab: &Lab, image: &Image, compression: Compression) -> Result<PathBuf> {
    let payload = compression.of_image(lab, image)?;
    let compressed = match compression {
        Compression::None => "",
        Compression::Gzip => "compressed = \"zlib\";",
        Compression::Xz => "compressed = \"xz\";",
        Compression::Zstd => "compressed = \"zstd\";",
    };
    lab.workplace
        .once(&format!("rootfs-{}.{compression}.swu", image.mib), |path| {
            let sum = lab.interrupt.run(Command::new("sha256sum").arg(&payload))?;
            let sum = String::from_utf8(sum)?;
            let sum = sum.split(' ').next().context("sha256sum prints a sum")?;
            let name = payload.file_name().context("an image has a name")?;
            let payload = SwupdatePayload {
                file: &name.to_string_lossy(),
                compressed,
                sha256: sum,
            };
            let dir = lab.workplace.path("");
            write(
                &dir.join("sw-description"),
                format!(
                    "software = {{\n\
                     version = \"1\";\n\
                     hardware-compatibility: [ \"1.0\" ];\n\
                     {}}}\n",
                    payload.images(PASSIVE)
                ),
            )?;
            lab.interrupt.run(&mut swupdate_sign(&dir, &lab.keys))?;
            let mut pack = swupdate_pack(&dir, payload.file, path);
            lab.interrupt.run(&mut pack).map(drop)
        })
}

pub(super) fn reset(lab: &Lab) -> Result<()> {
    let certificate = std::fs::read_to_string(&lab.keys.certificate)?;
    lab.root.write("etc/swupdate.pem", &certificate)?;
    lab.root.write("etc/hwrevision", "bench 1.0\n")
}
