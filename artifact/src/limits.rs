//! How much of what a reader accepts.

/// Limits of a reader, all of our own choosing: far above what real artifacts need and low enough that no artifact
/// can exhaust a small device. A payload file has none: its size is known before its first byte, the caller judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Member `version`, bytes.
    pub version: u64,
    /// Member `manifest`, bytes.
    pub manifest: u64,
    /// Member `manifest.sig`, bytes.
    pub signature: u64,
    /// Member `header.tar*` as it stands in the artifact, bytes. It is held in memory until its sum is checked.
    pub header: u64,
    /// What `header.tar*` decompresses to, bytes.
    pub header_unpacked: u64,
    /// Each of header-info, type-info and meta-data, bytes.
    pub json: u64,
    /// Each state script, bytes.
    pub script: u64,
    /// How many state scripts.
    pub scripts: usize,
    /// The window that a zstd frame may ask for, bytes; rounded down to a power of two, at most 128 MiB.
    ///
    /// mender-artifact 4.0 wrote 16 MiB (`zstd_better`) and 32 MiB (`zstd_best`), 4.1 and later write 8 MiB.
    pub zstd_window: u64,
    /// The dictionary that an xz stream may ask for, bytes. mender-artifact always asks for 64 MiB.
    pub xz_dictionary: u64,
    /// Zero bytes after the end of an archive, as block-wise writers leave them.
    pub zero_tail: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: u64 = 1 << 10;
        const MIB: u64 = 1 << 20;
        Self {
            version: 4 * KIB,
            manifest: MIB,
            signature: 16 * KIB,
            header: 16 * MIB,
            header_unpacked: 64 * MIB,
            json: MIB,
            script: 4 * MIB,
            scripts: 256,
            zstd_window: 8 * MIB,
            xz_dictionary: 64 * MIB,
            zero_tail: MIB,
        }
    }
}
