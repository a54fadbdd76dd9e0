//! Where a server is, as it is written on the command line, and connections to it.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use http::Uri;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::exit::{Because, Exit};

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// `https://HOST[:PORT][/PREFIX]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    host: String,
    port: u16,
    prefix: String,
}

impl ServerAddress {
    /// Reads an address; `https://` may be left out.
    ///
    /// # Errors
    /// If it is none, or one that is not encrypted: tokens go over it.
    pub fn parse(url: &str) -> Result<Self> {
        let usage = |message: String| anyhow!(Because(Exit::Usage, message));
        let with_scheme = if url.contains("://") {
            url.to_owned()
        } else {
            format!("https://{url}")
        };
        let uri: Uri = with_scheme
            .parse()
            .map_err(|err| usage(format!("{url:?} is no address: {err}")))?;
        if uri.scheme_str() != Some("https") {
            return Err(usage(format!(
                "{url:?} is not https://: a token must not be sent in the clear"
            )));
        }
        let host = uri
            .host()
            .ok_or_else(|| usage(format!("{url:?} has no host")))?
            .to_owned();
        Ok(Self {
            host,
            port: uri.port_u16().unwrap_or(443),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// What the header `Host` says.
    #[must_use]
    pub fn host(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A path of an API there.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// A connection to it.
    ///
    /// # Errors
    /// If it cannot be reached, or is not whom it claims to be.
    pub async fn connect(&self, connector: &TlsConnector) -> Result<TlsStream<TcpStream>> {
        let (host, port) = (&self.host, self.port);
        let failed =
            |err: std::io::Error| unreachable(format!("cannot reach {host}:{port}: {err}"));
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let connection = async {
            let stream = TcpStream::connect((bare, port)).await.map_err(failed)?;
            let name = ServerName::try_from(bare.to_owned())
                .with_context(|| format!("{bare:?} is neither a host name nor an address"))?;
            connector.connect(name, stream).await.map_err(failed)
        };
        tokio::time::timeout(PATIENCE, connection)
            .await
            .map_err(|_| unreachable(format!("{host}:{port} does not answer")))?
    }
}

/// An error for a server that cannot be reached.
#[must_use]
pub fn unreachable(message: String) -> anyhow::Error {
    anyhow!(Because(Exit::Unreachable, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read() {
        let check = |text: &str, host: &str, path: &str| {
            let address = ServerAddress::parse(text).unwrap();
            assert_eq!(
                (address.host().as_str(), address.path("/x").as_str()),
                (host, path)
            );
        };
        check("https://a.example", "a.example:443", "/x");
        check("a.example:8443", "a.example:8443", "/x");
        check("https://[::1]:8443/sub/", "[::1]:8443", "/sub/x");
        for wrong in ["", "http://a.example", "https://", "a b"] {
            assert!(ServerAddress::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
