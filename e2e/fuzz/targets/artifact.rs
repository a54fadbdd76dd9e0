//! Artifacts whose sums are right, so that what is behind them is reached.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use sha2::{Digest as _, Sha256};

#[derive(Arbitrary, Debug)]
struct Parts<'a> {
    version: Option<&'a [u8]>,
    header_info: &'a [u8],
    scripts: Vec<(&'a str, &'a [u8])>,
    type_info: &'a [u8],
    meta_data: Option<&'a [u8]>,
    files: Vec<(&'a str, &'a [u8])>,
    /// Takes the place of the payload archive.
    payload: Option<&'a [u8]>,
    /// Of the payload.
    suffix: u8,
    /// Instead of the sums that are right.
    manifest: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
    behind: &'a [u8],
}

fn suffix(number: u8) -> &'static str {
    ["", ".gz", ".xz", ".zst"][usize::from(number % 4)]
}

fn entry(bytes: &mut Vec<u8>, name: &str, content: &[u8]) {
    let mut block = [0; 512];
    let cut = name.len().min(100);
    block[..cut].copy_from_slice(&name.as_bytes()[..cut]);
    block[100..108].copy_from_slice(b"0000600\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[148..156].copy_from_slice(b"        ");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend_from_slice(&block);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

fn line(content: &[u8], name: &str) -> String {
    let sum: String = Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{sum}  {name}\n")
}

impl Parts<'_> {
    fn header(&self) -> Vec<u8> {
        let mut header = Vec::new();
        entry(&mut header, "header-info", self.header_info);
        for (name, content) in &self.scripts {
            entry(&mut header, &format!("scripts/{name}"), content);
        }
        entry(&mut header, "headers/0000/type-info", self.type_info);
        if let Some(content) = self.meta_data {
            entry(&mut header, "headers/0000/meta-data", content);
        }
        header.extend_from_slice(&[0; 1024]);
        header
    }

    fn payload(&self) -> Vec<u8> {
        if let Some(payload) = self.payload {
            return payload.to_vec();
        }
        let mut payload = Vec::new();
        for (name, content) in &self.files {
            entry(&mut payload, name, content);
        }
        payload.extend_from_slice(&[0; 1024]);
        payload
    }

    fn artifact(&self) -> Vec<u8> {
        let version = self
            .version
            .unwrap_or(br#"{"format":"mender","version":3}"#);
        let header = self.header();
        let mut sums: String = self
            .files
            .iter()
            .map(|(name, content)| line(content, &format!("data/0000/{name}")))
            .collect();
        sums += &line(&header, "header.tar");
        sums += &line(version, "version");
        let mut outer = Vec::new();
        entry(&mut outer, "version", version);
        entry(
            &mut outer,
            "manifest",
            self.manifest.unwrap_or(sums.as_bytes()),
        );
        if let Some(signature) = self.signature {
            entry(&mut outer, "manifest.sig", signature);
        }
        entry(&mut outer, "header.tar", &header);
        let payload_name = format!("data/0000.tar{}", suffix(self.suffix));
        entry(&mut outer, &payload_name, &self.payload());
        outer.extend_from_slice(&[0; 1024]);
        outer.extend_from_slice(self.behind);
        outer
    }
}

libfuzzer_sys::fuzz_target!(|parts: Parts<'_>| tandem_fuzz::check(&parts.artifact()));
