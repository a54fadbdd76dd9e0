//! The load generator: keep-alive connections over TLS, each waiting for its answer before it asks again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// A connection.
pub(crate) struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    /// What has come and was not asked for yet.
    buffer: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, tls: &Arc<ClientConfig>) -> Result<Self> {
        let stream = TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        // A thousand slow downloads with the usual buffers take all memory that the kernel has for TCP.
        socket2::SockRef::from(&stream).set_recv_buffer_size(64 << 10)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let name = ServerName::IpAddress(address.ip().into());
        let connection = ClientConnection::new(Arc::clone(tls), name)?;
        let stream = StreamOwned::new(connection, stream);
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).context("cannot send")
    }

    pub(crate) fn receive(&mut self) -> Result<Answer> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(self.buffer.get(..end).unwrap_or_default()).into_owned();
        self.buffer.drain(..end.saturating_add(4));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no HTTP: {head:?}"))?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        let length: usize = length.unwrap_or_default();
        while self.buffer.len() < length {
            self.more()?;
        }
        let body = self.buffer.drain(..length).collect();
        Ok(Answer { status, body })
    }

    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<Answer> {
        self.send(request)?;
        self.receive()
    }

    /// Takes this many bytes of whatever comes.
    pub(crate) fn swallow(&mut self, piece: &mut [u8]) -> Result<()> {
        self.stream
            .read_exact(piece)
            .context("the download broke off")
    }

    fn more(&mut self) -> Result<()> {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece).context("cannot receive")? {
            0 => bail!("the connection was closed"),
            count => self
                .buffer
                .extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
        Ok(())
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

/// A request with a body.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// How much load.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// Each request once; the answers are kept.
    Once,
    /// Round and round for so long.
    For(Duration),
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) answers: Vec<Answer>,
    pub(crate) count: usize,
    pub(crate) seconds: f64,
    /// Sorted.
    latencies: Vec<Duration>,
}

impl Outcome {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }

    /// The 99th of 100 answers came within this.
    pub(crate) fn p99(&self) -> Duration {
        let place = self.latencies.len().saturating_mul(99) / 100;
        self.latencies.get(place).copied().unwrap_or_default()
    }
}

const THREADS: usize = 2;
const CONNECTIONS: usize = 32;

/// Sends `requests` over 64 connections.
pub(crate) fn drive(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    requests: &[Vec<u8>],
    load: Load,
    expected: &[u16],
) -> Result<Outcome> {
    let size = requests.len().div_ceil(THREADS).max(1);
    let begun = Instant::now();
    let parts = std::thread::scope(|scope| {
        let threads: Vec<_> = requests
            .chunks(size)
            .map(|mine| scope.spawn(move || drive_some(address, tls, mine, load, expected)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Outcome>>| {
            thread
                .join()
                .unwrap_or_else(|_| bail!("the load generator panicked"))
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let mut whole = Outcome {
        seconds: begun.elapsed().as_secs_f64(),
        ..Outcome::default()
    };
    for part in parts {
        whole.count = whole.count.saturating_add(part.count);
        whole.answers.extend(part.answers);
        whole.latencies.extend(part.latencies);
    }
    whole.latencies.sort();
    Ok(whole)
}

fn drive_some(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    requests: &[Vec<u8>],
    load: Load,
    expected: &[u16],
) -> Result<Outcome> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS.min(requests.len()) {
        connections.push(Connection::open(address, tls)?);
    }
    let mut outcome = Outcome::default();
    let begun = Instant::now();
    let mut batches = requests.chunks(connections.len().max(1));
    loop {
        let batch = match (batches.next(), load) {
            (Some(batch), _) => batch,
            (None, Load::Once) => break,
            (None, Load::For(_)) => {
                batches = requests.chunks(connections.len().max(1));
                continue;
            }
        };
        let mut sent = Vec::with_capacity(batch.len());
        for (connection, request) in connections.iter_mut().zip(batch) {
            sent.push(Instant::now());
            connection.send(request)?;
        }
        for (connection, sent) in connections.iter_mut().zip(sent) {
            let answer = connection.receive()?;
            if !expected.contains(&answer.status) {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                bail!("answered {} {text}", answer.status);
            }
            outcome.latencies.push(sent.elapsed());
            outcome.count = outcome.count.saturating_add(1);
            if let Load::Once = load {
                outcome.answers.push(answer);
            }
        }
        if let Load::For(time) = load {
            if begun.elapsed() >= time {
                break;
            }
        }
    }
    Ok(outcome)
}
