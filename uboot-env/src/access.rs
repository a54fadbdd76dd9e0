//! Who may change which variable: the environment's `.flags` and the configuration's `writelist`.
//!
//! Both are lists of `name:attributes`. Of the attributes we obey the access (`r` read-only, `o`
//! write-once, others anything) and leave types (`s d x b i m`) to U-Boot, which checks them itself.

use crate::env::FLAGS;
use crate::{Env, Error};

/// What may be done to a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anything.
    Any,
    /// Nothing.
    ReadOnly,
    /// It may be created, but neither changed nor removed.
    WriteOnce,
}

/// One `name:attributes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) name: Vec<u8>,
    pub(crate) access: Access,
}

impl Rule {
    /// `None` for text that is not a rule.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let colon = text.iter().position(|&byte| byte == b':')?;
        let (name, attributes) = text.split_at_checked(colon)?;
        let access = attributes
            .iter()
            .fold(Access::Any, |access, letter| match letter {
                b'r' => Access::ReadOnly,
                b'o' => Access::WriteOnce,
                b'a' | b'c' => Access::Any,
                _ => access,
            });
        Some(Self {
            name: name.trim_ascii().to_vec(),
            access,
        })
    }

    fn allows(&self, exists: bool) -> bool {
        match self.access {
            Access::Any => true,
            Access::ReadOnly => false,
            Access::WriteOnce => !exists,
        }
    }
}

/// Whether the step from one environment to the other is allowed.
///
/// DIFFERS: libubootenv 0.3.2 obeys the first rule of `.flags` only, loses the others with the next
/// write, and reports success for a change that it did not make.
///
/// # Errors
/// [`Error::ReadOnly`] or [`Error::NotInWritelist`] for the first change that is not.
pub(crate) fn check(before: &Env, after: &Env, writelist: Option<&[Rule]>) -> Result<(), Error> {
    let flags: Vec<Rule> = before
        .get(FLAGS)
        .into_iter()
        .flat_map(|flags| flags.split(|&byte| byte == b','))
        .filter_map(Rule::parse)
        .collect();
    for name in before.changed_names(after) {
        let exists = before.get(name).is_some();
        // As in U-Boot the last rule for a name counts.
        if flags
            .iter()
            .rfind(|rule| rule.name == name)
            .is_some_and(|rule| !rule.allows(exists))
        {
            return Err(Error::ReadOnly {
                name: name.to_vec(),
            });
        }
        if let Some(writelist) = writelist {
            let rule = writelist.iter().find(|rule| rule.name == name);
            if !rule.is_some_and(|rule| rule.allows(exists)) {
                return Err(Error::NotInWritelist {
                    name: name.to_vec(),
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_step(flags: &str, writelist: Option<&str>, name: &str, value: Option<&str>, ok: bool) {
        let mut before = Env::from_text(b"old=1\n").unwrap();
        before.set(FLAGS, flags).unwrap();
        let mut after = before.clone();
        after.change(name, value).unwrap();
        let rules: Option<Vec<Rule>> = writelist.map(|list| {
            list.split(',')
                .filter_map(|rule| Rule::parse(rule.as_bytes()))
                .collect()
        });
        let found = check(&before, &after, rules.as_deref());
        assert_eq!(
            found.is_ok(),
            ok,
            "{flags} {writelist:?} {name}={value:?}: {found:?}"
        );
    }

    #[test]
    fn flags_decide_per_variable_and_the_last_rule_counts() {
        check_step("", None, "old", Some("2"), true);
        check_step("old:sr", None, "old", Some("2"), false);
        check_step("old:sr", None, "old", None, false);
        check_step("old:sr", None, "old", Some("1"), true);
        check_step("new:sr", None, "new", Some("1"), false);
        check_step("old:so", None, "old", Some("2"), false);
        check_step("new:so", None, "new", Some("1"), true);
        check_step("old:sc", None, "old", None, true);
        check_step("x:sr, old :sr", None, "old", None, false);
        check_step("old:sr,old:sa", None, "old", None, true);
        check_step("old:sa,old:sr", None, "old", None, false);
        check_step("old,:,old:", None, "old", None, true);
    }

    #[test]
    fn a_writelist_forbids_what_it_does_not_name() {
        check_step("", Some("old:sa"), "old", None, true);
        check_step("", Some("old:sr"), "old", None, false);
        check_step("", Some("new:sa"), "old", None, false);
        check_step("old:sr", Some("old:sa"), "old", None, false);
    }
}
