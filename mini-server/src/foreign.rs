//! What a file is that was uploaded as an artifact and is none, and what to do instead. Pure.

/// Bytes of the beginning of a file by which it is known.
pub const HEAD: usize = 4096;

/// A sentence about the file that begins with these bytes; `None` if it is of no kind that is known here.
#[must_use]
pub fn describe(head: &[u8]) -> Option<String> {
    let at = |place: usize, magic: &[u8]| {
        head.get(place..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    let (what, instead) = if head.is_empty() {
        ("it is empty", "Was the build that made it complete?")
    } else if at(0, b"070701") || at(0, b"070702") {
        if find(head, b"sw-description") {
            (
                "it is an SWUpdate image (.swu)",
                "Make an artifact of the root file system that was put into it: `tandem-artifact write rootfs-image`.",
            )
        } else {
            ("it is a cpio archive", WRITE)
        }
    } else if at(0, b"hsqs") {
        (
            "it is a squashfs image; a RAUC bundle (.raucb) looks the same",
            "Make an artifact of the root file system itself: `tandem-artifact write rootfs-image`.",
        )
    } else if at(0x438, b"\x53\xef") {
        (
            "it is a bare ext4 image",
            "Make an artifact of it: `tandem-artifact write rootfs-image --file IMAGE ...`.",
        )
    } else if at(0, b"PK\x03\x04") || at(0, b"PK\x05\x06") {
        ("it is a zip archive", UNPACK)
    } else if at(0, b"\x1f\x8b") {
        ("it is compressed with gzip", UNPACK)
    } else if at(0, b"\xfd7zXZ\0") {
        ("it is compressed with xz", UNPACK)
    } else if at(0, b"\x28\xb5\x2f\xfd") {
        ("it is compressed with zstd", UNPACK)
    } else if at(0, b"BZh") {
        ("it is compressed with bzip2", UNPACK)
    } else if at(0, b"\x7fELF") {
        ("it is a program", WRITE)
    } else if at(0, b"\xd0\x0d\xfe\xed") {
        ("it is a device tree or a FIT image", WRITE)
    } else if at(0x1fe, b"\x55\xaa") {
        (
            "it is an image of a whole disk",
            "An artifact has one root file system: make one of that with `tandem-artifact write rootfs-image`.",
        )
    } else if at(257, b"ustar") {
        if at(0, b"version\0") {
            // It is one, and something else is wrong with it: the reader of artifacts knows better.
            return None;
        }
        ("it is a tar archive of other things", WRITE)
    } else if is_html(head) {
        (
            "it is a web page",
            "Perhaps what was to be downloaded wanted a sign-in first.",
        )
    } else if is_text(head) {
        ("it is a text file", "Is it the right file?")
    } else {
        return None;
    };
    Some(format!("this is no artifact: {what}. {instead}"))
}

const WRITE: &str =
    "Make an artifact of what devices are to get: see `tandem-artifact write --help`.";

const UNPACK: &str = "If there is an artifact in it, unpack it first: artifacts are compressed within and uploaded as they are.";

fn find(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

fn is_html(head: &[u8]) -> bool {
    let begin = head.trim_ascii_start();
    let begin = begin.get(..begin.len().min(15)).unwrap_or_default();
    let begin = begin.to_ascii_lowercase();
    begin.starts_with(b"<!doctype html") || begin.starts_with(b"<html")
}

fn is_text(head: &[u8]) -> bool {
    let whole = match std::str::from_utf8(head) {
        Ok(_) => head,
        // The last character may be cut.
        Err(err) if head.len() >= HEAD && err.valid_up_to().saturating_add(4) > head.len() => {
            head.get(..err.valid_up_to()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let binary = |byte: &u8| *byte < 32 && !b"\t\n\r\x0c\x1b".contains(byte);
    !whole.iter().any(binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &[u8], expected: &str) {
        let said = describe(head).unwrap_or_default();
        assert!(said.contains(expected), "{said:?} has no {expected:?}");
    }

    fn placed(place: usize, magic: &[u8]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[place..][..magic.len()].copy_from_slice(magic);
        head
    }

    #[test]
    fn files_of_other_kinds_are_known() {
        check(b"", "empty");
        check(b"070701000000sw-description\0", "SWUpdate");
        check(b"070702000000etc\0", "cpio");
        check(b"hsqs\x01\0", "RAUC bundle");
        check(&placed(0x438, b"\x53\xef"), "bare ext4 image");
        check(&placed(0x1fe, b"\x55\xaa"), "whole disk");
        check(b"PK\x03\x04\x14\0", "zip");
        check(b"\x1f\x8b\x08\0", "gzip");
        check(b"\x7fELF\x02", "program");
        check(b"\n<!DOCTYPE HTML><title>Sign in", "web page");
        check("Grüße, Welt\n".as_bytes(), "text file");
        let mut cut = vec![b'a'; HEAD - 1];
        cut.push(0xc3);
        check(&cut, "text file");
        let mut tar = placed(257, b"ustar");
        tar[..3].copy_from_slice(b"etc");
        check(&tar, "tar archive");
        tar[..8].copy_from_slice(b"version\0");
        assert_eq!(describe(&tar), None);
        assert_eq!(describe(&[0, 1, 2, 255]), None);
    }
}
