//! Many slow downloads at once, and what they do to the polls of others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use rustls::ClientConfig;

use crate::client::Connection;
use crate::process::Process;

/// How fast each of them reads, bytes per second.
const PACE: usize = 64 << 10;

/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// What was seen.
pub(crate) struct Seen {
    /// Resident memory of the server at its highest, MiB.
    pub(crate) memory: f64,
    /// The 99th of 100 polls was answered within this, if there were any.
    pub(crate) p99: Option<Duration>,
    /// MiB per second that arrived.
    pub(crate) speed: f64,
}

/// Downloads `requests` slowly for `time`, while `poll` is asked 200 times a second.
pub(crate) fn slow(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    server: &Process,
    requests: &[Vec<u8>],
    poll: Option<&[u8]>,
    time: Duration,
) -> Result<Seen> {
    let mut downloads = Vec::with_capacity(requests.len());
    for request in requests {
        let mut download = Connection::open(address, tls)?;
        download.send(request)?;
        downloads.push(download);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let polls = poll.map(|poll| scope.spawn(|| polls(address, tls, poll, &done)));
        let begun = Instant::now();
        let (mut piece, mut memory, mut rounds) = (vec![0; PIECE], 0.0_f64, 0_u32);
        let round = Duration::from_secs(1).mul_f64(PIECE as f64 / PACE as f64);
        let outcome = loop {
            let read = downloads
                .iter_mut()
                .try_for_each(|download| download.swallow(&mut piece));
            rounds = rounds.saturating_add(1);
            memory = memory.max(server.memory());
            if read.is_err() || begun.elapsed() >= time {
                break read;
            }
            std::thread::park_timeout(round.saturating_mul(rounds).saturating_sub(begun.elapsed()));
        };
        done.store(true, Ordering::Release);
        outcome?;
        let p99 = match polls.map(|polls| polls.join()) {
            Some(Ok(p99)) => Some(p99?),
            Some(Err(_)) => anyhow::bail!("the polls panicked"),
            None => None,
        };
        let bytes = f64::from(rounds) * (PIECE as f64) * (requests.len() as f64);
        let speed = bytes / f64::from(1 << 20) / begun.elapsed().as_secs_f64();
        Ok(Seen { memory, p99, speed })
    })
}

fn polls(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    poll: &[u8],
    done: &AtomicBool,
) -> Result<Duration> {
    let mut connection = Connection::open(address, tls)?;
    let mut latencies = Vec::new();
    while !done.load(Ordering::Acquire) {
        let begun = Instant::now();
        connection.ask(poll)?;
        latencies.push(begun.elapsed());
        std::thread::park_timeout(Duration::from_millis(5).saturating_sub(begun.elapsed()));
    }
    latencies.sort();
    let place = latencies.len().saturating_mul(99) / 100;
    Ok(latencies.get(place).copied().unwrap_or_default())
}
