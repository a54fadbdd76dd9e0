//! How the S3-compatible store is spoken to: HTTP/1.1 over the TLS that everything else here uses, with connections
//! that are kept for the next request. The store's client asks for nothing more, so no second HTTP library comes with
//! it.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use object_store::ClientConfigKey;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::outgoing;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// How long an answer may take to begin, the sending of a part included.
const ANSWER: Duration = Duration::from_secs(5 * 60);

/// How long the next piece of an answer may take.
const STALL: Duration = Duration::from_secs(60);

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

/// Connections that are kept.
const KEPT: usize = 16;

/// Bytes of an answer that are read at once: what each download costs while its device is slow.
const BUFFER: usize = 64 << 10;

/// Makes clients for the store.
pub(super) struct StoreHttp {
    tls: TlsConnector,
}

impl StoreHttp {
    /// Trusting the authority in this file, or those of the system.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(super) fn new(authority: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self {
            tls: outgoing::connector(authority)?,
        })
    }
}

impl fmt::Debug for StoreHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreHttp")
    }
}

impl HttpConnector for StoreHttp {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp);
        let connect = Connect {
            tls: self.tls.clone(),
            plain: plain.as_deref() == Some("true"),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(KEPT)
            .http1_max_buf_size(BUFFER)
            .build(connect);
        Ok(HttpClient::new(Speaker(client)))
    }
}

struct Speaker(Client<Connect, HttpRequestBody>);

impl fmt::Debug for Speaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Speaker")
    }
}

impl HttpService for Speaker {
    // What `async fn` in a trait that is used as an object comes to.
    fn call<'speaker, 'call>(
        &'speaker self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'speaker: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            let answer = timeout(ANSWER, self.0.request(request)).await;
            let answer = answer
                .map_err(|err| HttpError::new(HttpErrorKind::Timeout, err))?
                .map_err(failed)?;
            Ok(answer.map(|body| {
                HttpResponseBody::new(Watched {
                    body,
                    stall: Box::pin(sleep(STALL)),
                    waits: false,
                })
            }))
        })
    }
}

/// What may be asked again is said by the store's client; here only whether it was a matter of the connection.
fn failed(err: ClientError) -> HttpError {
    let kind = if err.is_connect() {
        HttpErrorKind::Connect
    } else {
        HttpErrorKind::Interrupted
    };
    HttpError::new(kind, err)
}

/// A body of which the next piece has to come in time. How long whoever reads it takes is another matter.
struct Watched {
    body: Incoming,
    stall: Pin<Box<Sleep>>,
    waits: bool,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.waits = false;
            return Poll::Ready(frame.map(|frame| {
                frame.map_err(|err| HttpError::new(HttpErrorKind::Interrupted, err))
            }));
        }
        if !this.waits {
            this.waits = true;
            let end = tokio::time::Instant::now().checked_add(STALL);
            if let Some(end) = end {
                this.stall.as_mut().reset(end);
            }
        }
        this.stall.as_mut().poll(context).map(|()| {
            let late = io::Error::from(io::ErrorKind::TimedOut);
            Some(Err(HttpError::new(HttpErrorKind::Timeout, late)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Makes connections.
#[derive(Clone)]
struct Connect {
    tls: TlsConnector,
    /// Also without TLS.
    plain: bool,
}

impl Service<Uri> for Connect {
    type Response = TokioIo<Way>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Way>>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { tls, plain } = self.clone();
        Box::pin(async move {
            let way = timeout(CONNECT, connect(tls, plain, &uri)).await;
            way.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map(TokioIo::new)
        })
    }
}

async fn connect(tls: TlsConnector, plain: bool, uri: &Uri) -> io::Result<Way> {
    let secure = uri.scheme_str() == Some("https");
    if !secure && !plain {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the store is not spoken to without TLS unless AWS_ALLOW_HTTP is true",
        ));
    }
    let host = uri.host().unwrap_or_default();
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    if !secure {
        return Ok(Way(Box::new(stream)));
    }
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    Ok(Way(Box::new(tls.connect(name, stream).await?)))
}

/// A connection, with TLS or without.
struct Way(Box<dyn Bytestream>);

trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for T {}

impl Connection for Way {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Way {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Way {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
