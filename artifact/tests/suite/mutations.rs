//! Whatever happens to the bytes of an artifact: it is read as it was, or it is refused.

use tandem_artifact::Verification;

use crate::forge::{Forge, ed25519_verification, judge};
use crate::short_reads::ShortReads;

/// Judges every variant of an artifact; the numbers of those that were accepted.
#[track_caller]
fn check(
    original: &[u8],
    verification: &Verification,
    variants: impl Iterator<Item = Vec<u8>>,
) -> Vec<usize> {
    let facts = judge(original, verification).unwrap();
    let accepted = |(n, variant): (usize, Vec<u8>)| {
        let found = judge(&*variant, verification).ok()?;
        assert_eq!(found, facts, "variant {n} is read as something else");
        Some(n)
    };
    variants.enumerate().filter_map(accepted).collect()
}

/// What each byte is flipped with.
const MASKS: [u8; 2] = [0x20, 0x81];

fn flips(original: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..original.len())
        .flat_map(move |at| MASKS.map(|mask| (at, mask)))
        .map(|(at, mask)| {
            let mut variant = original.to_vec();
            variant[at] ^= mask;
            variant
        })
}

/// Where a tar header's checksum ends: NUL and space there mean the same, and no sum covers them.
fn ends_a_checksum(variant: usize) -> bool {
    (154..156).contains(&(variant / MASKS.len() % 512))
}

#[test]
fn no_flipped_byte_of_a_signed_artifact_is_accepted() {
    let artifact = Forge::signed("").bytes();
    let accepted = check(&artifact, &ed25519_verification(), flips(&artifact));
    assert!(
        accepted.iter().all(|variant| ends_a_checksum(*variant)),
        "{accepted:?}"
    );
}

#[test]
fn a_flipped_byte_of_an_unsigned_artifact_is_harmless_or_refused() {
    let artifact = Forge::new("").bytes();
    let accepted = check(&artifact, &Verification::off(), flips(&artifact));
    assert!(
        accepted.iter().all(|variant| ends_a_checksum(*variant)),
        "{accepted:?}"
    );
    for suffix in [".gz", ".xz", ".zst"] {
        let artifact = Forge::new(suffix).bytes();
        let accepted = check(&artifact, &Verification::off(), flips(&artifact));
        // Such as the time in the header of the gzip payload.
        assert!(accepted.len() <= 50, "{suffix}: {accepted:?}");
    }
}

#[test]
fn no_truncated_artifact_is_read_as_something_else() {
    for suffix in ["", ".gz", ".xz", ".zst"] {
        let artifact = Forge::signed(suffix).bytes();
        let truncated = (0..artifact.len()).map(|length| artifact[..length].to_vec());
        // Only the two end blocks may be missing, or one of them.
        assert_eq!(
            check(&artifact, &ed25519_verification(), truncated).len(),
            2,
            "{suffix}"
        );
    }
}

#[test]
fn no_inserted_or_removed_byte_is_accepted() {
    let artifact = Forge::signed(".gz").bytes();
    let inserted = (0..artifact.len()).flat_map(|at| {
        [0, b'0'].map(|byte| {
            let mut variant = artifact.clone();
            variant.insert(at, byte);
            variant
        })
    });
    let removed = (0..artifact.len()).map(|at| {
        let mut variant = artifact.clone();
        variant.remove(at);
        variant
    });
    // Zeros more or less in the tail.
    let tail = 1024;
    let accepted = check(&artifact, &ed25519_verification(), inserted.chain(removed));
    assert!(accepted.len() <= tail * 2 + 1, "{accepted:?}");
}

#[test]
fn no_swapped_or_repeated_block_is_read_as_something_else() {
    let artifact = Forge::signed("").bytes();
    let blocks: Vec<&[u8]> = artifact.chunks(512).collect();
    let count = blocks.len();
    let swapped = (0..count)
        .flat_map(|a| (0..a).map(move |b| (a, b)))
        .map(|(a, b)| {
            let mut variant = blocks.clone();
            variant.swap(a, b);
            variant.concat()
        });
    let repeated = (0..count)
        .flat_map(|a| (0..=count).map(move |b| (a, b)))
        .map(|(a, b)| {
            let mut variant = blocks.clone();
            variant.insert(b, blocks[a]);
            variant.concat()
        });
    let removed = (0..count).map(|a| {
        let mut variant = blocks.clone();
        variant.remove(a);
        variant.concat()
    });
    check(
        &artifact,
        &ed25519_verification(),
        swapped.chain(repeated).chain(removed),
    );
}

#[test]
fn how_the_bytes_arrive_changes_nothing() {
    for suffix in ["", ".gz", ".xz", ".zst"] {
        let artifact = Forge::signed(suffix).bytes();
        let facts = judge(&*artifact, &ed25519_verification()).unwrap();
        for seed in 0..20 {
            assert_eq!(
                judge(ShortReads::new(&artifact, seed), &ed25519_verification()).unwrap(),
                facts
            );
        }
        for length in (0..artifact.len()).step_by(7) {
            let whole =
                judge(&artifact[..length], &ed25519_verification()).map_err(|err| err.to_string());
            let short = judge(
                ShortReads::new(&artifact[..length], 1),
                &ed25519_verification(),
            );
            assert_eq!(
                short.map_err(|err| err.to_string()),
                whole,
                "{suffix} cut after {length}"
            );
        }
    }
}
