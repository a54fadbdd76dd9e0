//! The log, on standard error: a line for each event, for people (`key=value` behind the words) or for programs (JSON).

use std::io::Write;

use env_logger::Builder;
use env_logger::fmt::Formatter;
use log::kv::{Key, Value, VisitSource};
use log::{LevelFilter, Record};

use crate::clock::now;
use crate::inert::{self, is_visible};

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `info: device accepted device=...`
    Text,
    /// `{"time":"...","level":"info","message":"device accepted","device":"..."}`
    Json,
}

/// Begins to log.
pub fn start(level: LevelFilter, format: LogFormat) {
    Builder::new()
        .filter_level(LevelFilter::Warn)
        // How much of this is logged may change while the program runs.
        .filter_module("tandem_server", LevelFilter::Trace)
        .format(move |out, record| match format {
            LogFormat::Text => text(out, record),
            LogFormat::Json => json(out, record),
        })
        .init();
    log::set_max_level(level);
}

fn text(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let level = record.level().as_str().to_ascii_lowercase();
    let mut fields = Fields::default();
    // Our visitor refuses nothing.
    let _ = record.key_values().visit(&mut fields);
    let message = record.args().to_string();
    write!(out, "{level}: {}", one_line(&message))?;
    for (key, value) in fields.0 {
        write!(out, " {key}={}", plain(&value))?;
    }
    writeln!(out)
}

fn json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let mut fields = Fields::default();
    let _ = record.key_values().visit(&mut fields);
    let mut line = serde_json::Map::new();
    line.insert("time".to_owned(), now().to_string().into());
    line.insert(
        "level".to_owned(),
        record.level().as_str().to_ascii_lowercase().into(),
    );
    line.insert("message".to_owned(), record.args().to_string().into());
    line.extend(fields.0);
    writeln!(
        out,
        "{}",
        inert::json(&serde_json::Value::Object(line).to_string())
    )
}

#[derive(Default)]
struct Fields(Vec<(String, serde_json::Value)>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let value = match (value.to_u64(), value.to_i64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => value.to_string().into(),
        };
        self.0.push((key.to_string(), value));
        Ok(())
    }
}

/// A value: quoted where it is not clear without where it ends.
fn plain(value: &serde_json::Value) -> String {
    let clear = |c: char| c.is_ascii_alphanumeric() || "-_.:/@+".contains(c);
    match value.as_str() {
        Some(text) if !text.is_empty() && text.chars().all(clear) => text.to_owned(),
        Some(_) | None => one_line(&value.to_string()),
    }
}

/// What comes from outside must not make up lines of its own.
fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = (!is_visible(c)).then(|| c.escape_default());
            let plain = is_visible(c).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
