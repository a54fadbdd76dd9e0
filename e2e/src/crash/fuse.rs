//! A directory with one file for each medium, served to the kernel over `/dev/fuse` (protocol 7.31,
//! `include/uapi/linux/fuse.h`), in which every write and every fsync is recorded in order.
//!
//! ```text
//! request  0 length:4  4 opcode:4  8 unique:8  16 node:8  24 uid:4 gid:4 pid:4 padding:4  40 ...
//! answer   0 length:4  4 -errno:4  8 unique:8  16 ...
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;

use crate::log::{Event, Log, Medium};

/// What the kernel may write at once. Smaller is more points at which the power can go.
const MAX_WRITE: u32 = 128 << 10;
/// The kernel insists on room for a request of that size with its headers.
const REQUEST: usize = (128 << 10) + 4096;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const RELEASE: u32 = 18;
const FSYNC: u32 = 20;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// Writes of more than a page are welcome.
const BIG_WRITES: u32 = 1 << 5;

/// The directory's node; the media follow.
const ROOT: u64 = 1;

/// The recording, and the content of the media as they are now.
pub(crate) type Shared = Arc<Mutex<(Log, crate::log::Media)>>;

/// Serves requests until the directory is unmounted.
pub(crate) fn serve(mut channel: File, shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0; REQUEST];
    loop {
        let length = match channel.read(&mut buffer) {
            Ok(length) => length,
            Err(err) if err.raw_os_error() == Some(Errno::ENODEV as i32) => return Ok(()),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(err),
        };
        let request = Request(buffer.get(..length).unwrap_or_default());
        let (error, body) = match answer(&request, shared) {
            Some(Ok(body)) => (0, body),
            Some(Err(errno)) => (errno as i32, Vec::new()),
            None => continue,
        };
        let length = u32::try_from(body.len().saturating_add(16)).unwrap_or(u32::MAX);
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(error.saturating_neg().to_ne_bytes());
        bytes.extend(request.u64(8).to_ne_bytes());
        bytes.extend(body);
        match channel.write_all(&bytes) {
            // Whoever asked does not want to know any more.
            Err(err) if err.raw_os_error() == Some(Errno::ENOENT as i32) => {}
            done => done?,
        }
    }
}

/// The body of the answer; `None` where there is none.
fn answer(request: &Request, shared: &Shared) -> Option<Result<Vec<u8>, Errno>> {
    let node = request.u64(16);
    let medium = usize::try_from(node.wrapping_sub(2))
        .ok()
        .and_then(|index| Medium::ALL.get(index))
        .copied();
    let mut guard = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let (log, media) = &mut *guard;
    let size = |medium: Medium| media.get(medium.index()).map_or(0, Vec::len);
    Some(match request.u32(4) {
        INIT => {
            let mut body = Vec::new();
            for word in [7, 31, MAX_WRITE, BIG_WRITES, 0, MAX_WRITE, 1, 0] {
                body.extend(u32::to_ne_bytes(word));
            }
            body.resize(64, 0);
            Ok(body)
        }
        LOOKUP => {
            let name = request.0.get(40..).unwrap_or_default();
            let name = name.strip_suffix(b"\0").unwrap_or(name);
            match Medium::ALL.iter().find(|m| m.file().as_bytes() == name) {
                Some(&medium) => {
                    let node = node_of(medium);
                    // Node, generation, and for how many seconds both answers hold.
                    let mut body: Vec<u8> = [node, 0, 3600, 3600, 0]
                        .into_iter()
                        .flat_map(u64::to_ne_bytes)
                        .collect();
                    body.extend(attributes(node, Some(size(medium))));
                    Ok(body)
                }
                None => Err(Errno::ENOENT),
            }
        }
        GETATTR if node == ROOT || medium.is_some() => {
            let mut body: Vec<u8> = [3600, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
            body.extend(attributes(node, medium.map(size)));
            Ok(body)
        }
        OPEN => Ok(vec![0; 16]),
        READ => {
            let bytes = medium.and_then(|medium| {
                let content = media.get(medium.index())?;
                let from = usize::try_from(request.u64(48)).ok()?.min(content.len());
                let length = usize::try_from(request.u32(56)).ok()?;
                content.get(from..from.saturating_add(length).min(content.len()))
            });
            bytes.map(<[u8]>::to_vec).ok_or(Errno::EIO)
        }
        WRITE => medium.map_or(Err(Errno::EIO), |medium| {
            let offset = usize::try_from(request.u64(48)).unwrap_or(usize::MAX);
            let bytes = request.0.get(80..).unwrap_or_default();
            let end = offset.saturating_add(bytes.len());
            let place = media
                .get_mut(medium.index())
                .and_then(|content| content.get_mut(offset..end));
            place.ok_or(Errno::ENOSPC)?.copy_from_slice(bytes);
            log.events.push(Event::Write {
                medium,
                offset,
                bytes: bytes.to_vec(),
            });
            let mut body = u32::try_from(bytes.len())
                .unwrap_or(0)
                .to_ne_bytes()
                .to_vec();
            body.resize(8, 0);
            Ok(body)
        }),
        FSYNC => {
            log.events.extend(medium.map(Event::Flush));
            Ok(Vec::new())
        }
        RELEASE | FLUSH => Ok(Vec::new()),
        FORGET | BATCH_FORGET | INTERRUPT => return None,
        _ => Err(Errno::ENOSYS),
    })
}

fn node_of(medium: Medium) -> u64 {
    u64::try_from(medium.index()).unwrap_or(0).saturating_add(2)
}

/// `struct fuse_attr` of a file of this size, or of the directory.
fn attributes(node: u64, size: Option<usize>) -> Vec<u8> {
    const DIRECTORY: u32 = 0o040_700;
    const FILE: u32 = 0o100_600;
    let length = u64::try_from(size.unwrap_or(0)).unwrap_or(0);
    let mut body: Vec<u8> = [node, length, length.div_ceil(512), 0, 0, 0]
        .into_iter()
        .flat_map(u64::to_ne_bytes)
        .collect();
    let mode = if size.is_some() { FILE } else { DIRECTORY };
    for word in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
        body.extend(u32::to_ne_bytes(word));
    }
    body
}

/// A request of the kernel.
struct Request<'a>(&'a [u8]);

impl Request<'_> {
    /// The word at this offset; 0 behind the end.
    fn u32(&self, at: usize) -> u32 {
        let bytes = self.0.get(at..at.saturating_add(4));
        bytes
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_ne_bytes)
    }

    /// The double word at this offset; 0 behind the end.
    fn u64(&self, at: usize) -> u64 {
        let bytes = self.0.get(at..at.saturating_add(8));
        bytes
            .and_then(|b| b.try_into().ok())
            .map_or(0, u64::from_ne_bytes)
    }
}
