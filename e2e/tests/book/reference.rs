//! The other pages of the reference: settings out of the manual page, routes out of the table, metrics out of a server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use tandem_api::DeploymentStatus;
use tandem_api::management::DeviceStatus;
use tandem_e2e::{installed, program};

use crate::repository;

fn source(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// The manual page tandem.toml(5), whose completeness the agent's own tests check.
pub(crate) fn settings() -> String {
    let manual = source("agent/man/tandem.toml.5");
    let (_, body) = manual.split_once(".SH DESCRIPTION\n").unwrap();
    let mut page = String::from("# Settings of the agent\n\n");
    let mut is_table = false;
    let mut expects_name = false;
    let mut row = String::new();
    for line in body.lines() {
        match line.split_once(' ').unwrap_or((line, "")) {
            (".SS", title) => {
                end_row(&mut page, &mut row);
                page.push_str(&format!(
                    "\n\n## {title}\n\n| setting | meaning |\n|---|---|\n"
                ));
                is_table = true;
            }
            (".SH", "EXAMPLE") => {
                end_row(&mut page, &mut row);
                break;
            }
            (".SH", title) => {
                end_row(&mut page, &mut row);
                let title = format!("{}{}", &title[..1], title[1..].to_lowercase());
                page.push_str(&format!(
                    "\n\n## {title}\n\n| variable | meaning |\n|---|---|\n"
                ));
                is_table = true;
            }
            (".TP", _) => {
                end_row(&mut page, &mut row);
                expects_name = true;
            }
            (".PP", _) => page.push_str("\n\n"),
            _ => {
                let text = inline(line);
                match (is_table, expects_name) {
                    (false, _) => page.push_str(&format!("{text} ")),
                    (true, true) => row = format!("| {text} |"),
                    (true, false) => row.push_str(&format!(" {text}")),
                }
                expects_name = false;
            }
        }
    }
    let lines = page.lines().map(str::trim_end);
    let mut page = lines.collect::<Vec<_>>().join("\n");
    while page.contains("\n\n\n") {
        page = page.replace("\n\n\n", "\n\n");
    }
    format!("{}\n", page.trim_end())
}

fn end_row(page: &mut String, row: &mut String) {
    if !row.is_empty() {
        page.push_str(&format!("{row} |\n"));
        row.clear();
    }
}

/// A line of a manual page: `.BR a b` is `a` in bold and b in roman.
fn inline(line: &str) -> String {
    let fonts = match line.split_once(' ') {
        Some((macro_name @ (".B" | ".I" | ".BR" | ".IR" | ".RB" | ".RI"), rest)) => {
            Some((macro_name, rest))
        }
        _ => None,
    };
    let Some((name, rest)) = fonts else {
        return plain(line);
    };
    let fonts: Vec<char> = name.chars().skip(1).collect();
    let mut text = String::new();
    for (number, word) in words(rest).iter().enumerate() {
        match fonts[number % fonts.len()] {
            'R' => text.push_str(&plain(word)),
            _ => text.push_str(&format!("`{}`", plain(word))),
        }
    }
    text
}

/// The arguments of a macro: words, or what stands between quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (number, part) in text.split('"').enumerate() {
        match number % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn plain(text: &str) -> String {
    text.replace("\\-", "-")
        .replace("\\(aq", "'")
        .replace('|', "\\|")
}

/// The table in `routes.rs`, with its headings.
pub(crate) fn routes() -> String {
    let source = source("mini-server/src/routes.rs");
    let (_, table) = source.split_once("Surface::default()\n").unwrap();
    let mut page = String::from(
        "# HTTP interface\n\n\
         Every path of the server. The APIs are Mender's, so what is written for them works here; where a list is given \
         in pages, `page` and `per_page` choose, and the header `Link` leads on. Requests and answers are JSON, but for \
         artifacts (`multipart/form-data`, fields `description` and `artifact`, the file last).\n\n\
         | who | shows |\n|---|---|\n\
         | anybody | nothing, or the request itself has a signature, a password or a key in it |\n\
         | device | `Authorization: Bearer TOKEN`, out of the answer to its `auth_requests` |\n\
         | person | `Authorization: Bearer TOKEN`, a personal access token or the answer to `login`; behind it the role that is needed |\n\
         | browser | the cookie of a person who has signed in on a page |\n\
         | monitor | nothing on the machine itself, else a person's token |\n\n\
         What a device is told to do (`NextDeployment`) is what Mender's server tells it, and where there is a maintenance \
         window one field more, which others ignore: `maintenance_openings`, up to 16 times `{\"from\": ..., \"until\": ...}` \
         (RFC 3339, in order, the first is open now) in which it may begin to install.\n",
    );
    let mut rows = 0;
    for line in table.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix("// ") {
            page.push_str(&format!(
                "\n## {title}\n\n| method | path | who |\n|---|---|---|\n"
            ));
        } else if let Some((call, rest)) = line.split_once('(')
            && [".on", ".on_untimed"].contains(&call)
        {
            let mut parts = rest.splitn(3, ',').map(str::trim);
            let mut next = || parts.next().unwrap();
            let (method, path) = (next(), next().trim_matches('"'));
            let access = next();
            let (access, _) = access.rsplit_once(',').unwrap();
            page.push_str(&format!(
                "| {method} | `{path}` | {} |\n",
                who(access.trim())
            ));
            rows += 1;
        }
    }
    assert_eq!(
        rows,
        table.matches(".on(").count() + table.matches(".on_untimed(").count()
    );
    page
}

/// Who may, in words.
fn who(access: &str) -> String {
    let (kind, role) = access.split_once('(').unwrap_or((access, ""));
    let role = role.trim_end_matches(')').to_lowercase();
    let kind = match kind {
        "Anyone" | "Visitor" => "anybody",
        "Device" => "device",
        "Person" => "person",
        "Browser" => "browser",
        "Monitor" => "monitor",
        other => panic!("a new kind of access: {other}"),
    };
    match role.is_empty() {
        true => kind.to_owned(),
        false => format!("{kind}, {role}"),
    }
}

/// What a server that has just been set up says at `/metrics`; `None` if it cannot be asked.
pub(crate) fn metrics() -> Option<String> {
    if !installed("curl").unwrap() {
        eprintln!("SKIPPED: curl is not installed");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut server = Command::new(program("tandem-server").unwrap())
        .args([
            "--log-level",
            "warn",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(dir.path().join("data"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let url = lines
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
    let answer = Command::new("curl")
        .args(["--silent", "--fail", "--max-time", "30", "--cacert"])
        .arg(dir.path().join("data/tls/ca.crt"))
        .arg(format!("{}/metrics", url.unwrap()))
        .output();
    server.kill().unwrap();
    server.wait().unwrap();
    let answer = answer.unwrap();
    assert!(answer.status.success(), "{answer:?}");
    let answer = String::from_utf8(answer.stdout).unwrap();
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` answers in the form that Prometheus reads: on the machine itself without a token, from elsewhere \
         with a person's.\n\n| metric | kind | meaning |\n|---|---|---|\n",
    );
    let mut metrics: Vec<(&str, &str)> = Vec::new();
    for line in answer.lines() {
        if let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|line| line.split_once(' '))
        {
            metrics.push((name, help));
        }
    }
    metrics.sort_unstable();
    for (name, help) in metrics {
        let kind = format!("# TYPE {name} ");
        let kind = answer
            .lines()
            .find_map(|line| line.strip_prefix(&kind))
            .unwrap();
        page.push_str(&format!("| `{name}` | {kind} | {help} |\n"));
    }
    page.push_str(
        "\nLabels: `route` (as in [HTTP interface](reference-api.md)) and `status` (`2xx` to `5xx`) of requests, `status` of \
         devices, `le` of the histogram, in seconds.\n",
    );
    Some(page)
}

/// The states of an update, as the chart in ARCHITECTURE.md has them, and every status.
pub(crate) fn states() -> Vec<String> {
    let architecture = source("ARCHITECTURE.md");
    let (_, chart) = architecture.split_once("### Steps").unwrap();
    let (chart, _) = chart.split_once("### The daemon").unwrap();
    let rows = chart.lines().filter(|line| {
        line.starts_with("| ") && line.contains('→') || line.starts_with("| Cleanup")
    });
    let names = rows.map(|line| line[2..].split(" |").next().unwrap().to_owned());
    let mut all: Vec<String> = names.collect();
    assert_eq!(all.len(), 10, "{all:?}");
    all.extend(DeploymentStatus::ALL.iter().map(ToString::to_string));
    all.extend(DeviceStatus::ALL.iter().map(ToString::to_string));
    all
}
