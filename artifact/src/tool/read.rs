//! `read`: what is in an artifact, printed only when all of it is right.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Context as _;
use serde_json::{Value, json};
use tandem_artifact::{
    ARTIFACT_GROUP, ARTIFACT_NAME, Artifact, Depends, Header, SignatureStatus, Summary,
};

use crate::cli::{Command, Read};
use crate::input;
use crate::progress::Progress;
use crate::validate::warn_unchecked;

pub(crate) fn run(read: &Read, command: &Command) -> anyhow::Result<()> {
    let path = &read.file;
    let verification = input::verification(&read.key)?;
    let source = input::open(path)?;
    let progress = Progress::new("reading", source.size, command.quiet);
    let artifact = Artifact::open(progress.watch(source.reader), &verification)
        .with_context(|| path.display().to_string())?;
    let header = artifact.header().clone();
    let signature = artifact.signature().clone();
    let summary = artifact
        .finish()
        .with_context(|| path.display().to_string())?;
    drop(progress);
    if signature == SignatureStatus::NotChecked {
        warn_unchecked()?;
    }
    let text = if read.json {
        format!("{:#}\n", as_json(&header, &signature, &summary)?)
    } else {
        as_text(&header, &signature, &summary)?
    };
    io::stdout().write_all(printable(&text).as_bytes())?;
    Ok(())
}

/// In the form of mender-artifact.
fn as_text(
    header: &Header,
    signature: &SignatureStatus,
    summary: &Summary,
) -> anyhow::Result<String> {
    let depends = |key: &str| {
        header
            .depends()
            .as_map()
            .get(key)
            .map(Vec::as_slice)
            .unwrap_or_default()
            .join(", ")
    };
    let signature = match signature {
        SignatureStatus::Unsigned => "no signature".to_owned(),
        SignatureStatus::NotChecked => "signed but not checked: no --key was given".to_owned(),
        SignatureStatus::Verified { key } => format!("signed and verified correctly, by {key}"),
    };
    let mut text = String::new();
    writeln!(text, "Mender Artifact:")?;
    writeln!(text, "  Name: {}", header.name())?;
    writeln!(text, "  Format: mender")?;
    writeln!(text, "  Version: 3")?;
    writeln!(text, "  Signature: {signature}")?;
    writeln!(
        text,
        "  Compatible types: [{}]",
        header.device_types().join(", ")
    )?;
    writeln!(
        text,
        "  Provides group: {}",
        header.group().unwrap_or_default()
    )?;
    writeln!(
        text,
        "  Depends on one of artifact(s): [{}]",
        depends(ARTIFACT_NAME)
    )?;
    writeln!(
        text,
        "  Depends on one of group(s): [{}]",
        depends(ARTIFACT_GROUP)
    )?;
    let scripts = header
        .scripts()
        .iter()
        .map(|script| format!("\n    - {}", script.name));
    writeln!(text, "  State scripts:{}", or(scripts.collect(), " []"))?;
    writeln!(text)?;
    writeln!(text, "Updates:")?;
    writeln!(
        text,
        "  - Type: {}",
        header
            .payload_type()
            .map_or("Empty type", |payload_type| payload_type.as_str())
    )?;
    let provides = header
        .provides()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("\n      {key}: {value}"));
    writeln!(text, "    Provides:{}", or(provides.collect(), " {}"))?;
    let depends = other_depends(header.depends()).map(|(key, values)| match values {
        [value] => format!("\n      {key}: {value}"),
        values => format!("\n      {key}: [{}]", values.join(", ")),
    });
    writeln!(text, "    Depends:{}", or(depends.collect(), " {}"))?;
    writeln!(
        text,
        "    Clears Provides: [{}]",
        header.clears_provides().unwrap_or_default().join(", ")
    )?;
    match meta_data(header)? {
        Some(value) => writeln!(
            text,
            "    Metadata:\n      {}",
            format!("{value:#}").replace('\n', "\n      ")
        )?,
        None => writeln!(text, "    Metadata: {{}}")?,
    }
    let files = summary.files.iter().map(|file| {
        format!(
            "\n      - checksum: {}\n        name: {}\n        size: {}",
            file.sha256, file.name, file.size
        )
    });
    writeln!(text, "    Files:{}", or(files.collect(), " []"))?;
    Ok(text)
}

fn as_json(
    header: &Header,
    signature: &SignatureStatus,
    summary: &Summary,
) -> anyhow::Result<Value> {
    let (signature, key) = match signature {
        SignatureStatus::Unsigned => ("none", None),
        SignatureStatus::NotChecked => ("not checked", None),
        SignatureStatus::Verified { key } => ("verified", Some(key)),
    };
    let scripts = header
        .scripts()
        .iter()
        .map(|script| json!({"name": script.name.as_str(), "size": script.content.len()}));
    let files = summary.files.iter().map(|file| {
        json!({"name": file.name.as_str(), "size": file.size, "sha256": file.sha256.to_string()})
    });
    Ok(json!({
        "format": "mender",
        "version": 3,
        "name": header.name(),
        "group": header.group(),
        "device_types": header.device_types(),
        "signature": {"status": signature, "key": key},
        "depends": header.depends().as_map(),
        "provides": header.provides(),
        "clears_provides": header.clears_provides(),
        "scripts": scripts.collect::<Vec<_>>(),
        "payload": {
            "type": header.payload_type().map(|payload_type| payload_type.as_str()),
            "meta_data": meta_data(header)?,
            "files": files.collect::<Vec<_>>(),
        },
        "size": summary.size,
    }))
}

/// The meta-data, decoded for display.
fn meta_data(header: &Header) -> anyhow::Result<Option<Value>> {
    Ok(header.meta_data().map(serde_json::from_slice).transpose()?)
}

/// Dependencies that mender-artifact does not print in the first part.
pub(crate) fn other_depends(depends: &Depends) -> impl Iterator<Item = (&str, &[String])> {
    depends
        .as_map()
        .iter()
        .filter(|(key, _)| {
            ![Depends::DEVICE_TYPE, ARTIFACT_NAME, ARTIFACT_GROUP].contains(&key.as_str())
        })
        .map(|(key, values)| (key.as_str(), values.as_slice()))
}

fn or(text: String, otherwise: &str) -> String {
    if text.is_empty() {
        otherwise.to_owned()
    } else {
        text
    }
}

/// Without control characters, which JSON may carry into a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                c.escape_unicode().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}
