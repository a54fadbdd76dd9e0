//! Whom to trust in TLS, and how the device shows itself.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::Config;

/// The TLS settings that the configuration asks for: TLS 1.2 or newer; trust in the configured
/// certificates, or in the system's if there are none; the device's certificate if it has one.
///
/// # Errors
/// When a file cannot be read, or holds no usable certificate or key.
pub(super) fn client(config: &Config) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let trusted = match &config.server_certificate {
        Some(path) => certificates(path)?,
        None => system_roots()?,
    };
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    ensure!(usable > 0, "there is no usable certificate to trust");
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .context("the certificates to trust cannot be used")?;
    let pinned = match config.server_certificate {
        Some(_) => trusted,
        None => Vec::new(),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { pinned, chains }));
    let client = match &config.client_certificate {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let key = PrivateKeyDer::from_pem_file(&own.key)
                .with_context(|| format!("cannot read the private key {}", own.key.display()))?;
            builder
                .with_client_auth_cert(certificates(&own.certificate)?, key)
                .with_context(|| {
                    format!(
                        "cannot use the client certificate {}",
                        own.certificate.display()
                    )
                })?
        }
    };
    Ok(Arc::new(client))
}

/// The certificates in a PEM file.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let attempt = || format!("cannot read certificates from {}", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .with_context(attempt)?
        .collect::<Result<_, _>>()
        .with_context(attempt)?;
    ensure!(
        !found.is_empty(),
        "there is no certificate in {}",
        path.display()
    );
    Ok(found)
}

/// The certificate authorities that this system trusts.
fn system_roots() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    ensure!(
        !found.certs.is_empty(),
        "this system has no certificate authorities: install ca-certificates, or set server_certificate"
    );
    Ok(found.certs)
}

/// Trusts chains to a known authority, and the very certificates that were configured. The latter
/// may be self-signed ones that call themselves an authority, which no chain may end in; with
/// them, their dates do not matter, since trust comes from the configuration.
#[derive(Debug)]
struct Verifier {
    pinned: Vec<CertificateDer<'static>>,
    chains: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        self.chains
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chains.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
