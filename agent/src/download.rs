//! An artifact at an address, as one stream of bytes that outlives broken connections.
//!
//! After a break it goes on where it was, for as long as there is progress, and never gives bytes
//! of another file: every continuation must be of the same size and carry the same validator.

use std::io::{self, Read};
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use log::{debug, info, warn};
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use ureq::http::{HeaderMap, HeaderName, Response, StatusCode};
use ureq::{Agent, Body, BodyReader};

use crate::config::Config;
use crate::pace::Pace;
use crate::source::Answer;
use crate::stop::Stop;

/// Asks for a new address of the same file, when the old one has expired. An error is trouble that may pass.
pub(crate) type Renew<'a> = Rc<dyn Fn() -> Result<Renewed> + 'a>;

/// What whoever gave the address says when it is asked again.
pub(crate) enum Renewed {
    /// The new one.
    Address(String),
    /// The file is not to be fetched any more.
    Gone(anyhow::Error),
}

/// A body that is being read.
pub(crate) struct Download<'a> {
    agent: Agent,
    url: String,
    renew: Option<Renew<'a>>,
    /// A new address has been asked for since the last byte came.
    renewed: bool,
    stop: &'a Stop,
    patience: Patience,
    /// For this and what is read in pieces.
    pace: Rc<Pace>,
    /// Bytes read so far.
    offset: u64,
    /// Bytes in all, if the server says.
    total: Option<u64>,
    /// Only a piece is wanted.
    piece: Option<Piece>,
    /// What tells this version of the file from another.
    validator: Option<String>,
    body: Option<BodyReader<'static>>,
}

/// What is wanted of a file, if not all.
#[derive(Clone, Copy)]
struct Piece {
    /// Where it ends.
    end: u64,
    /// Some of it has come, so the server does give pieces.
    begun: bool,
}

impl<'a> Download<'a> {
    /// Begins to read what is at `url`.
    ///
    /// # Errors
    /// When the server does not have it, or cannot be reached for a while.
    pub(crate) fn open(
        url: &str,
        agent: Agent,
        renew: Option<Renew<'a>>,
        config: &Config,
        stop: &'a Stop,
    ) -> Result<Download<'a>> {
        let mut download = Download {
            agent,
            url: url.to_owned(),
            renew,
            renewed: false,
            stop,
            patience: Patience::new(config.retry_download_count, config.retry_poll_interval),
            pace: Rc::new(Pace::new(config.download_rate_limit)),
            offset: 0,
            total: None,
            piece: None,
            validator: None,
            body: None,
        };
        download
            .connect()
            .with_context(|| format!("cannot download {url}"))?;
        Ok(download)
    }

    /// The same file, to be read in pieces, on a connection of their own: this one is left as it is.
    pub(crate) fn pieces(&self) -> Download<'a> {
        Download {
            agent: self.agent.clone(),
            url: self.url.clone(),
            renew: self.renew.clone(),
            renewed: false,
            stop: self.stop,
            patience: self.patience.clone(),
            pace: Rc::clone(&self.pace),
            offset: 0,
            total: self.total,
            piece: None,
            validator: self.validator.clone(),
            body: None,
        }
    }

    /// Goes to the piece `range`, which must not be at the beginning of the file.
    ///
    /// # Errors
    /// When the server cannot be reached for a while.
    pub(crate) fn go_to(&mut self, range: Range<u64>) -> Result<Answer> {
        if let (Some(mut body), true) = (self.body.take(), self.at_end()) {
            // A connection is free for the next request once the end of the body has been seen.
            if let Err(err) = body.read(&mut [0]) {
                debug!("{}: {err}", self.url);
            }
        }
        self.offset = range.start;
        self.piece = Some(Piece {
            end: range.end,
            begun: false,
        });
        loop {
            match self.request() {
                Ok(()) => return Ok(Answer::Piece),
                Err(Refused::ForGood(err)) => return Ok(Answer::Whole(format!("{err:#}"))),
                Err(Refused::Expired(err)) => {
                    if let Err(err) = self.renew(err) {
                        return Ok(Answer::Whole(format!("{err:#}")));
                    }
                }
                Err(Refused::ForNow(err)) => self
                    .pause(err)
                    .with_context(|| format!("cannot download {}", self.url))?,
            }
        }
    }

    /// All that is wanted has been read.
    fn at_end(&self) -> bool {
        let end = self.piece.map(|piece| piece.end).or(self.total);
        end == Some(self.offset)
    }

    /// Connects, as often as patience allows, so that there is a body to read.
    fn connect(&mut self) -> Result<()> {
        loop {
            match self.request() {
                Ok(()) => return Ok(()),
                Err(Refused::ForGood(err)) => return Err(err),
                Err(Refused::Expired(err)) => self.renew(err)?,
                Err(Refused::ForNow(err)) => self.pause(err)?,
            }
        }
    }

    /// Gets a new address, once as long as no byte comes. Who gives it may be away for a while, as the file may.
    fn renew(&mut self, why: anyhow::Error) -> Result<()> {
        let Some(renew) = self.renew.clone().filter(|_| !self.renewed) else {
            return Err(why);
        };
        info!("{why:#}; asking for a new address");
        loop {
            match renew() {
                Ok(Renewed::Address(url)) => {
                    self.renewed = true;
                    self.url = url;
                    return Ok(());
                }
                Ok(Renewed::Gone(err)) => return Err(err),
                Err(err) => self.pause(err.context("cannot get a new address"))?,
            }
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// When there have been enough without progress, or the program is to stop.
    fn pause(&mut self, why: anyhow::Error) -> Result<()> {
        let Some(wait) = self.patience.next() else {
            return Err(why.context("giving up"));
        };
        warn!(
            "the download is interrupted at byte {}: {why:#}; going on in {} s",
            self.offset,
            wait.as_secs()
        );
        ensure!(!self.stop.wait(wait), "interrupted");
        Ok(())
    }

    /// One request for what is missing.
    fn request(&mut self) -> Result<(), Refused> {
        let mut request = self.agent.get(&self.url);
        if self.offset > 0 {
            let last = self.piece.map(|piece| piece.end.saturating_sub(1));
            let last = last.map_or_else(String::new, |last| last.to_string());
            request = request.header(RANGE, format!("bytes={}-{last}", self.offset));
            if let Some(validator) = &self.validator {
                // A changed file comes whole then, instead of as a piece that does not fit.
                request = request.header(IF_RANGE, validator);
            }
        }
        let response = request
            .call()
            .map_err(|err| Refused::ForNow(anyhow!(err)))?;
        debug!("{} answers {}", self.url, response.status());
        match (response.status(), self.offset) {
            (StatusCode::OK, 0) => self.begin(response),
            (StatusCode::OK, _) if self.piece.is_some_and(|piece| !piece.begun) => Err(
                Refused::ForGood(anyhow!("the server does not give parts of the file")),
            ),
            (StatusCode::OK, _) => self.begin_again(response),
            (StatusCode::PARTIAL_CONTENT, offset) if offset > 0 => self.go_on(response),
            (status, _) if status.is_server_error() => {
                Err(Refused::ForNow(anyhow!("the server answers {status}")))
            }
            (StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS, _) => Err(
                Refused::ForNow(anyhow!("the server answers {}", response.status())),
            ),
            // Stores refuse with 403 what has expired, and with 400 when the keys have that signed it.
            (
                StatusCode::BAD_REQUEST
                | StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::NOT_FOUND
                | StatusCode::GONE,
                _,
            ) => Err(Refused::Expired(anyhow!(
                "the server answers {}",
                response.status()
            ))),
            (status, _) => Err(Refused::ForGood(anyhow!("the server answers {status}"))),
        }
    }

    /// The first answer: what the file is.
    fn begin(&mut self, response: Response<Body>) -> Result<(), Refused> {
        self.total = number(response.headers(), CONTENT_LENGTH);
        self.validator = validator(response.headers());
        self.body = Some(response.into_body().into_reader());
        Ok(())
    }

    /// The whole file once more, because the server has no ranges or another file.
    fn begin_again(&mut self, response: Response<Body>) -> Result<(), Refused> {
        let same = number(response.headers(), CONTENT_LENGTH) == self.total
            && validator(response.headers()) == self.validator;
        if !same {
            return Err(Refused::ForGood(anyhow!(
                "the file has changed on the server since the download began"
            )));
        }
        info!(
            "the server sends the file from its beginning; passing over {} bytes",
            self.offset
        );
        let mut body = response.into_body().into_reader();
        let passed = io::copy(&mut body.by_ref().take(self.offset), &mut io::sink());
        match passed {
            Ok(count) if count == self.offset => {
                self.body = Some(body);
                Ok(())
            }
            Ok(_) => Err(Refused::ForNow(anyhow!("the connection ended early"))),
            Err(err) => Err(Refused::ForNow(anyhow!(err))),
        }
    }

    /// The rest of the file, if it is that.
    fn go_on(&mut self, response: Response<Body>) -> Result<(), Refused> {
        let headers = response.headers();
        let range = headers
            .get(CONTENT_RANGE)
            .and_then(|value| value.to_str().ok());
        let Some((first, total)) = range.and_then(content_range) else {
            return Err(Refused::ForNow(anyhow!(
                "the server sends a part without saying which"
            )));
        };
        if first != self.offset {
            return Err(Refused::ForNow(anyhow!(
                "the server sends bytes from {first} on instead of from {} on",
                self.offset
            )));
        }
        let changed = total.is_some() && self.total.is_some() && total != self.total
            || self.validator.is_some()
                && validator(headers).is_some_and(|new| Some(new) != self.validator);
        if changed {
            return Err(Refused::ForGood(anyhow!(
                "the file has changed on the server since the download began"
            )));
        }
        self.total = self.total.or(total);
        self.body = Some(response.into_body().into_reader());
        Ok(())
    }

    /// The next bytes of the body; an end before the file's is an error.
    fn read_body(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let body = self.body.as_mut().context("the connection is gone")?;
        let count = body.read(buffer)?;
        let end = self.piece.map(|piece| piece.end).or(self.total);
        if count == 0 && end.is_some_and(|end| self.offset < end) {
            bail!("the connection ended early");
        }
        Ok(count)
    }
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.at_end() {
            return Ok(0);
        }
        let room = self.piece.map_or(buffer.len(), |piece| {
            // A server may send more than it was asked for.
            usize::try_from(piece.end.saturating_sub(self.offset)).unwrap_or(usize::MAX)
        });
        let room = room.min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let wait = self.pace.wait(Instant::now());
        if !wait.is_zero() && self.stop.wait(wait) {
            return Err(io::Error::other("interrupted"));
        }
        loop {
            match self.read_body(buffer) {
                Ok(count) => {
                    self.pace.took(count, Instant::now());
                    if count > 0 {
                        self.patience.refill();
                        self.renewed = false;
                        if let Some(piece) = &mut self.piece {
                            piece.begun = true;
                        }
                    }
                    self.offset = self.offset.saturating_add(count as u64);
                    return Ok(count);
                }
                Err(err) => {
                    self.body = None;
                    self.pause(err)
                        .and_then(|()| self.connect())
                        .map_err(|err| {
                            io::Error::other(format!("cannot download {}: {err:#}", self.url))
                        })?;
                }
            }
        }
    }
}

/// Why a request brought nothing to read.
enum Refused {
    /// It may be different next time.
    ForNow(anyhow::Error),
    /// The address does not work any more.
    Expired(anyhow::Error),
    /// It will not.
    ForGood(anyhow::Error),
}

/// How long to wait between attempts, and how many there are without progress: soon at first,
/// then ever longer.
#[derive(Clone, Debug)]
struct Patience {
    attempts: u32,
    longest: Duration,
    made: u32,
}

impl Patience {
    fn new(attempts: u32, longest: Duration) -> Patience {
        Patience {
            attempts,
            longest,
            made: 0,
        }
    }

    /// The time to wait before one more attempt; `None` when there have been enough.
    fn next(&mut self) -> Option<Duration> {
        if self.made >= self.attempts {
            return None;
        }
        let wait = Duration::from_secs(1_u64.checked_shl(self.made).unwrap_or(u64::MAX));
        self.made = self.made.saturating_add(1);
        Some(wait.min(self.longest))
    }

    /// There has been progress.
    fn refill(&mut self) {
        self.made = 0;
    }
}

/// What identifies this version of the file: a strong entity tag, or the time of its last change.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    text(ETAG)
        .filter(|tag| !tag.starts_with("W/"))
        .or_else(|| text(LAST_MODIFIED))
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// The first byte and the size of the whole in `bytes 100-199/1000` (RFC 9110 section 14.4); the
/// size may be `*`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-')?.0.parse().ok()?;
    match total {
        "*" => Some((first, None)),
        total => Some((first, Some(total.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_to_its_limit_and_ends() {
        let mut patience = Patience::new(5, Duration::from_secs(6));
        let waits: Vec<_> = std::iter::from_fn(|| patience.next())
            .map(|wait| wait.as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 6, 6]);
        patience.refill();
        assert_eq!(patience.next(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn content_ranges_are_read_strictly() {
        for (value, expected) in [
            ("bytes 100-199/1000", Some((100, Some(1000)))),
            ("bytes 100-199/*", Some((100, None))),
            ("bytes */1000", None),
            ("100-199/1000", None),
            ("bytes 100/1000", None),
            ("bytes -1-199/1000", None),
            ("", None),
        ] {
            assert_eq!(content_range(value), expected, "{value:?}");
        }
    }
}
