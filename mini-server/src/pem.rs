//! Writing PEM files. (rustls reads them.)

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// `der` in the form that OpenSSL writes: 64 characters a line.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap_or_default())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}
