//! The log of a deployment: read while it comes in, kept within bounds. Pure.
//!
//! DIFFERS: Mender's server refuses a log of more than 1 MiB, and one with an empty message, as a whole; it is just the
//! long ones that are wanted. Here the first and the last messages are kept, and what cannot be read is passed over.

use std::collections::VecDeque;

use serde::Deserialize;
use tandem_api::Timestamp;

/// A log that is coming in: the JSON of a log upload.
#[derive(Default)]
pub struct LogReader {
    place: Place,
    /// The member name that was read last.
    name: Vec<u8>,
    /// The message that is being read.
    message: Vec<u8>,
    /// Whether there was a list of messages at all.
    listed: bool,
    text: LogText,
}

/// Where in the JSON the reader is.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the object.
    #[default]
    Start,
    /// In the object, outside of everything.
    Object,
    /// In a name or a text of the object; behind a backslash.
    Text { escaped: bool },
    /// In a member that nobody wants, so deep.
    Other {
        depth: u32,
        quoted: bool,
        escaped: bool,
    },
    /// In the list of messages.
    List,
    /// In a message, so deep.
    Message {
        depth: u32,
        quoted: bool,
        escaped: bool,
    },
    /// Behind the object.
    End,
    /// Not such JSON at all.
    Fault,
}

/// Bytes at the beginning and at the end of a log that are kept.
const FIRST: usize = 256 << 10;
const LAST: usize = 768 << 10;

/// Bytes of one message, as JSON.
const MESSAGE: usize = 64 << 10;

/// A log as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentLog {
    /// A line for each message.
    pub text: String,
    /// Its first error, by which failures on several devices can be told apart.
    pub reason: Option<String>,
}

/// Bytes of a reason.
const REASON: usize = 300;

/// The log is not the JSON that it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl LogReader {
    /// More of it has come.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.step(*byte);
        }
    }

    /// The whole log has come.
    ///
    /// # Errors
    /// If it was no log.
    pub fn finish(self) -> Result<DeploymentLog, Malformed> {
        if self.place == Place::End && self.listed {
            Ok(self.text.finish())
        } else {
            Err(Malformed)
        }
    }

    fn step(&mut self, byte: u8) {
        self.place = match self.place {
            Place::Start => match byte {
                b'{' => Place::Object,
                _ if byte.is_ascii_whitespace() => Place::Start,
                _ => Place::Fault,
            },
            Place::Object => match byte {
                b'"' => {
                    self.name.clear();
                    Place::Text { escaped: false }
                }
                b'[' if self.name == b"messages" => {
                    self.listed = true;
                    Place::List
                }
                b'[' | b'{' => Place::Other {
                    depth: 1,
                    quoted: false,
                    escaped: false,
                },
                b'}' => Place::End,
                _ => Place::Object,
            },
            Place::Text { escaped: false } if byte == b'"' => Place::Object,
            Place::Text { escaped } => {
                if self.name.len() < 16 {
                    self.name.push(byte);
                }
                Place::Text {
                    escaped: !escaped && byte == b'\\',
                }
            }
            Place::Other {
                depth,
                quoted,
                escaped,
            } => match deeper(depth, quoted, escaped, byte) {
                (0, ..) => Place::Object,
                (depth, quoted, escaped) => Place::Other {
                    depth,
                    quoted,
                    escaped,
                },
            },
            Place::List => match byte {
                b'{' => {
                    self.message.clear();
                    self.message.push(byte);
                    Place::Message {
                        depth: 1,
                        quoted: false,
                        escaped: false,
                    }
                }
                b']' => Place::Object,
                b',' => Place::List,
                _ if byte.is_ascii_whitespace() => Place::List,
                _ => Place::Fault,
            },
            Place::Message {
                depth,
                quoted,
                escaped,
            } => {
                if self.message.len() < MESSAGE {
                    self.message.push(byte);
                }
                match deeper(depth, quoted, escaped, byte) {
                    (0, ..) => {
                        self.text.add(&self.message);
                        Place::List
                    }
                    (depth, quoted, escaped) => Place::Message {
                        depth,
                        quoted,
                        escaped,
                    },
                }
            }
            Place::End if byte.is_ascii_whitespace() => Place::End,
            Place::End | Place::Fault => Place::Fault,
        };
    }
}

/// How deep in brackets one is after `byte`; brackets in texts do not count.
fn deeper(depth: u32, quoted: bool, escaped: bool, byte: u8) -> (u32, bool, bool) {
    match (quoted, byte) {
        (true, b'"') if !escaped => (depth, false, false),
        (true, _) => (depth, true, !escaped && byte == b'\\'),
        (false, b'"') => (depth, true, false),
        (false, b'{' | b'[') => (depth.saturating_add(1), false, false),
        (false, b'}' | b']') => (depth.saturating_sub(1), false, false),
        (false, _) => (depth, false, false),
    }
}

/// The first and the last lines.
#[derive(Default)]
struct LogText {
    first: String,
    last: VecDeque<String>,
    last_size: usize,
    left_out: u64,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    level: String,
    #[serde(default)]
    message: String,
}

impl LogText {
    fn add(&mut self, json: &[u8]) {
        let Ok(Message {
            timestamp,
            level,
            message,
        }) = serde_json::from_slice(json)
        else {
            self.left_out = self.left_out.saturating_add(1);
            return;
        };
        if self.reason.is_none()
            && ["error", "fatal", "panic", "critical"].contains(&level.as_str())
        {
            self.reason = Some(reason(&message)).filter(|reason| !reason.is_empty());
        }
        let timestamp = timestamp.parse().map_or(timestamp, go_time);
        let line = format!("{timestamp} {level}: {message}\n");
        if self.last.is_empty() && self.first.len().saturating_add(line.len()) <= FIRST {
            self.first.push_str(&line);
            return;
        }
        self.last_size = self.last_size.saturating_add(line.len());
        self.last.push_back(line);
        while self.last_size > LAST {
            let Some(line) = self.last.pop_front() else {
                break;
            };
            self.last_size = self.last_size.saturating_sub(line.len());
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    fn finish(self) -> DeploymentLog {
        let mut text = self.first;
        if self.left_out > 0 {
            text.push_str(&format!(
                "... {} messages are left out ...\n",
                self.left_out
            ));
        }
        text.extend(self.last);
        DeploymentLog {
            text,
            reason: self.reason,
        }
    }
}

/// The first line of an error, without long numbers and identifiers: those differ from device to device although the
/// cause is the same.
fn reason(message: &str) -> String {
    let line = message.lines().find(|line| !line.trim().is_empty());
    let mut reason = String::new();
    for word in line
        .unwrap_or_default()
        .trim()
        .split_inclusive(|c: char| !c.is_ascii_alphanumeric())
    {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let hexadecimal = word.bytes().filter(u8::is_ascii_hexdigit).count();
        if digits >= 5 || digits >= 1 && hexadecimal >= 8 {
            reason.push('…');
            reason.extend(word.chars().last().filter(|c| !c.is_ascii_alphanumeric()));
        } else {
            reason.push_str(word);
        }
        if reason.len() > REASON {
            break;
        }
    }
    reason.truncate(reason.floor_char_boundary(REASON));
    reason
}

/// A time as Mender's server writes it in logs.
fn go_time(time: Timestamp) -> String {
    let text = time.to_string();
    let text = text.trim_end_matches('Z').replace('T', " ");
    let text = if text.contains('.') {
        text.trim_end_matches('0')
    } else {
        &text
    };
    format!("{text} +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<String, Malformed> {
        let mut reader = LogReader::default();
        reader.push(json.as_bytes());
        let whole = reader.finish();
        let mut reader = LogReader::default();
        json.as_bytes().chunks(1).for_each(|byte| reader.push(byte));
        assert_eq!(reader.finish(), whole);
        whole.map(|log| log.text)
    }

    fn message(text: &str) -> String {
        format!(
            r#"{{"timestamp":"2026-11-23T08:03:37Z","level":"info","message":{}}}"#,
            serde_json::json!(text)
        )
    }

    #[test]
    fn each_message_is_a_line() {
        let text = read(
            r#" {"messages":[{"level":"info","message":"one {[\"\\","timestamp":"2026-11-23T09:03:37.120+01:00"} ,
               {"timestamp":"2026-11-23T08:03:38Z","level":"error","message":"two","more":{"a":["}"]}}]} "#,
        );
        assert_eq!(
            text.unwrap(),
            "2026-11-23 08:03:37.12 +0000 UTC info: one {[\"\\\n2026-11-23 08:03:38 +0000 UTC error: two\n"
        );
        assert_eq!(read(r#"{"messages":[]}"#).unwrap(), "");
        assert_eq!(
            read(r#"{"a":[{"messages":[]}],"b":"messages","messages":[]}"#).unwrap(),
            ""
        );
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let text = read(&format!(
            r#"{{"messages":[{},{{"message":7}},{{}}]}}"#,
            message("one")
        ))
        .unwrap();
        let lines =
            "2026-11-23 08:03:37 +0000 UTC info: one\n : \n... 1 messages are left out ...\n";
        assert_eq!(text, lines);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        for wrong in [
            "",
            "[]",
            "{",
            r#"{"messages":["#,
            r#"{"messages":[]"#,
            r#"{"messages":[]}}"#,
            r#"{"messages":[1]}"#,
            "null",
        ] {
            assert_eq!(read(wrong), Err(Malformed), "{wrong}");
        }
    }

    #[test]
    fn of_a_long_log_the_beginning_and_the_end_are_kept() {
        let mut reader = LogReader::default();
        reader.push(br#"{"messages":["#);
        for n in 0..40_000 {
            reader.push(message(&format!("{n} {}", "x".repeat(100))).as_bytes());
            reader.push(b",");
        }
        reader.push(message("the end").as_bytes());
        reader.push(b"]}");
        let text = reader.finish().unwrap().text;
        assert!(text.len() <= FIRST + LAST + 100);
        assert!(text.len() > FIRST + LAST - 1000);
        assert!(text.starts_with("2026-11-23 08:03:37 +0000 UTC info: 0 x"));
        assert!(text.ends_with("info: the end\n"));
        assert!(text.contains(" messages are left out ..."));
    }

    #[test]
    fn the_first_error_is_the_reason() {
        let check = |messages: &str, expected: Option<&str>| {
            let mut reader = LogReader::default();
            reader.push(format!(r#"{{"messages":[{messages}]}}"#).as_bytes());
            assert_eq!(reader.finish().unwrap().reason.as_deref(), expected);
        };
        let error = |text: &str| message(text).replace("info", "error");
        check("", None);
        check(&message("all is well"), None);
        check(
            &format!(
                "{},{},{}",
                message("1"),
                error(" no space\nleft"),
                error("3")
            ),
            Some("no space"),
        );
        check(
            &error("cannot write /dev/mmcblk0p3 at 4096000: status 404, sum 0a1b2c3d4e"),
            Some("cannot write /dev/mmcblk0p3 at …: status 404, sum …"),
        );
        check(
            &error(&"é".repeat(1000)),
            Some("é".repeat(REASON / 2).as_str()),
        );
    }

    #[test]
    fn an_endless_message_takes_no_memory() {
        let mut reader = LogReader::default();
        reader.push(br#"{"messages":[{"message":""#);
        for _ in 0..10_000 {
            reader.push(&[b'x'; 1000]);
        }
        reader.push(br#""}]}"#);
        assert!(reader.message.capacity() <= 2 * MESSAGE);
        assert_eq!(
            reader.finish().unwrap().text,
            "... 1 messages are left out ...\n"
        );
    }
}
