//! What kind of device this is: the line `device_type=...` of a file on the persistent partition.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Reads the device type.
///
/// # Errors
/// When the file cannot be read or is not one such line.
pub(crate) fn read(path: &Path) -> Result<String> {
    let attempt = || format!("cannot read the device type from {}", path.display());
    let text = fs::read_to_string(path).with_context(attempt)?;
    parse(&text).with_context(attempt)
}

/// The value of the one line; the value goes to the end of the line as it is.
fn parse(text: &str) -> Result<String> {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let value = line
        .strip_prefix("device_type=")
        .context("it must begin with a line \"device_type=NAME\"")?;
    ensure!(
        rest.is_empty() || rest == "\n",
        "it must have that one line only"
    );
    ensure!(!value.is_empty(), "the device type is empty");
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_the_device_is() {
        for (text, expected) in [
            ("device_type=qemu\n", Some("qemu")),
            ("device_type=qemu", Some("qemu")),
            ("device_type=a b=c \n\n", Some("a b=c ")),
            ("device_type=qemu\nmore\n", None),
            ("device_type=\n", None),
            ("devicetype=qemu\n", None),
            ("\ndevice_type=qemu\n", None),
            ("", None),
        ] {
            assert_eq!(parse(text).ok().as_deref(), expected, "{text:?}");
        }
    }
}
