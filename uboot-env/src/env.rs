//! The variables of one environment, as bytes.

use std::collections::BTreeMap;

use crate::Error;

/// The variables that one copy of the environment holds.
///
/// Names and values are bytes: nothing obliges them to be UTF-8. What we do not understand is
/// carried along unchanged:
///
/// | stored entry | kept as |
/// |---|---|
/// | `name=value` | a variable; of two with one name the later counts, as in U-Boot |
/// | `=value` | a variable with an empty name, so that it can be seen and removed |
/// | `.flags=...` | an ordinary variable, stored last as libubootenv does |
/// | no `=` at all | as it is, stored first: to U-Boot it deletes a variable met before it |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Env {
    variables: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Entries without `=` in their stored order, each with its NUL.
    loose: Vec<u8>,
}

impl Env {
    /// An environment without any variable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the data area of a copy: NUL-terminated entries up to the first empty one.
    ///
    /// Total: every byte string is some environment. What follows the empty entry is padding.
    #[must_use]
    pub fn parse(data: &[u8]) -> Self {
        let mut env = Self::new();
        for entry in data
            .split(|&byte| byte == 0)
            .take_while(|entry| !entry.is_empty())
        {
            match split_at_equals(entry) {
                Some((name, value)) => {
                    env.variables.insert(name.to_vec(), value.to_vec());
                }
                None => {
                    env.loose.extend_from_slice(entry);
                    env.loose.push(0);
                }
            }
        }
        env
    }

    /// The data area without padding: entries sorted by name (so that two writers of the same
    /// variables write the same bytes), `.flags` last, and the empty entry that ends them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let flags = self.variables.get_key_value(FLAGS.as_slice());
        let others = self.variables.iter().filter(|(name, _)| *name != FLAGS);
        let mut data = self.loose.clone();
        for (name, value) in others.chain(flags) {
            data.extend_from_slice(name);
            data.push(b'=');
            data.extend_from_slice(value);
            data.push(0);
        }
        data.push(0);
        data
    }

    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.variables.get(name.as_ref()).map(Vec::as_slice)
    }

    /// Sets a variable. An empty value is a value: see [`Env::remove`].
    ///
    /// # Errors
    /// [`Error::Name`] or [`Error::Value`] for what cannot be stored or what U-Boot would refuse:
    /// an empty name, `=`, NUL or a newline in a name, NUL in a value.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        let (name, value) = (name.as_ref(), value.as_ref());
        if let Some(fault) = name_fault(name) {
            return Err(Error::Name {
                name: name.to_vec(),
                fault,
            });
        }
        if value.contains(&0) {
            return Err(Error::Value {
                name: name.to_vec(),
            });
        }
        self.variables.insert(name.to_vec(), value.to_vec());
        Ok(())
    }

    /// Removes a variable, if there is one of this name. The empty name is allowed here: it is the
    /// way to get rid of an entry that makes U-Boot refuse the whole environment.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        self.variables.remove(name.as_ref());
    }

    /// Sets (`Some`) or removes (`None`) a variable.
    ///
    /// # Errors
    /// As [`Env::set`]; also for removing a name with `=`, which can only be a mistake.
    pub fn change<V: AsRef<[u8]>>(
        &mut self,
        name: impl AsRef<[u8]>,
        value: Option<V>,
    ) -> Result<(), Error> {
        let name = name.as_ref();
        match value {
            Some(value) => self.set(name, value),
            None if name.contains(&b'=') => Err(Error::Name {
                name: name.to_vec(),
                fault: EQUALS_FAULT,
            }),
            None => {
                self.remove(name);
                Ok(())
            }
        }
    }

    /// Every variable but `.flags`, sorted bytewise by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
            .filter(|(name, _)| name != FLAGS)
    }

    /// Names whose value differs between two environments, or that only one of them has.
    pub(crate) fn changed_names<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a [u8]> {
        let changed = self
            .variables
            .iter()
            .filter(|(name, value)| other.get(name) != Some(value));
        let added = other
            .variables
            .keys()
            .filter(|name| !self.variables.contains_key(*name));
        changed
            .map(|(name, _)| name.as_slice())
            .chain(added.map(Vec::as_slice))
    }
}

/// The part before and the part after the first `=`.
pub(crate) fn split_at_equals(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = entry.iter().position(|&byte| byte == b'=')?;
    let (name, rest) = entry.split_at_checked(equals)?;
    Some((name, rest.get(1..)?))
}

fn name_fault(name: &[u8]) -> Option<&'static str> {
    let holds = |byte| name.contains(&byte);
    match name {
        [] => Some("it is empty"),
        _ if holds(b'=') => Some(EQUALS_FAULT),
        _ if holds(0) => Some("illegal character NUL"),
        _ if holds(b'\n') => Some("illegal character newline"),
        _ => None,
    }
}

const EQUALS_FAULT: &str = "illegal character '='";

/// The variable that describes types and access of others; see `access`.
pub(crate) const FLAGS: &[u8; 6] = b".flags";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(data: &[u8], stored_again: &[u8]) {
        assert_eq!(
            Env::parse(data).to_bytes().escape_ascii().to_string(),
            stored_again.escape_ascii().to_string()
        );
    }

    #[test]
    fn what_is_not_understood_is_carried_along() {
        check(b"", b"\0");
        check(b"\0\0garbage", b"\0");
        check(b"b=2\0a=1\0\0padding=1\0", b"a=1\0b=2\0\0");
        check(
            b"a=1\0junk\0b=\0more junk\0\0",
            b"junk\0more junk\0a=1\0b=\0\0",
        );
        check(
            b".flags=a:dr,b:sa\0b=2\0a=1\0\0",
            b"a=1\0b=2\0.flags=a:dr,b:sa\0\0",
        );
        check(b"=nameless\0\0", b"=nameless\0\0");
        check(b"a=x=y\0\0", b"a=x=y\0\0");
        check(b"a=\xff\x80\n\0\0", b"a=\xff\x80\n\0\0");
    }

    #[test]
    fn the_later_of_two_entries_with_one_name_counts() {
        check(b"a=1\0a=2\0\0", b"a=2\0\0");
    }

    #[test]
    fn an_entry_cut_off_by_the_end_is_still_an_entry() {
        check(b"a=1\0b=2", b"a=1\0b=2\0\0");
    }

    #[test]
    fn names_and_values_that_cannot_be_stored_are_refused() {
        let mut env = Env::new();
        for name in ["", "a=b", "=", "a\0b", "a\nb"] {
            assert!(
                matches!(env.set(name, "v"), Err(Error::Name { .. })),
                "{name:?}"
            );
        }
        assert!(matches!(env.set("a", "b\0c"), Err(Error::Value { .. })));
        assert_eq!(env, Env::new());
    }

    #[test]
    fn a_nameless_entry_can_be_removed() {
        let mut env = Env::parse(b"=x\0a=1\0\0");
        env.remove("");
        assert_eq!(env.to_bytes(), b"a=1\0\0");
    }

    proptest! {
        #[test]
        fn any_bytes_parse_and_settle_after_one_round(data: Vec<u8>) {
            let once = Env::parse(&data);
            prop_assert_eq!(&Env::parse(&once.to_bytes()), &once);
            prop_assert!(once.to_bytes().len() <= data.len().saturating_add(2));
        }

        #[test]
        fn what_was_set_is_read_back(
            variables: BTreeMap<String, Vec<u8>>
        ) {
            let mut env = Env::new();
            for (name, value) in &variables {
                let storable = env.set(name, value).is_ok();
                let illegal = name.is_empty() || name.contains(['=', '\0', '\n']) || value.contains(&0);
                prop_assert_eq!(storable, !illegal);
            }
            let again = Env::parse(&env.to_bytes());
            prop_assert_eq!(&again, &env);
        }
    }
}
