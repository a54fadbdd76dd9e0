//! HTTP requests, as far as tests need them.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The longest head and body that are read.
const MAX_HEAD: usize = 64 << 10;
const MAX_BODY: usize = 16 << 20;

impl Request {
    /// Reads a request; `None` when the connection ends instead.
    pub(crate) fn read(source: &mut impl Read) -> Result<Option<Request>> {
        let Some(head) = read_head(source)? else {
            return Ok(None);
        };
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, path) = (
            first.next().context("no method")?,
            first.next().context("no path")?,
        );
        let headers = headers(lines);
        let mut request = Request {
            method: method.to_owned(),
            path: path.to_owned(),
            headers,
            body: Vec::new(),
        };
        if request
            .header("transfer-encoding")
            .is_some_and(|value| value.contains("chunked"))
        {
            request.body = read_chunks(source)?;
        } else if let Some(length) = request.header("content-length") {
            let length: usize = length.parse()?;
            ensure!(length <= MAX_BODY, "the body is too long");
            request.body.resize(length, 0);
            source.read_exact(&mut request.body)?;
        }
        Ok(Some(request))
    }

    /// The value of a header, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first byte of the range that is asked for.
    #[must_use]
    pub fn range_start(&self) -> Option<u64> {
        self.header("range")?
            .strip_prefix("bytes=")?
            .split('-')
            .next()?
            .parse()
            .ok()
    }

    /// The last byte of the range that is asked for, if it has one.
    #[must_use]
    pub fn range_last(&self) -> Option<u64> {
        self.header("range")?.split_once('-')?.1.parse().ok()
    }
}

/// The head of a message, without the empty line that ends it; `None` at the end of the stream.
pub(crate) fn read_head(source: &mut impl Read) -> Result<Option<String>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match source.read(&mut byte) {
            Ok(0) if head.is_empty() => return Ok(None),
            Ok(0) => bail!("the head ends early"),
            Ok(_) => head.extend_from_slice(&byte),
            // Clients may end a connection without a word.
            Err(_) if head.is_empty() => return Ok(None),
            Err(err) => return Err(err.into()),
        }
        ensure!(head.len() <= MAX_HEAD, "the head is too long");
    }
    head.truncate(head.len().saturating_sub(4));
    Ok(Some(String::from_utf8(head)?))
}

/// Headers, their names in lower case.
pub(crate) fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

/// A chunked body.
pub(crate) fn read_chunks(source: &mut impl Read) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            source.read_exact(&mut byte)?;
            line.extend_from_slice(&byte);
            ensure!(line.len() < 100, "not a chunk");
        }
        let size = String::from_utf8(line)?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)?;
        ensure!(
            body.len().saturating_add(size) <= MAX_BODY,
            "the body is too long"
        );
        let mut chunk = vec![0; size.saturating_add(2)];
        source.read_exact(&mut chunk)?;
        chunk.truncate(size);
        body.extend_from_slice(&chunk);
        if size == 0 {
            return Ok(body);
        }
    }
}
