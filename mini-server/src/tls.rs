//! TLS from the first start: a certificate authority of our own, unless a certificate is given.
//!
//! The authority's certificate (`ca.crt`) goes to the devices once; the server's own is made by it for the names that
//! the server has, and made again when it gets old or the server gets another name, without anybody noticing.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result, anyhow, bail};
use log::{info, warn};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tandem_api::Timestamp;
use tandem_artifact::Digest;

use crate::clock::now;
use crate::data_dir::DataDir;
use crate::durable::{self, Readers};
use crate::pem;

/// Where the server's certificate comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// From our own authority, in this directory, for these names.
    Own {
        /// `DIR/tls`
        dir: PathBuf,
        /// Names and addresses by which devices know the server.
        names: BTreeSet<String>,
    },
    /// From these files.
    Given {
        /// The certificate and what leads to its authority, PEM.
        certificate: PathBuf,
        /// Its private key, PEM.
        key: PathBuf,
    },
}

/// The certificate that is shown at the moment.
#[derive(Debug)]
pub struct Certificate {
    source: Source,
    current: RwLock<Arc<CertifiedKey>>,
}

/// Days that a certificate of our authority is good, and after which it is made again.
const LIFETIME: i64 = 730;
const RENEWAL: i64 = 365;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// The names under which the server in `dir` is known that listens on `address`.
#[must_use]
pub fn names(address: SocketAddr, more: &[String]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if !address.ip().is_unspecified() {
        names.insert(address.ip().to_string());
    }
    names.extend(host_name());
    names.extend(more.iter().cloned());
    names
}

/// What the machine is called.
#[must_use]
pub fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    (!name.is_empty()).then_some(name)
}

impl Certificate {
    /// The certificate from `source`, made if that is ours to do.
    ///
    /// # Errors
    /// If it cannot be read or made.
    pub fn load(source: Source) -> Result<Arc<Self>> {
        let current = RwLock::new(Arc::new(load(&source)?));
        Ok(Arc::new(Self { source, current }))
    }

    /// Loads it again, and makes it again if it gets old.
    pub fn refresh(&self) {
        match load(&self.source) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh)
            }
            Err(err) => warn!("the certificate stays as it is: {err:#}"),
        }
    }

    /// What connections are made with.
    ///
    /// # Errors
    /// If the cryptography cannot be set up.
    pub fn config(self: Arc<Self>) -> Result<Arc<ServerConfig>> {
        let provider = Arc::new(provider::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("cannot set up TLS")?
            .with_no_client_auth()
            .with_cert_resolver(self);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Devices come again and again; tickets spare them a handshake and us a memory of them.
        config.ticketer = provider::Ticketer::new().context("cannot set up TLS")?;
        config.send_tls13_tickets = 1;
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// The certificate of our authority.
#[must_use]
pub fn authority_file(dir: &DataDir) -> PathBuf {
    dir.tls().join("ca.crt")
}

/// The certificate of our authority, PEM.
///
/// # Errors
/// If it cannot be read.
pub fn authority_certificate(dir: &DataDir) -> Result<String> {
    let file = authority_file(dir);
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

fn load(source: &Source) -> Result<CertifiedKey> {
    let provider = provider::default_provider();
    match source {
        Source::Given { certificate, key } => read(certificate, key, &provider),
        Source::Own { dir, names } => {
            let (certificate, key) = (dir.join("server.crt"), dir.join("server.key"));
            let wanted = recorded_names(dir);
            if let Some((made, recorded)) = &wanted {
                let age = now().millis().saturating_sub(made.millis());
                if names.is_subset(recorded) && (0..RENEWAL.saturating_mul(DAY)).contains(&age) {
                    match read(&certificate, &key, &provider) {
                        Ok(found) => return Ok(found),
                        Err(err) => warn!("making another certificate: {err:#}"),
                    }
                }
            }
            let mut all = names.clone();
            all.extend(wanted.into_iter().flat_map(|(_, recorded)| recorded));
            make(dir, &all)?;
            read(&certificate, &key, &provider)
        }
    }
}

fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|err| anyhow!("cannot read certificate {}: {err}", certificate.display()))?;
    if chain.is_empty() {
        bail!("there is no certificate in {}", certificate.display());
    }
    let key_der = PrivateKeyDer::from_pem_file(key)
        .map_err(|err| anyhow!("cannot read private key {}: {err}", key.display()))?;
    CertifiedKey::from_der(chain, key_der, provider).with_context(|| {
        format!(
            "cannot use {} with {}",
            key.display(),
            certificate.display()
        )
    })
}

/// When the server's certificate was made, and for which names.
fn recorded_names(dir: &Path) -> Option<(Timestamp, BTreeSet<String>)> {
    let text = fs::read_to_string(dir.join("server.names")).ok()?;
    let mut lines = text.lines();
    let made = lines.next()?.parse().ok()?;
    Some((made, lines.map(ToOwned::to_owned).collect()))
}

/// Makes the server's certificate, and before that the authority if there is none.
fn make(dir: &Path, names: &BTreeSet<String>) -> Result<()> {
    let issuer = authority(dir)?;
    let key = KeyPair::generate().context("cannot make a key")?;
    let list: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut params = CertificateParams::new(names.iter().cloned().collect::<Vec<_>>())
        .with_context(|| format!("cannot make a certificate for {}", list.join(", ")))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "tandem-server");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    // Good in the past as well: devices without a clock battery begin there.
    params.not_before = date_time_ymd(2000, 1, 1);
    let made = now();
    let end = made.plus_millis(LIFETIME.saturating_mul(DAY));
    params.not_after = date(end)?;
    let certificate = params
        .signed_by(&key, &issuer)
        .context("cannot make a certificate")?;
    // The record comes last: without it the certificate is made again.
    let record = dir.join("server.names");
    durable::remove(&record).context("cannot remove the record of names")?;
    write(
        &dir.join("server.key"),
        &pem::encode("PRIVATE KEY", &key.serialize_der()),
        Readers::Owner,
    )?;
    write(
        &dir.join("server.crt"),
        &pem::encode("CERTIFICATE", certificate.der()),
        Readers::Everybody,
    )?;
    let text = format!(
        "{made}\n{}\n",
        names.iter().cloned().collect::<Vec<_>>().join("\n")
    );
    write(&record, &text, Readers::Everybody)?;
    info!("made a certificate for {}", list.join(", "));
    Ok(())
}

/// Makes our authority in `dir`, if there is none.
///
/// # Errors
/// If it cannot be read or made.
pub fn make_authority(dir: &DataDir) -> Result<()> {
    authority(&dir.tls()).map(|_| ())
}

/// Our authority, made if there is none. It is never made again: devices trust it.
fn authority(dir: &Path) -> Result<Issuer<'static, KeyPair>> {
    let (certificate, key_file) = (dir.join("ca.crt"), dir.join("ca.key"));
    let key = match PrivateKeyDer::from_pem_file(&key_file) {
        Ok(der) => {
            KeyPair::try_from(&der).with_context(|| format!("cannot use {}", key_file.display()))?
        }
        Err(_) if !key_file.exists() => {
            let key = KeyPair::generate().context("cannot make a key")?;
            write(
                &key_file,
                &pem::encode("PRIVATE KEY", &key.serialize_der()),
                Readers::Owner,
            )?;
            key
        }
        Err(err) => bail!("cannot read {}: {err}", key_file.display()),
    };
    let mut params = CertificateParams::default();
    // Each authority has a name of its own, so that a device can trust several.
    let name = Digest::of(key.public_key_raw()).to_string();
    let name = name.get(..8).unwrap_or_default();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Tandem CA {name}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2099, 12, 31);
    if !certificate.exists() {
        let own = params
            .self_signed(&key)
            .context("cannot make the certificate of the authority")?;
        write(
            &certificate,
            &pem::encode("CERTIFICATE", own.der()),
            Readers::Everybody,
        )?;
    }
    Ok(Issuer::new(params, key))
}

fn write(path: &Path, text: &str, readers: Readers) -> Result<()> {
    durable::replace(path, text.as_bytes(), readers)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The day of a time, as certificates have it.
fn date(time: Timestamp) -> Result<time::OffsetDateTime> {
    time::OffsetDateTime::from_unix_timestamp(time.seconds())
        .context("cannot make a certificate: what day is it?")
}

/// Whether `name` can be in a certificate.
///
/// # Errors
/// With the reason, if not.
pub fn check_name(name: &str) -> Result<String, String> {
    let dns = name.len() <= 253
        && !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte));
    if dns || name.parse::<IpAddr>().is_ok() {
        Ok(name.to_owned())
    } else {
        Err("a name is a host name or an IP address".to_owned())
    }
}

/// Whether `err` means that the other side is just not one that speaks TLS, or trusts us not.
#[must_use]
pub fn is_usual(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::InvalidData
            | io::ErrorKind::TimedOut
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(dir: &Path, names: &[&str]) -> Source {
        Source::Own {
            dir: dir.to_owned(),
            names: names.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_certificate_stays_until_the_server_has_another_name() {
        let dir = tempfile::tempdir().unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        Certificate::load(source(dir.path(), &["localhost", "127.0.0.1"])).unwrap();
        let (authority, first) = (read("ca.crt"), read("server.crt"));
        Certificate::load(source(dir.path(), &["localhost"])).unwrap();
        assert_eq!(read("server.crt"), first);
        Certificate::load(source(dir.path(), &["updates.example.com"])).unwrap();
        assert_ne!(read("server.crt"), first);
        assert_eq!(read("ca.crt"), authority);
        assert!(read("server.names").contains("localhost\nupdates.example.com\n"));
    }

    #[test]
    fn a_certificate_that_is_old_or_damaged_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        let certificate = Certificate::load(source(dir.path(), &["localhost"])).unwrap();
        let first = read("server.crt");
        durable::replace(&dir.path().join("server.crt"), b"damaged", Readers::Owner).unwrap();
        certificate.refresh();
        let second = read("server.crt");
        assert_ne!(second, first);
        durable::replace(
            &dir.path().join("server.names"),
            b"2020-01-01T00:00:00Z\nlocalhost\n",
            Readers::Owner,
        )
        .unwrap();
        certificate.refresh();
        assert_ne!(read("server.crt"), second);
    }

    #[test]
    fn names_are_checked() {
        for good in [
            "localhost",
            "a.b-c.example",
            "192.0.2.1",
            "::1",
            "*.example.com",
        ] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for wrong in ["", "a b", "https://x", "é"] {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
