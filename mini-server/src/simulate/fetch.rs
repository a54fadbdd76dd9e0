//! Downloads at the pace of a device's line; nothing of what comes is kept.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until, timeout};

use super::ledger::{Kind, Result as Outcome, Sample};
use super::line::Trouble;
use super::world::World;
use crate::server_address::ServerAddress;

/// How long nothing may come.
const SILENCE: Duration = Duration::from_secs(300);

/// How often a download that broke off is gone on with.
const ATTEMPTS: u32 = 10;

/// What came of a download.
pub(super) struct Fetched {
    /// All of it is here.
    pub(super) whole: bool,
    /// Bytes that came.
    pub(super) bytes: u64,
    /// How each attempt went.
    pub(super) samples: Vec<Sample>,
}

/// Downloads what is at `source`; where that breaks off it goes on from there.
pub(super) async fn fetch(world: &World, source: &str) -> Fetched {
    let mut done = Fetched {
        whole: false,
        bytes: 0,
        samples: Vec::new(),
    };
    for attempt in 0..ATTEMPTS {
        let begun = Instant::now();
        let result = piece(world, source, &mut done).await;
        done.samples.push(Sample {
            kind: Kind::Download,
            took: begun.elapsed(),
            result,
        });
        if done.whole || matches!(result, Outcome::Refused(_) | Outcome::Later(_)) {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1 << attempt.min(6))).await;
    }
    done
}

/// One attempt.
async fn piece(world: &World, source: &str, done: &mut Fetched) -> Outcome {
    let range = (done.bytes > 0).then(|| format!("bytes={}-", done.bytes));
    let response = match request(world, Method::GET, source, range).await {
        Ok(response) => response,
        Err(trouble) => return Outcome::Trouble(trouble),
    };
    let (head, mut body) = response.into_parts();
    match head.status {
        StatusCode::OK if done.bytes == 0 => {}
        StatusCode::PARTIAL_CONTENT if done.bytes > 0 => {}
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            return Outcome::Later(head.status.as_u16());
        }
        status => return Outcome::Refused(status.as_u16()),
    }
    let (begun, before) = (Instant::now(), done.bytes);
    loop {
        match timeout(SILENCE, body.frame()).await {
            Err(_) => return Outcome::Trouble(Trouble::TooLate),
            Ok(None) => {
                done.whole = true;
                return Outcome::Good;
            }
            Ok(Some(Err(_))) => return Outcome::Trouble(Trouble::BrokenOff),
            Ok(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let length = u64::try_from(length).unwrap_or(u64::MAX);
                done.bytes = done.bytes.saturating_add(length);
            }
        }
        if let Some(pace) = world.options.pace {
            let came = done.bytes.saturating_sub(before);
            let time = Duration::from_secs_f64(came as f64 / pace as f64);
            if let Some(at) = begun.checked_add(time) {
                sleep_until(at).await;
            }
        }
    }
}

/// How many bytes are at `source`, which is an artifact of `release`: asked once for each.
pub(super) async fn size(world: &World, release: u16, source: &str) -> Option<u64> {
    if let Some(size) = world.size(release) {
        return Some(size);
    }
    let response = request(world, Method::HEAD, source, None).await.ok()?;
    let length = response.headers().get(header::CONTENT_LENGTH)?;
    let size = length.to_str().ok()?.parse().ok()?;
    world.set_size(release, size);
    Some(size)
}

/// A request over a connection of its own, as devices make it: the address is all that is needed.
async fn request(
    world: &World,
    method: Method,
    source: &str,
    range: Option<String>,
) -> Result<http::Response<Incoming>, Trouble> {
    let uri: Uri = source.parse().map_err(|_| Trouble::Unreachable)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let origin = uri.authority().map(|host| format!("https://{host}"));
    let address = ServerAddress::parse(&origin.unwrap_or_default());
    let address = address.map_err(|_| Trouble::Unreachable)?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.host());
    if let Some(range) = range {
        request = request.header(header::RANGE, range);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|_| Trouble::Unreachable)?;
    let stream = address.connect(&world.connector).await;
    let stream = stream.map_err(|_| Trouble::Unreachable)?;
    // What has come and was not read yet is held back by the server, not by us.
    let socket = socket2::SockRef::from(stream.get_ref().0);
    // A larger one only makes the line seem faster at its beginning.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let (mut sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Trouble::Unreachable)?;
    tokio::spawn(async move {
        // Whoever reads the body hears of it.
        let _ = connection.await;
    });
    let response = timeout(SILENCE, sender.send_request(request)).await;
    response
        .map_err(|_| Trouble::TooLate)?
        .map_err(|_| Trouble::BrokenOff)
}

/// Bytes that wait in the kernel to be read.
const BUFFER: usize = 64 << 10;
