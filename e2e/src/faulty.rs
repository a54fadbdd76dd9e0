//! An HTTPS server for tests that does wrong on purpose: it cuts, stalls, truncates, corrupts,
//! reorders and answers falsely. What it serves comes from a [`Site`]: files, or another server
//! that it stands in front of.

mod forward;
mod request;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub use forward::Upstream;
pub use request::Request;

/// What goes wrong with one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection breaks after this many bytes of the body.
    Cut(u64),
    /// Silence after this many bytes, and then the connection breaks.
    Stall(u64, Duration),
    /// One bit of this byte is flipped.
    Flip(u64),
    /// Two blocks of 16 KiB change places, this being where the first begins.
    Swap(u64),
    /// The body ends here, and its length says so.
    Shorten(u64),
    /// The length says this many bytes more than there are.
    Promise(u64),
    /// A part is said to begin this many bytes later than was asked for.
    WrongRange(u64),
    /// The range is ignored: the whole comes, with 200.
    NoRange,
    /// This status and nothing else, with `Retry-After` if there are seconds.
    Status(u16, Option<u64>),
    /// Sent on to this path.
    Redirect(String),
    /// What is not HTTP at all.
    Garbage,
    /// A head without end.
    HeaderFlood,
    /// Not a byte.
    Silence(Duration),
}

/// Something that answers requests.
pub trait Site: Send + Sync + 'static {
    /// The answer to `request`.
    ///
    /// # Errors
    /// When there is none; the connection then breaks.
    fn answer(&self, request: &Request) -> Result<Answer>;
}

/// An answer before anything goes wrong with it.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers, without those about length and connection.
    pub headers: Vec<(String, String)>,
    /// The length of the body.
    pub length: u64,
    /// The body.
    pub body: Box<dyn Read>,
}

/// The files of one directory, with ranges and entity tags.
pub struct Files(pub PathBuf);

impl Site for Files {
    fn answer(&self, request: &Request) -> Result<Answer> {
        let name = request
            .path
            .trim_start_matches('/')
            .split('?')
            .next()
            .unwrap_or_default();
        let empty = |status| Answer {
            status,
            headers: Vec::new(),
            length: 0,
            body: Box::new(io::empty()),
        };
        let Ok(mut file) = File::open(self.0.join(name)) else {
            return Ok(empty(404));
        };
        let size = file.metadata()?.len();
        let mut headers = vec![("ETag".to_owned(), format!("\"{name}-{size}\""))];
        let Some(first) = request.range_start() else {
            return Ok(Answer {
                status: 200,
                headers,
                length: size,
                body: Box::new(file),
            });
        };
        if first >= size {
            return Ok(empty(416));
        }
        file.seek(SeekFrom::Start(first))?;
        let end = size.saturating_sub(1);
        let last = request.range_last().unwrap_or(end).clamp(first, end);
        headers.push((
            "Content-Range".to_owned(),
            format!("bytes {first}-{last}/{size}"),
        ));
        Ok(Answer {
            status: 206,
            headers,
            length: last.saturating_sub(first).saturating_add(1),
            body: Box::new(file),
        })
    }
}

/// What a server has seen of one request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and path.
    pub what: String,
    /// Where the range began that was asked for.
    pub range: Option<u64>,
    /// What went wrong with the answer.
    pub fault: Fault,
    /// Bytes of the body that were sent.
    pub sent: u64,
}

/// A running server; it ends when it is dropped.
pub struct FaultyServer {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

/// Makes `STEM.crt` and `STEM.key`: a self-signed certificate for localhost, as a small fleet's
/// server has it.
///
/// # Errors
/// When openssl cannot make it.
pub fn certificate(stem: &Path) -> Result<()> {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
        .args(["-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost"])
        .arg("-keyout")
        .arg(stem.with_extension("key"))
        .arg("-out")
        .arg(stem.with_extension("crt"))
        .output()?;
    ensure!(
        made.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    Ok(())
}

/// Decides what goes wrong with the answer to a request; the number counts requests for the same
/// path from 0.
pub type Script = dyn Fn(&Request, usize) -> Fault + Send + Sync;

impl FaultyServer {
    /// Starts a server on a free port of the loopback, known as `localhost`.
    ///
    /// # Errors
    /// When certificate or key cannot be used, or there is no port.
    pub fn start(
        certificate: &Path,
        key: &Path,
        site: Arc<dyn Site>,
        script: Arc<Script>,
    ) -> Result<FaultyServer> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let server = FaultyServer {
            port,
            seen: Arc::default(),
            connections: Arc::default(),
            over: Arc::default(),
        };
        let (tls, seen, connections, over) = (
            Arc::new(tls),
            Arc::clone(&server.seen),
            Arc::clone(&server.connections),
            Arc::clone(&server.over),
        );
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else {
                    continue;
                };
                connections.fetch_add(1, Ordering::Relaxed);
                let (tls, seen, site, script) = (
                    Arc::clone(&tls),
                    Arc::clone(&seen),
                    Arc::clone(&site),
                    Arc::clone(&script),
                );
                // What goes wrong in a connection is the client's business.
                thread::spawn(move || drop(serve(stream, &tls, &*site, &*script, &seen)));
            }
        });
        Ok(server)
    }

    /// The address of `path` on this server.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!(
            "https://localhost:{}/{}",
            self.port,
            path.trim_start_matches('/')
        )
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many connections there have been.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What it has seen so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for FaultyServer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

type Connection = StreamOwned<ServerConnection, TcpStream>;

/// One connection: request after request, until something ends it.
fn serve(
    stream: TcpStream,
    tls: &Arc<ServerConfig>,
    site: &dyn Site,
    script: &Script,
    seen: &Mutex<Vec<Seen>>,
) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut connection = StreamOwned::new(ServerConnection::new(Arc::clone(tls))?, stream);
    while let Some(request) = Request::read(&mut connection)? {
        let what = format!("{} {}", request.method, request.path);
        let index = {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let before = seen.iter().filter(|earlier| earlier.what == what).count();
            let fault = script(&request, before);
            seen.push(Seen {
                what,
                range: request.range_start(),
                fault,
                sent: 0,
            });
            seen.len().saturating_sub(1)
        };
        let fault = {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.get(index)
                .map_or(Fault::None, |seen| seen.fault.clone())
        };
        let goes_on = answer(&mut connection, site, &request, &fault, &mut |count| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(seen) = seen.get_mut(index) {
                seen.sent = seen.sent.saturating_add(count);
            }
        })?;
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// Answers one request, wrongly if so wished; whether the connection goes on.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "each match is about a few of the faults"
)]
fn answer(
    connection: &mut Connection,
    site: &dyn Site,
    request: &Request,
    fault: &Fault,
    count: &mut dyn FnMut(u64),
) -> Result<bool> {
    match fault {
        Fault::Status(status, wait) => {
            let wait = wait
                .map(|seconds| format!("Retry-After: {seconds}\r\n"))
                .unwrap_or_default();
            write!(
                connection,
                "HTTP/1.1 {status} Said So\r\n{wait}Content-Length: 0\r\n\r\n"
            )?;
            connection.flush()?;
            return Ok(true);
        }
        Fault::Redirect(to) => {
            write!(
                connection,
                "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
            )?;
            connection.flush()?;
            return Ok(true);
        }
        Fault::Garbage => {
            connection.write_all(b"\x00\xffSSH-2.0-nonsense\r\n\r\n\r\n")?;
            connection.flush()?;
            return Ok(false);
        }
        Fault::HeaderFlood => {
            connection.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for number in 0..1_000_000_u32 {
                write!(connection, "X-Flood-{number}: {}\r\n", "x".repeat(100))?;
            }
            return Ok(false);
        }
        Fault::Silence(time) => {
            wait(*time);
            return Ok(false);
        }
        _ => {}
    }
    let mut asked = request.clone();
    if *fault == Fault::NoRange {
        asked.headers.retain(|(name, _)| name != "range");
    }
    let Answer {
        status,
        mut headers,
        mut length,
        body,
    } = site.answer(&asked)?;
    if let Fault::WrongRange(shift) = fault {
        for (name, value) in &mut headers {
            if name.eq_ignore_ascii_case("content-range") {
                *value = shifted(value, *shift).context("no range to shift")?;
            }
        }
    }
    let mut left = length;
    match fault {
        Fault::Shorten(to) => {
            length = length.min(*to);
            left = length;
        }
        Fault::Promise(more) => length = length.saturating_add(*more),
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {status} Answer\r\n");
    for (name, value) in &headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // A status without a body has no length either (RFC 9110 section 8.6).
    if status != 204 && status != 304 {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    connection.write_all(head.as_bytes())?;
    connection.write_all(b"\r\n")?;
    send(connection, body, &mut left, fault, count)?;
    connection.flush()?;
    Ok(left == 0 && !matches!(fault, Fault::Promise(_) | Fault::Cut(_) | Fault::Stall(..)))
}

/// Sends the body, or what becomes of it.
fn send(
    connection: &mut Connection,
    mut body: Box<dyn Read>,
    left: &mut u64,
    fault: &Fault,
    count: &mut dyn FnMut(u64),
) -> Result<()> {
    const BLOCK: usize = 16 << 10;
    let mut offset: u64 = 0;
    let mut block = vec![0; BLOCK];
    let mut held_back: Option<Vec<u8>> = None;
    while *left > 0 {
        let mut room = usize::try_from((*left).min(BLOCK as u64))?;
        if let Fault::Cut(at) | Fault::Stall(at, _) = fault {
            room = room.min(usize::try_from(at.saturating_sub(offset)).unwrap_or(BLOCK));
        }
        if room == 0 {
            connection.flush()?;
            if let Fault::Stall(_, time) = fault {
                wait(*time);
            }
            return Ok(());
        }
        let room = block.get_mut(..room).unwrap_or_default();
        body.read_exact(room)?;
        let end = offset.saturating_add(room.len() as u64);
        if let Fault::Flip(at) = fault {
            if let (true, Some(byte)) = (
                *at >= offset,
                room.get_mut(usize::try_from(at.saturating_sub(offset))?),
            ) {
                *byte ^= 1;
            }
        }
        count(room.len() as u64);
        match (fault, held_back.take()) {
            (Fault::Swap(at), None) if *at >= offset && *at < end => {
                held_back = Some(room.to_vec());
            }
            (_, Some(earlier)) => {
                connection.write_all(room)?;
                connection.write_all(&earlier)?;
            }
            (_, None) => connection.write_all(room)?,
        }
        *left = left.saturating_sub(room.len() as u64);
        offset = end;
    }
    Ok(())
}

/// `bytes 5-9/10` moved on by `by`.
fn shifted(range: &str, by: u64) -> Option<String> {
    let (first, rest) = range.strip_prefix("bytes ")?.split_once('-')?;
    Some(format!(
        "bytes {}-{rest}",
        first.parse::<u64>().ok()?.saturating_add(by)
    ))
}

#[expect(
    clippy::disallowed_methods,
    reason = "keeping quiet is what it is asked for"
)]
fn wait(time: Duration) {
    thread::sleep(time);
}
