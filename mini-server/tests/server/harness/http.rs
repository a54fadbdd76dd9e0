//! A connection over which anything can be sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

/// A body.
pub struct Json(Vec<u8>);

impl From<()> for Json {
    fn from((): ()) -> Self {
        Self(Vec::new())
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value.to_string().into_bytes())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

/// A connection to a server.
pub struct Http {
    pub stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    host: String,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Http {
    pub fn connect(address: SocketAddr, authority: &Path) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(100)))
            .unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::IpAddress(address.ip().into());
        let connection = ClientConnection::new(tls(authority), name).unwrap();
        Self {
            stream: BufReader::new(StreamOwned::new(connection, stream)),
            host: address.to_string(),
        }
    }

    /// The same with a server that may just be gone.
    pub fn try_connect(address: SocketAddr, authority: &Path) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        let name = ServerName::IpAddress(address.ip().into());
        let connection = ClientConnection::new(tls(authority), name).ok()?;
        Some(Self {
            stream: BufReader::new(StreamOwned::new(connection, stream)),
            host: address.to_string(),
        })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes).and_then(|()| stream.flush())
    }

    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || ["POST", "PUT", "PATCH"].contains(&method) {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let sent = self.send(head.as_bytes()).and_then(|()| self.send(body));
        match self.answer(method == "HEAD") {
            Ok(answer) => answer,
            Err(err) => panic!("no answer to {method} {path}: {err} (sent: {sent:?})"),
        }
    }

    pub fn with_token(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: impl Into<Json>,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        self.request(method, path, &headers, &body.into().0)
    }

    /// The next answer.
    pub fn answer(&mut self, head_only: bool) -> std::io::Result<Answer> {
        let (status, headers) = self.head()?;
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if head_only || status == 204 || status == 304 {
            return Ok(answer);
        }
        if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(self.line()?.trim(), 16).unwrap();
                let mut chunk = vec![0; size];
                self.stream.read_exact(&mut chunk)?;
                self.line()?;
                if size == 0 {
                    break;
                }
                answer.body.extend(chunk);
            }
        } else {
            let length = answer
                .header("content-length")
                .expect("a length")
                .parse()
                .unwrap();
            answer.body.resize(length, 0);
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Status and headers of the next answer; the body is still to come.
    pub fn head(&mut self) -> std::io::Result<(u16, Vec<(String, String)>)> {
        let line = self.line()?;
        let status = line
            .split(' ')
            .nth(1)
            .unwrap_or_else(|| panic!("a status line, not {line:?}"))
            .parse()
            .unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok((status, headers));
            };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("{err}: {} {}", self.status, self.text()))
    }

    /// The last part of the address of what was made.
    #[track_caller]
    pub fn location(&self) -> String {
        self.header("location")
            .expect("a location")
            .rsplit('/')
            .next()
            .unwrap()
            .to_owned()
    }
}

/// What trusts this certificate.
pub fn tls(authority: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
