//! Connections: taking them, TLS, and serving HTTP/1.1 on them, within bounds of number, time and memory.
//!
//! ```text
//! accept -> place free? -> TLS (10 s) -> Patient -> hyper (75 s for each head, 16 KiB) -> Front
//! ```
//!
//! What a slow device costs is bounded on purpose: a piece of the artifact, hyper's buffer, a TLS record and the
//! socket's unsent bytes have 16 KiB each. Left to their defaults they have some 600.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use log::{debug, info, warn};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use crate::front::Front;
use crate::patient::Patient;
use crate::request::Peer;
use crate::tls;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long the head of a request may take, and so how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(75);

/// Bytes of each buffer of a connection.
const BUFFER: usize = 16 << 10;

/// Bytes that wait in the kernel to be sent for the first time.
const UNSENT: u32 = 16 << 10;

/// Set to true when the server is to stop.
pub type Stop = watch::Receiver<bool>;

/// Waits until the server is to stop.
pub async fn stopped(stop: &mut Stop) {
    // If nobody can say so any more it is to stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves HTTPS until it is to stop, and then until the connections are done.
pub async fn https(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    front: Arc<Front>,
    places: usize,
    mut stop: Stop,
) {
    let acceptor = TlsAcceptor::from(config);
    let connections = Arc::new(Semaphore::new(places));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(err) => {
                // Out of descriptors, or the connection is gone again.
                warn!("cannot accept a connection: {err}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
            front
                .app()
                .metrics
                .turned_away
                .fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let (acceptor, front, stop) = (acceptor.clone(), Arc::clone(&front), stop.clone());
        tokio::spawn(async move {
            let _place = place;
            let _counted = front.app().metrics.connections.enter();
            prepare(&stream);
            let handshake = acceptor.accept_with(stream, |tls| tls.set_buffer_limit(Some(BUFFER)));
            match tokio::time::timeout(HANDSHAKE, handshake).await {
                Ok(Ok(stream)) => serve(stream, front, Peer::Network(address), stop).await,
                Ok(Err(err)) if tls::is_usual(&err) => {
                    debug!(peer:% = address; "no TLS connection: {err}")
                }
                Ok(Err(err)) => info!(peer:% = address; "no TLS connection: {err}"),
                Err(_) => {
                    debug!(peer:% = address; "no TLS connection: the handshake takes too long")
                }
            }
        });
    }
    drop(listener);
    let all = u32::try_from(places).unwrap_or(u32::MAX);
    // Closed never: this waits until every connection has given its place back.
    let _ = connections.acquire_many(all).await;
}

/// Serves the verbs on a socket in the data directory, until it is to stop.
pub async fn local(listener: UnixListener, front: Arc<Front>, mut stop: Stop) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => return,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, Arc::clone(&front), Peer::Local, stop.clone()));
            }
            Err(err) => {
                warn!("cannot accept a connection of a verb: {err}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// A socket at `path`, which nobody but the owner may use.
///
/// # Errors
/// Any failure of the file system.
pub fn bind_local(path: &Path) -> io::Result<UnixListener> {
    crate::durable::remove(path)?;
    // The path of a socket has 107 bytes at most. That of a directory may be longer; through its descriptor it is short.
    let (dir, name) = (
        path.parent().unwrap_or(Path::new(".")),
        path.file_name().unwrap_or_default(),
    );
    let dir = std::fs::File::open(dir)?;
    let listener = UnixListener::bind(short(&dir).join(name))?;
    // Who may look into the directory is its owner alone; this is for those who change that.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to the socket at `path`.
///
/// # Errors
/// If nobody listens there.
pub async fn connect_local(path: &Path) -> io::Result<tokio::net::UnixStream> {
    let (dir, name) = (
        path.parent().unwrap_or(Path::new(".")),
        path.file_name().unwrap_or_default(),
    );
    let dir = std::fs::File::open(dir)?;
    tokio::net::UnixStream::connect(short(&dir).join(name)).await
}

fn short(dir: &std::fs::File) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", dir.as_raw_fd()).into()
}

fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let prepared = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_notsent_lowat(UNSENT))
        .and_then(|()| socket.set_keepalive(true));
    if let Err(err) = prepared {
        debug!("cannot set up a connection, it stays as it is: {err}");
    }
}

/// Answers the requests of one connection.
pub async fn serve<S>(stream: S, front: Arc<Front>, peer: Peer, mut stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let front = Arc::clone(&front);
        async move { Ok::<_, std::convert::Infallible>(front.answer(request, peer).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(err) = ended {
        debug!(peer:% = peer.address(); "connection ended: {err}");
    }
}

/// Runs `work`, at most so long.
pub async fn at_most(limit: Duration, work: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(limit, work).await.is_ok()
}
