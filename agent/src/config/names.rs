//! The names of the keys: in any case, with or without underscores, so that `server_url` and
//! Mender's `ServerURL` are one.

/// Every key of a configuration file, in the spelling of `tandem.toml`.
pub(super) const KEYS: &[&str] = &[
    "allow_unsigned",
    "artifact_verify_key",
    "artifact_verify_keys",
    "boot_loader",
    "daemon_log_level",
    "data_dir",
    "device_type_file",
    "download_rate_limit",
    "grub_env_dir",
    "https_client",
    "identity_script",
    "install_priority",
    "inventory_dir",
    "inventory_poll_interval_seconds",
    "module_timeout_seconds",
    "modules_dir",
    "reboot_command",
    "retry_download_count",
    "retry_poll_count",
    "retry_poll_interval_seconds",
    "root_device",
    "rootfs_part_a",
    "rootfs_part_b",
    "scripts_dir",
    "security",
    "server_certificate",
    "server_url",
    "servers",
    "stall_timeout_seconds",
    "state_script_retry_interval_seconds",
    "state_script_retry_timeout_seconds",
    "state_script_timeout_seconds",
    "tenant_token",
    "uboot_env_config",
    "update_log_path",
    "update_poll_interval_seconds",
    "whole_artifact_fallback",
];

/// The keys inside `https_client`, `security` and each of `servers`.
pub(super) const NESTED: &[(&str, &[&str])] = &[
    ("https_client", &["certificate", "key"]),
    ("security", &["auth_private_key"]),
    ("servers", &["server_url"]),
];

/// The key that `written` means.
pub(super) fn canonical(written: &str, keys: &[&'static str]) -> Option<&'static str> {
    let plain = plain(written);
    keys.iter().copied().find(|key| self::plain(key) == plain)
}

/// The key that someone who wrote `written` may have had in mind.
pub(super) fn nearest(written: &str, keys: &[&'static str]) -> Option<&'static str> {
    let plain = plain(written);
    let (distance, key) = keys
        .iter()
        .map(|key| (distance(&self::plain(key), &plain), *key))
        .min()?;
    (distance <= plain.len() / 3).then_some(key)
}

fn plain(key: &str) -> String {
    key.chars()
        .filter(|c| *c != '_')
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// How many single-character changes lie between two words.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (b, cell) in other.chars().zip(row.iter_mut().skip(1)) {
            let change = diagonal.saturating_add(usize::from(a != b));
            diagonal = *cell;
            left = change
                .min(left.saturating_add(1))
                .min(cell.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_manual() {
        let manual = include_str!("../../man/tandem.toml.5");
        let nested = NESTED.iter().flat_map(|(_, keys)| keys.iter());
        for key in KEYS.iter().chain(nested) {
            assert!(manual.contains(key), "{key} is not in tandem.toml(5)");
        }
    }

    #[test]
    fn a_key_is_found_in_every_spelling() {
        for written in [
            "ServerURL",
            "serverurl",
            "SERVERURL",
            "server_url",
            "Server_Url",
        ] {
            assert_eq!(canonical(written, KEYS), Some("server_url"), "{written}");
        }
        assert_eq!(canonical("ServerUR", KEYS), None);
    }

    #[test]
    fn a_misspelt_key_suggests_the_nearest() {
        for (written, key) in [
            ("sever_url", Some("server_url")),
            ("rootfs_part_c", Some("rootfs_part_a")),
            ("poll_interval", None),
            ("data_directory", None),
            ("artifact_verify_keyes", Some("artifact_verify_keys")),
        ] {
            assert_eq!(nearest(written, KEYS), key, "{written}");
        }
    }

    #[test]
    fn distance_counts_changes() {
        for (one, other, count) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("abc", "ab", 1),
            ("ab", "ba", 2),
            ("", "xyz", 3),
        ] {
            assert_eq!(distance(one, other), count, "{one} {other}");
        }
    }
}
