//! One key for everyone: every program checks a signature before it installs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::interrupt::Interrupt;
use crate::workplace::Workplace;

/// The signer's files, PEM.
#[derive(Debug)]
pub(crate) struct Keys {
    /// The private key, RSA 2048: the only kind that all programs take.
    pub(crate) private: PathBuf,
    /// Its public half.
    pub(crate) public: PathBuf,
    /// A certificate for it, signed by itself.
    pub(crate) certificate: PathBuf,
}

impl Keys {
    /// Makes them with `openssl`, unless the workplace has them from an earlier time.
    pub(crate) fn make(workplace: &Workplace, interrupt: &Interrupt) -> Result<Keys> {
        let openssl = |arguments: &[&str], file: &PathBuf, out: &std::path::Path| {
            let mut command = Command::new("openssl");
            command.args(arguments).arg(file).arg("-out").arg(out);
            interrupt.run(&mut command).map(drop)
        };
        let private = workplace.once("private.pem", |path| {
            let arguments = ["genpkey", "-algorithm", "RSA", "-pkeyopt"];
            let bits = PathBuf::from("rsa_keygen_bits:2048");
            openssl(&arguments, &bits, path)
        })?;
        let public = workplace.once("public.pem", |path| {
            openssl(&["pkey", "-pubout", "-in"], &private, path)
        })?;
        let certificate = workplace.once("certificate.pem", |path| {
            let arguments = [
                "req",
                "-x509",
                "-days",
                "3650",
                "-subj",
                "/CN=bench",
                "-addext",
                "keyUsage=digitalSignature,keyCertSign",
                "-addext",
                "extendedKeyUsage=emailProtection,codeSigning",
                "-key",
            ];
            openssl(&arguments, &private, path)
        })?;
        Ok(Keys {
            private,
            public,
            certificate,
        })
    }
}
