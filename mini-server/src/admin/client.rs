//! A client of the management API, over whatever leads to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tandem_api::ErrorBody;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

use crate::app::Settings;
use crate::assembly::{Assembled, Opened, Rates, artifact_keys};
use crate::data_dir::DataDir;
use crate::exit::{Because, Exit};
use crate::listener;
use crate::outgoing;
use crate::request::Peer;
use crate::server_address::{ServerAddress, unreachable};
use crate::store::Database;

/// Where the server is.
pub enum Target {
    /// Behind this address, with this token, trusting this authority beside those of the system.
    Https {
        /// `https://host:port`
        url: String,
        /// The token.
        token: String,
        /// A PEM file.
        authority: Option<PathBuf>,
    },
    /// In this data directory, with the database elsewhere if that is said.
    Data(PathBuf, Option<Database>),
}

/// A client.
pub struct Client {
    way: Way,
    sender: Option<SendRequest<Body>>,
}

enum Way {
    Https {
        address: ServerAddress,
        token: String,
        connector: TlsConnector,
    },
    Socket(PathBuf),
    Own {
        server: Box<Assembled>,
        stop: watch::Sender<bool>,
    },
}

/// Bytes of an answer that is read as a whole.
const ANSWER: usize = 256 << 20;

impl Client {
    /// A client for `target`.
    ///
    /// # Errors
    /// If there is no way to it.
    pub async fn open(target: Target) -> Result<Self> {
        let way = match target {
            Target::Https {
                url,
                token,
                authority,
            } => Way::Https {
                address: ServerAddress::parse(&url)?,
                token,
                connector: outgoing::connector(authority.as_deref())?,
            },
            Target::Data(path, database) => data(&DataDir::existing(&path)?, database).await?,
        };
        Ok(Self { way, sender: None })
    }

    /// Ends it; what a server of our own did is complete afterwards.
    pub async fn close(self) {
        drop(self.sender);
        if let Way::Own { server, stop } = self.way {
            // Nobody may listen any more.
            let _ = stop.send(true);
            server.close().await;
        }
    }

    /// Whether it came through the data directory, where whoever comes may do anything.
    pub fn is_local(&self) -> bool {
        match self.way {
            Way::Https { .. } => false,
            Way::Socket(_) | Way::Own { .. } => true,
        }
    }

    /// Whether the server is one of this process, because none runs on the data directory.
    pub fn is_own(&self) -> bool {
        matches!(self.way, Way::Own { .. })
    }

    /// The answer to a GET, read as JSON.
    ///
    /// # Errors
    /// If there is none or it is a refusal.
    pub async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        Ok(self.get_page(path).await?.0)
    }

    /// The same, with the headers.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn get_page<T: DeserializeOwned>(&mut self, path: &str) -> Result<(T, HeaderMap)> {
        let response = self.send(Method::GET, path, None, Body::empty()).await?;
        let headers = response.headers().clone();
        Ok((read_json(response).await?, headers))
    }

    /// All pages of a list; `path` has a query already or none.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn get_all<T: DeserializeOwned>(&mut self, path: &str) -> Result<Vec<T>> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        for page in 1_u32.. {
            let path = format!("{path}{separator}page={page}&per_page=500");
            let (mut list, headers): (Vec<T>, _) = self.get_page(&path).await?;
            all.append(&mut list);
            let more = headers.get_all(header::LINK).iter().any(|link| {
                link.to_str()
                    .is_ok_and(|link| link.ends_with("rel=\"next\""))
            });
            if !more {
                break;
            }
        }
        Ok(all)
    }

    /// Sends JSON; the answer has no body that matters. Where something was made: its address.
    ///
    /// # Errors
    /// If there is no answer or it is a refusal.
    pub async fn send_json(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Option<String>> {
        let response = self.send_body(method, path, body).await?;
        let location = response.headers().get(header::LOCATION);
        Ok(location
            .and_then(|location| location.to_str().ok())
            .map(ToOwned::to_owned))
    }

    /// Has something made of JSON; its identifier.
    ///
    /// # Errors
    /// As for [`send_json`](Self::send_json).
    pub async fn make(&mut self, path: &str, body: &impl Serialize) -> Result<String> {
        let location = self.send_json(Method::POST, path, body).await?;
        let location = location.unwrap_or_default();
        Ok(location.rsplit('/').next().unwrap_or_default().to_owned())
    }

    /// Sends JSON; the answer, read as text.
    ///
    /// # Errors
    /// As for [`send_json`](Self::send_json).
    pub async fn send_for_text(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<String> {
        let response = self.send_body(method, path, body).await?;
        let bytes = read(response).await?;
        String::from_utf8(bytes.to_vec()).context("the server's answer is not UTF-8")
    }

    /// Sends JSON; the answer, read as JSON.
    ///
    /// # Errors
    /// As for [`send_json`](Self::send_json).
    pub async fn send_for_json<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        read_json(self.send_body(method, path, body).await?).await
    }

    /// Removes something.
    ///
    /// # Errors
    /// As for [`send_json`](Self::send_json).
    pub async fn delete(&mut self, path: &str) -> Result<()> {
        self.send(Method::DELETE, path, None, Body::empty()).await?;
        Ok(())
    }

    /// A request. Refusals are errors with the server's reason.
    ///
    /// # Errors
    /// If there is no answer or it is a refusal.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: Body,
    ) -> Result<Response<Incoming>> {
        let (host, uri, token) = match &self.way {
            Way::Https { address, token, .. } => (address.host(), address.path(path), Some(token)),
            Way::Socket(_) | Way::Own { .. } => ("localhost".to_owned(), path.to_owned(), None),
        };
        let mut request = Request::builder()
            .method(&method)
            .uri(uri)
            .header(header::HOST, host);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request.body(body).context("cannot make the request")?;
        let response = self.ready().await?.send_request(request).await;
        let response =
            response.map_err(|err| unreachable(format!("the server does not answer: {err}")))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(refusal(&method, path, response).await)
    }

    async fn send_body(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Response<Incoming>> {
        let body = serde_json::to_vec(body).context("cannot write the request")?;
        self.send(method, path, Some("application/json"), Body::from(body))
            .await
    }

    /// A connection that takes a request.
    async fn ready(&mut self) -> Result<&mut SendRequest<Body>> {
        let usable = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !usable {
            self.sender = Some(self.connect().await?);
        }
        self.sender
            .as_mut()
            .ok_or_else(|| anyhow!("there is no connection"))
    }

    async fn connect(&self) -> Result<SendRequest<Body>> {
        match &self.way {
            Way::Https {
                address, connector, ..
            } => speak(address.connect(connector).await?).await,
            Way::Socket(path) => {
                let stream = listener::connect_local(path).await;
                let failed = |err| {
                    unreachable(format!(
                        "cannot reach the server at {}: {err}",
                        path.display()
                    ))
                };
                speak(stream.map_err(failed)?).await
            }
            Way::Own { server, stop } => {
                let (here, there) = tokio::io::duplex(256 << 10);
                let front = Arc::clone(&server.front);
                tokio::spawn(listener::serve(there, front, Peer::Local, stop.subscribe()));
                speak(here).await
            }
        }
    }
}

async fn speak<S>(stream: S) -> Result<SendRequest<Body>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|err| unreachable(format!("the server does not speak HTTP: {err}")))?;
    tokio::spawn(async move {
        // Whoever waits for an answer hears of it.
        let _ = connection.await;
    });
    Ok(sender)
}

/// The socket of the running server, or a server of our own.
async fn data(dir: &DataDir, database: Option<Database>) -> Result<Way> {
    let socket = dir.socket();
    for _ in 0..100 {
        if listener::connect_local(&socket).await.is_ok() {
            return Ok(Way::Socket(socket));
        }
        if let Some(lock) = dir.try_lock()? {
            let settings = Settings {
                verification: artifact_keys(dir, &[])?,
                ..Settings::default()
            };
            let database = dir.choose(database.clone())?;
            let opened = Opened::new(dir, &lock, &database).await?;
            let server = Assembled::new(dir, lock, opened, settings, Rates::default()).await?;
            let (stop, _) = watch::channel(false);
            return Ok(Way::Own {
                server: Box::new(server),
                stop,
            });
        }
        // The server is just starting or stopping, or another verb is at work.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!(
        "somebody works on {} and does not listen on {}",
        dir.path().display(),
        socket.display()
    )
}

async fn refusal(method: &Method, path: &str, response: Response<Incoming>) -> anyhow::Error {
    let status = response.status();
    let body = read(response).await.unwrap_or_default();
    let reason = match serde_json::from_slice::<ErrorBody>(&body) {
        Ok(body) => body.error,
        Err(_) => format!("{status}"),
    };
    let exit = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Refused,
        StatusCode::NOT_FOUND => Exit::Missing,
        StatusCode::SERVICE_UNAVAILABLE => Exit::Unreachable,
        _ => Exit::Failure,
    };
    log::debug!("{method} {path} was answered {status}");
    anyhow!(Because(exit, reason))
}

async fn read_json<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T> {
    let bytes = read(response).await?;
    serde_json::from_slice(&bytes).context("cannot understand the server's answer")
}

/// The whole body of an answer.
async fn read(response: Response<Incoming>) -> Result<Bytes> {
    let body = Limited::new(response.into_body(), ANSWER);
    let body = body
        .collect()
        .await
        .map_err(|err| unreachable(format!("the answer breaks off: {err}")))?;
    Ok(body.to_bytes())
}

/// `text` as a part of an address.
#[must_use]
pub fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
