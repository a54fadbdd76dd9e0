//! The page of commands: what each program says with `--help`.

use std::collections::HashSet;
use std::process::Command;

use tandem_e2e::program;

/// The programs, and what each is.
const PROGRAMS: [&str; 7] = [
    "tandem",
    "tandem-server",
    "tandem-artifact",
    "tandem-image",
    "fw_printenv",
    "fw_setenv",
    "virtual-device",
];

pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Commands and exit codes\n\n\
         What the programs say themselves with `--help`. Options that a command shares with the one above it stand \
         there only.\n\n## Exit codes\n",
    );
    for name in PROGRAMS {
        let codes = exit_codes(&help(&[name]));
        if !codes.is_empty() {
            page.push_str(&format!("\n`{name}`:\n\n```text\n{codes}\n```\n"));
        }
    }
    for name in PROGRAMS {
        describe(&[name], &HashSet::new(), &mut page);
    }
    page
}

/// A command and those below it; entries that are `known` from above are left out.
fn describe(command: &[&str], known: &HashSet<String>, page: &mut String) {
    let help = help(command);
    let mark = if command.len() == 1 { "##" } else { "###" };
    let shown = without(&help, known);
    page.push_str(&format!(
        "\n{mark} {}\n\n```text\n{shown}\n```\n",
        command.join(" ")
    ));
    let mut known = known.clone();
    known.extend(
        entries(&help)
            .into_iter()
            .filter(|entry| entry.trim_start().starts_with('-')),
    );
    for verb in verbs(&help) {
        describe(&[command, &[&*verb]].concat(), &known, page);
    }
}

fn help(command: &[&str]) -> String {
    let output = Command::new(program(command[0]).unwrap())
        .args(&command[1..])
        .arg("--help")
        .env_remove("SOURCE_DATE_EPOCH")
        .env_remove("COLUMNS")
        .output()
        .unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.trim().lines().map(str::trim_end);
    lines.collect::<Vec<_>>().join("\n")
}

/// The commands below this one.
fn verbs(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    let first = lines.filter(|line| !line.starts_with("   "));
    let words = first.filter_map(|line| line.split_whitespace().next());
    words
        .filter(|word| *word != "help")
        .map(str::to_owned)
        .collect()
}

/// The paragraphs about exit codes.
fn exit_codes(help: &str) -> String {
    let paragraphs = help
        .split("\n\n")
        .filter(|one| one.starts_with("Exit code"));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

/// Whether a line begins the entry of an option or of something else that is listed.
fn begins_entry(line: &str) -> bool {
    let words = line.trim_start();
    line.starts_with("  ") && line.len() - words.len() <= 6 && words.starts_with('-')
}

/// Options with their explanations.
fn entries(help: &str) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in help.lines() {
        if begins_entry(line) {
            entries.push(String::new());
            is_inside = true;
        } else if !line.is_empty() && !line.starts_with("       ") {
            is_inside = false;
        }
        if is_inside {
            let entry = entries.last_mut().unwrap();
            entry.push_str(line);
            entry.push('\n');
        }
    }
    entries
        .iter()
        .map(|entry| entry.trim_end().to_owned())
        .collect()
}

/// The help without entries that are known, and without headings that nothing is left under.
fn without(help: &str, known: &HashSet<String>) -> String {
    let mut text = format!("{help}\n");
    for entry in entries(help) {
        if known.contains(&entry) {
            text = text.replacen(&format!("{entry}\n"), "", 1);
        }
    }
    let mut kept: Vec<&str> = Vec::new();
    for line in text.lines() {
        let follows_heading = kept.iter().rev().find(|line| !line.is_empty());
        if !line.is_empty()
            && !line.starts_with(' ')
            && follows_heading.is_some_and(|line| is_list(line))
        {
            drop_heading(&mut kept);
        }
        if line.is_empty() && kept.last().is_none_or(|line| line.is_empty()) {
            continue;
        }
        kept.push(line);
    }
    while kept
        .last()
        .is_some_and(|line| line.is_empty() || is_list(line))
    {
        kept.pop();
    }
    kept.join("\n")
}

fn is_list(line: &str) -> bool {
    matches!(line, "Options:" | "Where:")
}

fn drop_heading(kept: &mut Vec<&str>) {
    while kept.last().is_some_and(|line| line.is_empty()) {
        kept.pop();
    }
    kept.pop();
}
