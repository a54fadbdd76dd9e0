//! Headers of tar members, always the same for the same name and size: owner root, time 0, nothing of this machine.

use tar::{EntryType, Header};

use crate::pax::Pax;
use crate::tar_read::{BLOCK, padding};

/// The two zero blocks at the end of an archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The largest size that eleven octal digits can say.
const OCTAL_MAX: u64 = 0o77_777_777_777;

/// From this size on an archive's own header is written with an extended one, because what it compresses to might need
/// it; that is known only afterwards, when the room has been left.
const MAYBE_LARGE: u64 = 7 << 30;

/// The header of a regular file: one block, or three where only an extended header can say it.
pub(crate) fn header(name: &str, size: u64, mode: u32) -> Vec<u8> {
    build(name, size, mode, size > OCTAL_MAX)
}

/// The header of a compressed archive of `unpacked` bytes; its length does not depend on `size`.
pub(crate) fn archive_header(name: &str, size: u64, unpacked: u64) -> Vec<u8> {
    build(name, size, ARCHIVE_MODE, unpacked >= MAYBE_LARGE)
}

/// The mode of the members of the outer archive, as mender-artifact has it.
pub(crate) const ARCHIVE_MODE: u32 = 0o600;

fn build(name: &str, size: u64, mode: u32, extended_size: bool) -> Vec<u8> {
    let fits = name.len() <= 100 && name.is_ascii();
    let pax = Pax {
        path: (!fits).then(|| name.to_owned()),
        size: extended_size.then_some(size),
    };
    let mut bytes = Vec::new();
    let records = pax.to_bytes();
    if !records.is_empty() {
        let label = format!("PaxHeaders.0/{name}");
        bytes.extend_from_slice(&block(
            &label,
            records.len() as u64,
            mode,
            EntryType::XHeader,
        ));
        bytes.extend_from_slice(&records);
        bytes.extend_from_slice(padding(records.len() as u64));
    }
    bytes.extend_from_slice(&block(name, size, mode, EntryType::Regular));
    bytes
}

/// POSIX ustar as Go writes it. A name that does not fit is cut, a size that does not fit is 0: the extended header
/// says them.
fn block(name: &str, size: u64, mode: u32, kind: EntryType) -> [u8; BLOCK] {
    let mut header = Header::new_ustar();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(if size > OCTAL_MAX { 0 } else { size });
    header.set_entry_type(kind);
    let plain = name
        .bytes()
        .map(|byte| if byte.is_ascii() { byte } else { b'_' });
    for (slot, byte) in header.as_old_mut().name.iter_mut().zip(plain) {
        *slot = byte;
    }
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.set_device_major(0);
        ustar.set_device_minor(0);
    }
    header.as_old_mut().cksum = [b' '; 8];
    let sum: u32 = header.as_bytes().iter().copied().map(u32::from).sum();
    let digits = format!("{sum:06o}\0 ");
    header.as_old_mut().cksum.copy_from_slice(digits.as_bytes());
    *header.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar_read::TarReader;

    #[test]
    fn headers_are_read_back() {
        let long = format!("scripts/ArtifactInstall_Enter_00_{}", "x".repeat(200));
        for name in [
            "version",
            "data/0000.tar.gz",
            &"x".repeat(100),
            &"x".repeat(101),
            &long,
            "ü",
        ] {
            for size in [
                0,
                1,
                511,
                512,
                513,
                OCTAL_MAX,
                OCTAL_MAX + 1,
                i64::MAX as u64,
            ] {
                let bytes = header(name, size, 0o600);
                assert_eq!(bytes.len() % BLOCK, 0);
                let member = TarReader::new(&*bytes, "it")
                    .next_member()
                    .unwrap()
                    .unwrap();
                assert_eq!((member.name.as_str(), member.size), (name, size));
            }
        }
    }

    #[test]
    fn the_header_of_an_archive_can_be_written_before_its_size_is_known() {
        for unpacked in [0, MAYBE_LARGE - 1, MAYBE_LARGE, 1 << 40] {
            let lengths = [0, 1, OCTAL_MAX, OCTAL_MAX + 1, i64::MAX as u64].map(|size| {
                archive_header("data/0000.tar.gz", size.min(unpacked.max(1)), unpacked).len()
            });
            assert!(
                lengths.iter().all(|length| *length == lengths[0]),
                "{unpacked}: {lengths:?}"
            );
        }
    }

    #[test]
    fn padding_fills_blocks() {
        for (size, length) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(size).len(), length, "{size}");
        }
    }
}
