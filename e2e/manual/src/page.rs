//! A whole page: what a command line is for, its options, and all its verbs one after the other.

use clap::{Arg, Command};

use crate::roff::{Roff, bold, italic};

/// The page of `command`, with `more` (roff) at its end.
pub(crate) fn page(mut command: Command, more: &str) -> String {
    command.build();
    let name = command.get_name().to_owned();
    let version = format!("{name} {}", command.get_version().unwrap_or_default());
    let mut roff = Roff::default();
    roff.raw(".\\\" Made of what --help says; UPDATE_MANUAL=1 cargo test the_manual_page makes it anew.\n");
    roff.call("TH", &[&name.to_uppercase(), "1", "", &version, "Tandem"]);

    // Names are neither broken nor stretched.
    roff.raw(".nh\n.ad l\n");

    let about = text(command.get_about());
    roff.call("SH", &["NAME"]);
    roff.raw(&format!("{} \\- ", name.replace('-', "\\-")));
    roff.line(&crate::roff::escaped(&about));

    roff.call("SH", &["SYNOPSIS"]);
    roff.line(&synopsis(&command, &name));

    roff.call("SH", &["DESCRIPTION"]);
    roff.prose(&long_about(&command));

    let mut verbs = Vec::new();
    collect(&command, &name, &mut verbs);
    if !verbs.is_empty() {
        roff.call("SH", &["COMMANDS"]);
        for (path, verb) in &verbs {
            describe(&mut roff, path, verb);
        }
    }

    let shown: Vec<&Arg> = command.get_arguments().filter(|arg| belongs(arg)).collect();
    sections(&mut roff, "OPTIONS", &shown);
    sections(&mut roff, "OPTIONS", &shared(&command, &verbs));
    epilogue(&mut roff, "SH", &after_help(&command));
    roff.raw(more);
    roff.finish()
}

/// Every verb that does something or has options of its own, with how it is called.
fn collect<'a>(command: &'a Command, path: &str, verbs: &mut Vec<(String, &'a Command)>) {
    for verb in command.get_subcommands() {
        if verb.is_hide_set() || verb.get_name() == "help" {
            continue;
        }
        let path = format!("{path} {}", verb.get_name());
        if verb.has_subcommands() {
            collect(verb, &path, verbs);
        } else {
            verbs.push((path, verb));
        }
    }
}

/// Options that all verbs of a group have: told once for all groups.
fn shared<'a>(command: &'a Command, verbs: &[(String, &'a Command)]) -> Vec<&'a Arg> {
    let mut found: Vec<&Arg> = Vec::new();
    for arg in verbs.iter().flat_map(|(_, verb)| verb.get_arguments()) {
        let known = |one: &&Arg| one.get_id() == arg.get_id();
        let at_root = command.get_arguments().any(|one| known(&one));
        if arg.is_global_set() && !arg.is_hide_set() && !at_root && !found.iter().any(known) {
            found.push(arg);
        }
    }
    found
}

fn describe(roff: &mut Roff, path: &str, verb: &Command) {
    let (_, called) = path.split_once(' ').unwrap_or(("", path));
    let operands: Vec<String> = verb.get_positionals().map(operand).collect();
    let mut heading = called.to_owned();
    for operand in &operands {
        heading.push(' ');
        heading.push_str(operand);
    }
    roff.call("SS", &[&heading]);
    roff.prose(&long_about(verb));
    for arg in verb.get_arguments() {
        if belongs(arg)
            && !arg.is_global_set()
            && !matches!(arg.get_id().as_str(), "help" | "version")
        {
            describe_arg(roff, arg);
        }
    }
    epilogue(roff, "PP", &after_help(verb));
}

/// Options under their headings, in the order of their first ones.
fn sections(roff: &mut Roff, default: &str, args: &[&Arg]) {
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in args {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        let title = heading.map_or_else(|| default.to_owned(), str::to_uppercase);
        roff.call("SH", &[&title]);
        for arg in args.iter().filter(|arg| arg.get_help_heading() == heading) {
            describe_arg(roff, arg);
        }
    }
}

fn belongs(arg: &Arg) -> bool {
    !arg.is_hide_set()
}

fn describe_arg(roff: &mut Roff, arg: &Arg) {
    let mut names: Vec<String> = Vec::new();
    names.extend(arg.get_short().map(|short| bold(&format!("-{short}"))));
    names.extend(arg.get_long().map(|long| bold(&format!("--{long}"))));
    let mut title = names.join(", ");
    if arg.is_positional() {
        title = italic(&value(arg));
    } else if arg.get_action().takes_values() {
        title.push(' ');
        title.push_str(&italic(&value(arg)));
    }
    roff.call("TP", &[]);
    roff.line(&title);
    let help = match arg.get_long_help() {
        Some(help) => help.to_string(),
        None => text(arg.get_help()),
    };
    roff.prose(&help);
    if arg.get_action().takes_values() && !arg.is_hide_default_value_set() {
        let defaults: Vec<_> = arg
            .get_default_values()
            .iter()
            .map(|one| one.to_string_lossy())
            .collect();
        if !defaults.concat().is_empty() {
            roff.prose(&format!("[default: {}]", defaults.join(" ")));
        }
    }
    let possible = arg.get_possible_values();
    if arg.get_action().takes_values() && !possible.is_empty() {
        let names: Vec<&str> = possible
            .iter()
            .map(clap::builder::PossibleValue::get_name)
            .collect();
        roff.prose(&format!("[one of: {}]", names.join(", ")));
    }
}

/// Examples, exit codes and the like: headings that end with a colon, with indented lines below.
fn epilogue(roff: &mut Roff, heading: &str, text: &str) {
    for part in text.split("\n\n").filter(|part| !part.trim().is_empty()) {
        // What is indented belongs to the heading before.
        if part.starts_with(' ') {
            roff.call("PP", &[]);
            roff.literal(part.lines().map(unindented));
            continue;
        }
        let (title, rest) = part.split_once('\n').unwrap_or((part, ""));
        match title.strip_suffix(':') {
            Some(title) if heading == "SH" => roff.call("SH", &[&title.to_uppercase()]),
            Some(_) => {
                roff.call("PP", &[]);
                roff.prose(title);
            }
            // No heading: all of it is text.
            None => {
                roff.call("PP", &[]);
                roff.prose(part);
                continue;
            }
        }
        roff.literal(rest.lines().map(unindented));
    }
}

fn unindented(line: &str) -> &str {
    line.strip_prefix("  ").unwrap_or(line)
}

fn synopsis(command: &Command, name: &str) -> String {
    let mut line = bold(name);
    let mut add = |word: String| {
        line.push(' ');
        line.push_str(&word);
    };
    // What must be given is said; the rest is in OPTIONS.
    for arg in command
        .get_arguments()
        .filter(|arg| arg.is_required_set() && !arg.is_positional())
    {
        let long = arg.get_long().unwrap_or_default();
        add(format!(
            "{} {}",
            bold(&format!("--{long}")),
            italic(&value(arg))
        ));
    }
    add(format!("[{}]", italic("OPTIONS")));
    if command.has_subcommands() {
        add(italic("COMMAND"));
    }
    for arg in command.get_positionals() {
        add(italic(&operand(arg)));
    }
    line
}

/// An operand as usage has it.
fn operand(arg: &Arg) -> String {
    let several = arg
        .get_num_args()
        .is_some_and(|range| range.max_values() > 1)
        || matches!(arg.get_action(), clap::ArgAction::Append);
    let name = value(arg);
    let dots = if several { "..." } else { "" };
    if arg.is_required_set() {
        format!("{name}{dots}")
    } else {
        format!("[{name}]{dots}")
    }
}

fn value(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some(names) if !names.is_empty() => names
            .iter()
            .map(|name| name.to_string())
            .collect::<Vec<_>>()
            .join(" "),
        _ => arg.get_id().as_str().to_uppercase(),
    }
}

fn text(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

fn long_about(command: &Command) -> String {
    text(command.get_long_about().or(command.get_about()))
}

fn after_help(command: &Command) -> String {
    text(command.get_after_long_help().or(command.get_after_help()))
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    fn tool() -> Command {
        let json = Arg::new("json")
            .long("json")
            .global(true)
            .help_heading("Where");
        let json = json.action(ArgAction::SetTrue).help("Print JSON");
        let list = Command::new("list")
            .about("List them")
            .arg(Arg::new("name"));
        let remove = Command::new("remove")
            .about("Remove one")
            .arg(Arg::new("name").required(true));
        let hidden = Arg::new("old").long("old").hide(true);
        let group = Command::new("device")
            .subcommand(list)
            .subcommand(remove)
            .arg(json);
        Command::new("a-tool")
            .version("1.2")
            .about("Does it")
            .arg(hidden)
            .subcommand(group)
            .after_help("Exit codes:\n  0  done\n\nExamples:\n  a-tool device list")
    }

    #[track_caller]
    fn check(page: &str, expected: &str) {
        assert!(page.contains(expected), "{expected:?} is not in {page}");
    }

    #[test]
    fn verbs_below_a_group_are_told_with_their_operands() {
        let page = page(tool(), "");
        check(&page, ".SS \"device list [NAME]\"\nList them\n");
        check(&page, ".SS \"device remove NAME\"\nRemove one\n");
    }

    #[test]
    fn what_all_verbs_of_a_group_take_is_told_once_and_what_is_hidden_never() {
        let page = page(tool(), "");
        assert_eq!(page.matches("\\-\\-json").count(), 1, "{page}");
        check(
            &page,
            ".SH \"WHERE\"\n.TP\n\\fB\\-\\-json\\fR\nPrint JSON\n",
        );
        assert!(!page.contains("old"), "{page}");
    }

    #[test]
    fn what_help_ends_with_becomes_sections_and_more_comes_last() {
        let page = page(tool(), ".SH FILES\n");
        check(&page, ".SH \"EXIT CODES\"\n.nf\n0  done\n.fi\n");
        assert!(
            page.ends_with("a\\-tool device list\n.fi\n.SH FILES\n"),
            "{page}"
        );
    }

    #[test]
    fn text_is_never_taken_for_roff() {
        let mut roff = Roff::default();
        roff.prose(".so /etc/passwd\n'em \\fB");
        assert_eq!(roff.finish(), "\\&.so /etc/passwd\n\\&'em \\efB\n");
    }
}
