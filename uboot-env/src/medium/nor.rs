//! How a copy lies on NOR flash: in place, but written by erasing whole blocks.
//!
//! What else lies in the copy's first and last erase block is read before and written back with it.
//! DIFFERS: libubootenv loses it.

use std::io;
use std::ops::Range;

use super::Medium;

/// Erases the blocks of a copy and writes it, with what else lies in them.
pub(crate) fn write(
    medium: &mut dyn Medium,
    offset: u64,
    image: &[u8],
    blocks: Range<u64>,
) -> io::Result<()> {
    let length = blocks
        .end
        .checked_sub(blocks.start)
        .and_then(|length| length.try_into().ok());
    let before = offset
        .checked_sub(blocks.start)
        .and_then(|before| before.try_into().ok());
    let (Some(length), Some(before)) = (length, before) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut content: Vec<u8> = vec![0; length];
    if length != image.len() {
        medium.read_at(blocks.start, &mut content)?;
    }
    let place = content
        .get_mut(before..)
        .and_then(|rest| rest.get_mut(..image.len()));
    place
        .ok_or(io::ErrorKind::InvalidInput)?
        .copy_from_slice(image);
    medium.erase(blocks.clone())?;
    medium.write_at(blocks.start, &content)
}
