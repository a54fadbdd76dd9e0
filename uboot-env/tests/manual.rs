//! The manual pages name what `--help` names.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

/// Options and exit codes: what changes in a program and is forgotten in its page.
fn named(text: &str) -> BTreeSet<&str> {
    text.split([' ', ',', '\n', ';', '"', '[', ']', '(', ')', '|'])
        .map(|word| word.trim_end_matches(['.', ':']))
        .filter(|word| {
            let option = word.trim_start_matches('-');
            let is_option = option.len() < word.len() && option.starts_with(char::is_alphabetic);
            is_option || word.parse::<u8>().is_ok_and(|code| code > 200)
        })
        .collect()
}

#[track_caller]
fn check(program: &str, page: &str) {
    let help = Command::new(program).arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let path = format!("{}/man/{page}", env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(path).unwrap().replace('\\', "");
    assert_eq!(named(&page), named(&help));
}

#[test]
fn the_page_of_fw_printenv_names_its_options_and_exit_codes() {
    check(env!("CARGO_BIN_EXE_fw_printenv"), "fw_printenv.8");
}

#[test]
fn the_page_of_fw_setenv_names_its_options_and_exit_codes() {
    check(env!("CARGO_BIN_EXE_fw_setenv"), "fw_setenv.8");
}
