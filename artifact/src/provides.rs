//! What is installed on a device, as keys and values, and how an artifact changes it (spec `agent-states` §2.2).

use std::collections::BTreeMap;

use crate::header::Header;

/// Keys and values: what a device has, or what an artifact brings. On a device, `artifact_name` and, if there is one,
/// `artifact_group` are among them.
pub type Provides = BTreeMap<String, String>;

/// The key under which the name of an artifact is provided.
pub const ARTIFACT_NAME: &str = "artifact_name";

/// The key under which the group of an artifact is provided.
pub const ARTIFACT_GROUP: &str = "artifact_group";

/// The change that an artifact makes to what a device provides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// The name of the artifact, never empty.
    pub name: &'a str,
    /// Its group.
    pub group: Option<&'a str>,
    /// What it provides beside name and group. Absent is not the same as empty.
    pub provides: Option<&'a Provides>,
    /// The patterns of the keys that it removes. Absent is not the same as empty.
    pub clears: Option<&'a [String]>,
}

impl<'a> From<&'a Header> for Change<'a> {
    fn from(header: &'a Header) -> Self {
        Self {
            name: header.name(),
            group: header.group(),
            provides: header.provides(),
            clears: header.clears_provides(),
        }
    }
}

impl Change<'_> {
    /// What a device provides after installing the artifact, if it provided `before`.
    #[must_use]
    pub fn apply(&self, before: &Provides) -> Provides {
        let mut after = match (self.provides, self.clears) {
            // From before there were patterns: everything is replaced.
            (_, None) => Provides::new(),
            (_, Some(patterns)) => without(before, patterns),
        };
        after.extend(
            self.provides
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        after.insert(ARTIFACT_NAME.to_owned(), self.name.to_owned());
        if let Some(group) = self.group {
            after.insert(ARTIFACT_GROUP.to_owned(), group.to_owned());
        }
        after
    }
}

/// `provides` without the keys that a pattern matches.
fn without(provides: &Provides, patterns: &[String]) -> Provides {
    let kept = |key: &str| !patterns.iter().any(|pattern| matches(pattern, key));
    provides
        .iter()
        .filter(|(key, _)| kept(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Whether `pattern` matches the whole `key`: `*` stands for any run of characters, also none; everything else for
/// itself.
#[must_use]
pub fn matches(pattern: &str, key: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = key.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        // The earliest match leaves the most for the parts behind it.
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn provides(pairs: &[(&str, &str)]) -> Provides {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[track_caller]
    fn check(
        group: Option<&str>,
        brings: Option<&[(&str, &str)]>,
        clears: Option<&[&str]>,
        after: &[(&str, &str)],
    ) {
        let before = provides(&[
            ("artifact_name", "old"),
            ("artifact_group", "g0"),
            ("rootfs-image.version", "1"),
            ("rootfs-image.checksum", "c"),
            ("other", "o"),
        ]);
        let brings = brings.map(provides);
        let clears: Option<Vec<String>> =
            clears.map(|list| list.iter().map(ToString::to_string).collect());
        let change = Change {
            name: "new",
            group,
            provides: brings.as_ref(),
            clears: clears.as_deref(),
        };
        assert_eq!(change.apply(&before), provides(after));
    }

    #[test]
    fn neither_provides_nor_clears_replaces_everything() {
        check(None, None, None, &[("artifact_name", "new")]);
        check(
            Some("g1"),
            None,
            None,
            &[("artifact_name", "new"), ("artifact_group", "g1")],
        );
    }

    #[test]
    fn clears_alone_drops_what_it_matches() {
        check(
            None,
            None,
            Some(&["rootfs-image.*", "artifact_group"]),
            &[("artifact_name", "new"), ("other", "o")],
        );
        check(None, None, Some(&["*"]), &[("artifact_name", "new")]);
        check(
            None,
            None,
            Some(&[]),
            &[
                ("artifact_name", "new"),
                ("artifact_group", "g0"),
                ("rootfs-image.version", "1"),
                ("rootfs-image.checksum", "c"),
                ("other", "o"),
            ],
        );
    }

    #[test]
    fn provides_alone_replace_everything() {
        check(
            None,
            Some(&[("a", "1")]),
            None,
            &[("artifact_name", "new"), ("a", "1")],
        );
        check(None, Some(&[]), None, &[("artifact_name", "new")]);
    }

    #[test]
    fn provides_lie_over_what_clears_leaves() {
        check(
            Some("g1"),
            Some(&[("rootfs-image.version", "2"), ("other", "p")]),
            Some(&["rootfs-image.*"]),
            &[
                ("artifact_name", "new"),
                ("artifact_group", "g1"),
                ("rootfs-image.version", "2"),
                ("other", "p"),
            ],
        );
    }

    #[test]
    fn the_name_survives_a_pattern_that_matches_it() {
        check(
            None,
            None,
            Some(&["artifact_*", "rootfs*", "o*"]),
            &[("artifact_name", "new")],
        );
    }

    #[test]
    fn patterns_match_whole_keys() {
        for (pattern, key, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything.at.all", true),
            ("**", "a", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a", "ba", false),
            ("a*", "a", true),
            ("a*", "ab", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("*ab*", "xxabxx", true),
            ("*aab", "aaab", true),
            ("*a*a", "a", false),
            ("rootfs-image.*", "rootfs-image.version", true),
            ("rootfs-image.*", "rootfs-image", false),
            ("rootfs-image.*", "rootfs-imageXversion", false),
            ("a.c", "abc", false),
            ("[a]", "a", false),
            ("\\*", "\\x", true),
            ("ü*", "üx", true),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern:?} {key:?}");
        }
    }

    /// By the definition, in exponential time.
    fn naive(pattern: &[char], key: &[char]) -> bool {
        match (pattern, key) {
            ([], []) => true,
            (['*', pattern @ ..], _) => (0..=key.len()).any(|skip| naive(pattern, &key[skip..])),
            ([p, pattern @ ..], [k, key @ ..]) => p == k && naive(pattern, key),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(pattern in "[ab*é]{0,8}", key in "[abé]{0,10}") {
            let slow = naive(&pattern.chars().collect::<Vec<_>>(), &key.chars().collect::<Vec<_>>());
            prop_assert_eq!(matches(&pattern, &key), slow);
        }
    }
}
