//! PEM files: labelled base64 between dashes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A block of a PEM file.
pub(crate) struct Block {
    /// What it says it is: `PUBLIC KEY`.
    pub(crate) label: String,
    /// Its content, or `None` if that is not plain base64 (encrypted in the old way, damaged).
    pub(crate) content: Option<Vec<u8>>,
}

/// The blocks of `text`, without what stands around them.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = label(line, "BEGIN") else {
            continue;
        };
        let mut base64 = String::new();
        let ended = lines.by_ref().any(|line| {
            let end = self::label(line, "END") == Some(label);
            if !end {
                base64.push_str(line);
            }
            end
        });
        let content = STANDARD.decode(&base64).ok().filter(|_| ended);
        blocks.push(Block {
            label: label.to_owned(),
            content,
        });
    }
    blocks
}

fn label<'a>(line: &'a str, edge: &str) -> Option<&'a str> {
    line.strip_prefix("-----")?
        .strip_prefix(edge)?
        .strip_prefix(' ')?
        .strip_suffix("-----")
}
