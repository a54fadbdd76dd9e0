//! The device's key: by its public half a server knows the device.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use log::{info, warn};
use tandem_artifact::Signer;

use crate::config::Config;
use crate::durable;

/// The key that this device signs its requests with. Ed25519 if made here; RSA and ECDSA (P-256)
/// keys are used as they are found, so that a device keeps its identity when it changes to Tandem.
#[derive(Debug)]
pub(crate) struct DeviceKey(Signer);

impl DeviceKey {
    /// Reads the key, or makes one when there is none. A key that the configuration names is
    /// never made.
    ///
    /// # Errors
    /// When the key cannot be read, used or made.
    pub(crate) fn load(config: &Config) -> Result<DeviceKey> {
        if let Some(path) = &config.auth_private_key {
            return DeviceKey::read(path);
        }
        let path = config.data_dir.join("device-key.pem");
        if !path.exists() {
            let pem = Signer::generate("the device's key")?;
            // Durable before the server hears of it: a key that is forgotten is another device.
            durable::replace(&path, pem.as_bytes())
                .with_context(|| format!("cannot keep the device's key in {}", path.display()))?;
            info!("made a key for this device: {}", path.display());
        }
        keep_private(&path)?;
        DeviceKey::read(&path)
    }

    fn read(path: &Path) -> Result<DeviceKey> {
        let attempt = || format!("cannot use the device's key {}", path.display());
        let pem = fs::read(path).with_context(attempt)?;
        let signer = Signer::from_pem(&path.display().to_string(), &pem).with_context(attempt)?;
        Ok(DeviceKey(signer))
    }

    /// The public half, PEM.
    pub(crate) fn public_pem(&self) -> String {
        self.0.public_key().to_pem()
    }

    /// The signature of a request's body.
    ///
    /// # Errors
    /// When signing fails.
    pub(crate) fn sign(&self, body: &[u8]) -> Result<Vec<u8>> {
        Ok(self.0.signature(body)?)
    }
}

/// Takes the key away from everyone who should never have been able to read it.
fn keep_private(path: &Path) -> Result<()> {
    let attempt = || format!("cannot protect the device's key {}", path.display());
    let mode = fs::metadata(path)
        .with_context(attempt)?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        warn!(
            "{} could be read by others (mode {:o}); taking that away",
            path.display(),
            mode & 0o777
        );
        fs::set_permissions(path, Permissions::from_mode(0o600)).with_context(attempt)?;
    }
    Ok(())
}
