//! SWUpdate's images: a cpio archive with a signed description in front of the payload.

use std::path::Path;
use std::process::Command;

use super::Keys;

/// An image in the archive, and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    /// Its name in the archive.
    pub file: &'a str,
    /// `compressed = "zlib";` or nothing.
    pub compressed: &'a str,
    /// Its SHA-256, hexadecimal.
    pub sha256: &'a str,
}

impl Payload<'_> {
    /// The section of `sw-description` that writes it to a device.
    #[must_use]
    pub fn images(&self, device: &str) -> String {
        let Payload {
            file,
            compressed,
            sha256,
        } = self;
        format!(
            "images: ( {{ filename = \"{file}\"; device = \"{device}\"; type = \"raw\"; \
             {compressed} installed-directly = true; sha256 = \"{sha256}\"; }} );\n"
        )
    }
}

/// The command that signs `sw-description` in the directory `dir`.
#[must_use]
pub fn sign(dir: &Path, keys: &Keys) -> Command {
    let mut command = Command::new("openssl");
    command.args(["cms", "-sign", "-outform", "DER", "-nosmimecap", "-binary"]);
    command.arg("-signer").arg(&keys.certificate);
    command.arg("-inkey").arg(&keys.private);
    command.arg("-in").arg(dir.join("sw-description"));
    command.arg("-out").arg(dir.join("sw-description.sig"));
    command
}

/// The command that makes the archive of description, signature and `file`, which lie in `dir`.
#[must_use]
pub fn pack(dir: &Path, file: &str, out: &Path) -> Command {
    let mut command = Command::new("sh");
    // cpio reads the names of files from its input.
    command.args([
        "-c",
        "printf '%s\\n' sw-description sw-description.sig \"$1\" \
         | cpio --quiet --create --format=crc --file=\"$2\"",
        "sh",
    ]);
    command.arg(file).arg(out).current_dir(dir);
    command
}
