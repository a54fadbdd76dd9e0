//! How one copy lies on its medium, and whether two copies can live together.

use std::io;
use std::ops::Range;

use crate::medium::nand::{self, Blocks};
use crate::medium::{Geometry, Kind, Medium, nor};
use crate::{Error, Place, Warning, image};

/// The place of a copy on the device that it was found on.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    pub(crate) place: Place,
    pub(crate) geometry: Geometry,
    /// Bytes from the start of the device.
    offset: u64,
    size: usize,
    /// All that a write to the copy touches: whole erase blocks on flash.
    range: Range<u64>,
}

impl Placement {
    /// Finds the place. Nothing is read.
    pub(crate) fn new(place: &Place, size: usize, geometry: Geometry) -> Result<Self, Error> {
        let fault = |reason| Error::Unsuitable {
            place: place.clone(),
            reason,
        };
        let (offset, range) = extent(place, size, &geometry).map_err(fault)?;
        Ok(Self {
            place: place.clone(),
            geometry,
            offset,
            size,
            range,
        })
    }

    /// Reads the copy.
    pub(crate) fn read(&self, medium: &mut dyn Medium) -> io::Result<Vec<u8>> {
        let mut image = vec![0; self.size];
        match self.geometry.kind {
            Kind::File | Kind::Block | Kind::Nor { .. } | Kind::Volume => {
                medium.read_at(self.offset, &mut image)?;
            }
            Kind::Nand { .. } if self.end() > self.geometry.length => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Kind::Nand { erase_size, .. } => {
                nand::read(medium, &self.blocks(erase_size), &mut image)?;
            }
        }
        Ok(image)
    }

    /// Writes the copy and makes it durable.
    pub(crate) fn write(&self, medium: &mut dyn Medium, image: &[u8]) -> io::Result<()> {
        match self.geometry.kind {
            Kind::File | Kind::Block => medium.write_at(self.offset, image)?,
            Kind::Nor { .. } => nor::write(medium, self.offset, image, self.range.clone())?,
            Kind::Nand { erase_size, .. } if self.offset.checked_rem(erase_size) != Some(0) => {
                let reason = "on NAND a copy must begin with an erase block";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
            Kind::Nand {
                erase_size,
                page_size,
            } => {
                nand::write(medium, &self.blocks(erase_size), page_size, image)?;
            }
            Kind::Volume => {
                medium.erase(self.range.clone())?;
                medium.write_at(self.offset, image)?;
            }
        }
        medium.sync()
    }

    /// Marks the copy as the old one of two: clears its flags byte, which NOR flash can do without
    /// an erase.
    pub(crate) fn obsolete(&self, medium: &mut dyn Medium) -> io::Result<()> {
        let flags = self.offset.saturating_add(image::FLAGS_OFFSET);
        let mut found = [u8::MAX];
        medium.write_at(flags, &[0])?;
        medium.sync()?;
        medium.read_at(flags, &mut found)?;
        if found == [0] {
            Ok(())
        } else {
            Err(io::Error::other("the flags byte did not change"))
        }
    }

    /// Runs an operation with the device's write protection off, and puts it on again, also after an
    /// error. The second part of the answer is why that failed.
    pub(crate) fn unprotected<T>(
        &self,
        medium: &mut dyn Medium,
        operation: impl FnOnce(&mut dyn Medium) -> io::Result<T>,
    ) -> io::Result<(T, Option<Warning>)> {
        if self.place.keep_locks {
            return operation(medium).map(|done| (done, None));
        }
        let was_protected = medium.set_protected(self.range.clone(), false)?;
        let result = operation(medium);
        let mut warning = None;
        if was_protected {
            if let Err(err) = medium.set_protected(self.range.clone(), true) {
                warning = Some(Warning::NotProtectedAgain(
                    self.place.clone(),
                    err.to_string(),
                ));
            }
        }
        Ok((result?, warning))
    }

    /// Whether the copy is all that there is in a regular file.
    pub(crate) fn fills_file(&self) -> bool {
        let size = u64::try_from(self.size);
        self.geometry.kind == Kind::File && self.offset == 0 && Ok(self.geometry.length) == size
    }

    /// What a person should know about the place of this copy.
    pub(crate) fn warnings(&self) -> impl Iterator<Item = Warning> {
        let end = self.end();
        let whole = self.range == (self.offset..end);
        let aligned = self.offset % SECTOR == 0 && end % SECTOR == 0;
        let misaligned = || Warning::Misaligned(self.place.clone());
        let shares = || Warning::SharesEraseBlock(self.place.clone());
        let nor = matches!(self.geometry.kind, Kind::Nor { .. });
        (!aligned)
            .then(misaligned)
            .into_iter()
            .chain((nor && !whole).then(shares))
    }

    fn end(&self) -> u64 {
        self.offset
            .saturating_add(u64::try_from(self.size).unwrap_or(u64::MAX))
    }

    fn blocks(&self, erase_size: u64) -> Blocks {
        Blocks {
            range: self.range.clone(),
            size: self.place.sector_size.unwrap_or(erase_size),
        }
    }
}

/// Whether two copies can protect each other.
pub(crate) fn check_pair(first: &Placement, second: &Placement) -> Result<(), Error> {
    let same_flash = match (first.geometry.kind, second.geometry.kind) {
        (Kind::Nor { .. }, Kind::Nor { .. }) | (Kind::Nand { .. }, Kind::Nand { .. }) => true,
        (Kind::Nor { .. } | Kind::Nand { .. }, _) | (_, Kind::Nor { .. } | Kind::Nand { .. }) => {
            false
        }
        (Kind::File | Kind::Block | Kind::Volume, Kind::File | Kind::Block | Kind::Volume) => true,
    };
    if !same_flash {
        let reason = "the two copies lie on different kinds of flash";
        return Err(Error::Unsuitable {
            place: second.place.clone(),
            reason,
        });
    }
    let apart = first.range.end <= second.range.start || second.range.end <= first.range.start;
    if first.geometry.identity == second.geometry.identity && !apart {
        return Err(Error::Overlap(Box::new([
            first.place.clone(),
            second.place.clone(),
        ])));
    }
    Ok(())
}

/// Offset and touched range of a copy.
fn extent(
    place: &Place,
    size: usize,
    geometry: &Geometry,
) -> Result<(u64, Range<u64>), &'static str> {
    let size = u64::try_from(size).map_err(|_| TOO_FAR)?;
    let offset = match (u64::try_from(place.offset), geometry.kind) {
        (Ok(offset), _) => offset,
        (Err(_), Kind::Block) => geometry
            .length
            .checked_sub(place.offset.unsigned_abs())
            .ok_or("the offset from the end is larger than the device")?,
        (Err(_), Kind::File | Kind::Nor { .. } | Kind::Nand { .. } | Kind::Volume) => {
            return Err("an offset from the end is for block devices only");
        }
    };
    let end = offset
        .checked_add(size)
        .filter(|&end| i64::try_from(end).is_ok())
        .ok_or(TOO_FAR)?;
    let range = match geometry.kind {
        Kind::File | Kind::Block => offset..end,
        Kind::Volume if offset == 0 => offset..end,
        Kind::Volume => return Err("a UBI volume holds one copy, at offset 0"),
        Kind::Nor { erase_size } => {
            let block = place.sector_size.unwrap_or(erase_size);
            let start = offset.checked_sub(offset.checked_rem(block).ok_or(NO_SECTOR)?);
            let end = end.checked_next_multiple_of(block);
            let range = start
                .zip(end)
                .map(|(start, end)| start..end)
                .ok_or(TOO_FAR)?;
            if range.end.abs_diff(range.start) > BLOCKS_LIMIT {
                return Err("its erase blocks are larger than 64 MiB");
            }
            range
        }
        Kind::Nand { erase_size, .. } => {
            let block = place.sector_size.unwrap_or(erase_size);
            if block.checked_rem(erase_size) != Some(0) || block == 0 {
                return Err("the sector size is no multiple of the flash's erase size");
            }
            let sectors = place.sectors.unwrap_or(size.div_ceil(block));
            let end = block
                .checked_mul(sectors)
                .and_then(|length| offset.checked_add(length));
            offset..end.ok_or(TOO_FAR)?.min(geometry.length)
        }
    };
    Ok((offset, range))
}

const TOO_FAR: &str = "the offset is too large";
const NO_SECTOR: &str = "the sector size is 0";

/// Bytes that no medium tears within.
const SECTOR: u64 = 512;

/// Bytes. NOR erase blocks have up to 256 KiB; the limit keeps a mistyped sector size from taking the
/// device's memory.
const BLOCKS_LIMIT: u64 = 64 << 20;
