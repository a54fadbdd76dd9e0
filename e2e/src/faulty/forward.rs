//! A site that is another HTTPS server.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::request::{headers, read_chunks, read_head};
use super::{Answer, Request, Site};

/// The server that requests are handed on to.
pub struct Upstream {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

impl Upstream {
    /// The server at `address`, known as `localhost`, whose certificate `ca` vouches for.
    ///
    /// # Errors
    /// When the certificate cannot be used.
    pub fn new(address: SocketAddr, ca: &Path) -> Result<Upstream> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca)? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Upstream {
            address,
            tls: Arc::new(tls),
        })
    }
}

impl Site for Upstream {
    fn answer(&self, request: &Request) -> Result<Answer> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::try_from("localhost")?;
        let mut connection =
            StreamOwned::new(ClientConnection::new(Arc::clone(&self.tls), name)?, socket);
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
        for (name, value) in &request.headers {
            if !["connection", "content-length", "transfer-encoding"].contains(&name.as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!(
            "content-length: {}\r\nconnection: close\r\n\r\n",
            request.body.len()
        ));
        connection.write_all(head.as_bytes())?;
        connection.write_all(&request.body)?;
        connection.flush()?;

        let head = read_head(&mut connection)?.context("no answer")?;
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .unwrap_or_default()
            .split(' ')
            .nth(1)
            .context("no status")?;
        let status = status.parse()?;
        let mut headers = headers(lines);
        let find = |name: &str| {
            headers
                .iter()
                .find(|(other, _)| other == name)
                .map(|(_, value)| value.clone())
        };
        let chunked = find("transfer-encoding").is_some_and(|value| value.contains("chunked"));
        let length = find("content-length")
            .map(|value| value.parse())
            .transpose()?;
        headers.retain(|(name, _)| {
            !["connection", "content-length", "transfer-encoding"].contains(&name.as_str())
        });
        let (length, body): (u64, Box<dyn Read>) = match length {
            Some(length) => (length, Box::new(connection)),
            None if chunked => {
                let body = read_chunks(&mut connection)?;
                (body.len() as u64, Box::new(std::io::Cursor::new(body)))
            }
            None => (0, Box::new(std::io::empty())),
        };
        Ok(Answer {
            status,
            headers,
            length,
            body,
        })
    }
}
