//! One key for everyone: every program checks a signature before it installs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The signer's files, PEM.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The private key, RSA 2048: the only kind that all programs take.
    pub private: PathBuf,
    /// Its public half.
    pub public: PathBuf,
    /// A certificate for it, signed by itself.
    pub certificate: PathBuf,
}

impl Keys {
    /// The command that makes a private key.
    #[must_use]
    pub fn make_private(out: &Path) -> Command {
        let mut command = Command::new("openssl");
        command.args(["genpkey", "-algorithm", "RSA"]);
        command.args(["-pkeyopt", "rsa_keygen_bits:2048", "-out"]);
        command.arg(out);
        command
    }

    /// The command that makes its public half.
    #[must_use]
    pub fn make_public(private: &Path, out: &Path) -> Command {
        let mut command = Command::new("openssl");
        command.args(["pkey", "-pubout", "-in"]).arg(private);
        command.arg("-out").arg(out);
        command
    }

    /// The command that makes a certificate for it.
    #[must_use]
    pub fn make_certificate(private: &Path, out: &Path) -> Command {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-days", "3650", "-subj", "/CN=bench"]);
        command.args(["-addext", "keyUsage=digitalSignature,keyCertSign"]);
        command.args(["-addext", "extendedKeyUsage=emailProtection,codeSigning"]);
        command.arg("-key").arg(private).arg("-out").arg(out);
        command
    }
}
