//! The text form of changes: what `fw_setenv -s` and a default environment (`-f`) read.

use crate::Error;
use crate::env::{Env, split_at_equals};

/// One line of a script: a variable and its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The variable.
    pub name: Vec<u8>,
    /// `None` removes it.
    pub value: Option<Vec<u8>>,
}

impl Change {
    /// Reads a script: one `name=value` a line, split at the first `=`, nothing trimmed but the end
    /// of the line (LF, CR LF, or the end of the text). `name=` removes. Lines without `=`, empty
    /// lines and those that begin with `#` mean nothing. This is libubootenv's form; it is also the
    /// one that U-Boot's tool and GRUB's counterpart understand.
    ///
    /// DIFFERS: libubootenv 0.3.2 breaks lines of more than 1023 bytes and takes the rest for further
    /// lines.
    #[must_use]
    pub fn parse_script(text: &[u8]) -> Vec<Self> {
        text.split(|&byte| byte == b'\n')
            .filter_map(parse_line)
            .collect()
    }
}

impl Env {
    /// An environment from its text form ([`Change::parse_script`]): a default environment.
    ///
    /// # Errors
    /// As [`Env::set`].
    pub fn from_text(text: &[u8]) -> Result<Self, Error> {
        let mut env = Self::new();
        for Change { name, value } in Change::parse_script(text) {
            env.change(name, value)?;
        }
        Ok(env)
    }
}

fn parse_line(line: &[u8]) -> Option<Change> {
    let end = line.iter().rposition(|&byte| byte != b'\r')?;
    let line = line.get(..=end)?;
    if line.starts_with(b"#") {
        return None;
    }
    let (name, value) = split_at_equals(line)?;
    Some(Change {
        name: name.to_vec(),
        value: (!value.is_empty()).then(|| value.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Option<&str>)]) {
        let found = Change::parse_script(text.as_bytes());
        let expected: Vec<Change> = expected
            .iter()
            .map(|(name, value)| Change {
                name: name.as_bytes().to_vec(),
                value: value.map(|value| value.as_bytes().to_vec()),
            })
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn lines_are_split_at_the_first_equals_sign_and_not_trimmed() {
        check("", &[]);
        check("a=1\nb=2\n", &[("a", Some("1")), ("b", Some("2"))]);
        check("a=1", &[("a", Some("1"))]);
        check("a=1\r\nb=2\r\r\n", &[("a", Some("1")), ("b", Some("2"))]);
        check(
            " lead=v\nr = spaced \n",
            &[(" lead", Some("v")), ("r ", Some(" spaced "))],
        );
        check("a=b=c\n", &[("a", Some("b=c"))]);
        check("gone=\n", &[("gone", None)]);
        check("# no=comment\n\n\r\nnothing\n", &[]);
        check(" # yes=variable\n", &[(" # yes", Some("variable"))]);
        check("=nameless\n", &[("", Some("nameless"))]);
        let long = "v=".repeat(5000);
        check(&format!("long={long}\n"), &[("long", Some(&long))]);
    }
}
