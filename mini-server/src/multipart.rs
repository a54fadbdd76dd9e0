//! Forms with files (multipart/form-data, RFC 7578 and RFC 2046 §5.1), as they come in, piece by piece. Pure: it is fed
//! and asked, and keeps no more than the piece it was fed and a bounded beginning of what is not yet understood.
//!
//! The crates for this buffer as much as the sender sends, or whole parts; artifacts have gigabytes.

use std::fmt;

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

/// A form that is coming in.
pub struct Multipart {
    /// CR LF, two dashes and the boundary: what stands between parts.
    delimiter: Finder<'static>,
    buffer: BytesMut,
    state: State,
    parts: u32,
    discarded: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Preamble,
    /// Behind a delimiter.
    Delimiter,
    /// In the head of a part.
    Head,
    /// In the content of a part.
    Content,
    /// Behind the last delimiter: whatever comes is ignored.
    End,
}

/// What comes next in a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins; its name, if it has one.
    Part(Option<String>),
    /// Some of its content.
    Data(Bytes),
    /// The part is complete.
    EndOfPart,
    /// The form is complete.
    End,
}

/// What is wrong with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The content type has no usable boundary.
    Boundary,
    /// There is more before the first part than anybody sends.
    Preamble,
    /// There is something behind a boundary that does not belong there.
    Delimiter,
    /// The head of a part is too long or no head.
    Head,
    /// There are too many parts.
    Parts,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boundary => {
                "the content type must be multipart/form-data with a boundary of 1 to 70 characters"
            }
            Self::Preamble => "the boundary does not come",
            Self::Delimiter => "there is something behind a boundary",
            Self::Head => "the head of a part cannot be read",
            Self::Parts => "there are too many parts",
        })
    }
}

/// Bytes before the first part.
const PREAMBLE: usize = 16 << 10;

/// Bytes of the head of a part.
const HEAD: usize = 8 << 10;

/// Spaces behind a boundary.
const PADDING: usize = 256;

/// Parts of a form; ours have four.
const PARTS: u32 = 64;

impl Multipart {
    /// A form with this content type.
    ///
    /// # Errors
    /// [`Fault::Boundary`]
    pub fn new(content_type: &str) -> Result<Self, Fault> {
        let boundary = boundary(content_type).ok_or(Fault::Boundary)?;
        let delimiter = format!("\r\n--{boundary}");
        Ok(Self {
            delimiter: Finder::new(delimiter.as_bytes()).into_owned(),
            // The first delimiter may stand at the very beginning, without its line end.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: State::Preamble,
            parts: 0,
            discarded: 0,
        })
    }

    /// More of the form has come. To be called when [`next`](Self::next) has nothing.
    pub fn push(&mut self, piece: &[u8]) {
        if self.state != State::End {
            self.buffer.extend_from_slice(piece);
        }
    }

    /// What comes next, or `None` if more of the form has to come first.
    ///
    /// # Errors
    /// With what is wrong with the form; it is then of no further use.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end where this has to wait"
    )]
    pub fn next(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            match self.state {
                State::Preamble => {
                    if !self.skip_preamble()? {
                        return Ok(None);
                    }
                }
                State::Delimiter => match self.read_delimiter()? {
                    None => return Ok(None),
                    Some(State::End) => {
                        self.state = State::End;
                        self.buffer.clear();
                        return Ok(Some(Event::End));
                    }
                    Some(state) => self.state = state,
                },
                State::Head => return self.read_head(),
                State::Content => return Ok(self.read_content()),
                State::End => return Ok(None),
            }
        }
    }

    fn skip_preamble(&mut self) -> Result<bool, Fault> {
        let length = self.delimiter.needle().len();
        let (skipped, found) = match self.delimiter.find(&self.buffer) {
            Some(at) => (at.saturating_add(length), true),
            None => (self.buffer.len().saturating_sub(length), false),
        };
        drop(self.buffer.split_to(skipped));
        self.discarded = self.discarded.saturating_add(skipped);
        if self.discarded > PREAMBLE {
            return Err(Fault::Preamble);
        }
        if found {
            self.state = State::Delimiter;
        }
        Ok(found)
    }

    /// Behind a boundary: two dashes end the form; spaces and a line end begin a part.
    fn read_delimiter(&mut self) -> Result<Option<State>, Fault> {
        if self.buffer.starts_with(b"--") {
            return Ok(Some(State::End));
        }
        let padding = self
            .buffer
            .iter()
            .take_while(|byte| b" \t".contains(byte))
            .count();
        let rest = self.buffer.get(padding..).unwrap_or_default();
        if rest.starts_with(b"\r\n") {
            // The line end stays: with it a head without any line ends like any other.
            drop(self.buffer.split_to(padding));
            self.parts = self.parts.saturating_add(1);
            return if self.parts > PARTS {
                Err(Fault::Parts)
            } else {
                Ok(Some(State::Head))
            };
        }
        let undecided = match rest {
            [] | [b'\r'] => true,
            [b'-'] => padding == 0,
            _ => false,
        };
        if !undecided || padding > PADDING {
            return Err(Fault::Delimiter);
        }
        Ok(None)
    }

    fn read_head(&mut self) -> Result<Option<Event>, Fault> {
        const END: &[u8] = b"\r\n\r\n";
        let searched = self
            .buffer
            .get(..HEAD.min(self.buffer.len()))
            .unwrap_or_default();
        let Some(at) = memchr::memmem::find(searched, END) else {
            return if self.buffer.len() >= HEAD {
                Err(Fault::Head)
            } else {
                Ok(None)
            };
        };
        let head = self.buffer.split_to(at.saturating_add(END.len()));
        let head = std::str::from_utf8(&head).map_err(|_| Fault::Head)?;
        self.state = State::Content;
        Ok(Some(Event::Part(name(head)?)))
    }

    fn read_content(&mut self) -> Option<Event> {
        let length = self.delimiter.needle().len();
        match self.delimiter.find(&self.buffer) {
            Some(0) => {
                drop(self.buffer.split_to(length));
                self.state = State::Delimiter;
                Some(Event::EndOfPart)
            }
            Some(at) => Some(Event::Data(self.buffer.split_to(at).freeze())),
            None => {
                // The end of what has come may be the beginning of a delimiter.
                let ready = self.buffer.len().saturating_sub(length.saturating_sub(1));
                (ready > 0).then(|| Event::Data(self.buffer.split_to(ready).freeze()))
            }
        }
    }
}

/// The boundary in a content type.
fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !["multipart/form-data", "multipart/mixed"]
        .contains(&kind.trim().to_ascii_lowercase().as_str())
    {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    let allowed = |c: char| c.is_ascii_graphic() || c == ' ';
    ((1..=70).contains(&boundary.len())
        && boundary.chars().all(allowed)
        && !boundary.ends_with(' '))
    .then_some(boundary)
}

/// The name of a part, out of its head.
fn name(head: &str) -> Result<Option<String>, Fault> {
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let (key, value) = line.split_once(':').ok_or(Fault::Head)?;
        if key.trim().eq_ignore_ascii_case("content-disposition") {
            return Ok(value
                .split_once(';')
                .and_then(|(_, parameters)| parameter(parameters, "name")));
        }
    }
    Ok(None)
}

/// The value of `wanted` in `name=value; name="quoted \"value\""`.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
        };
        if name
            .trim_start_matches([';', ' ', '\t'])
            .trim()
            .eq_ignore_ascii_case(wanted)
        {
            return Some(value);
        }
        rest = after;
    }
}

/// What stands before the closing quote, and what behind it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at.saturating_add(1)..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XyZ";

    /// The events of a form that comes in these pieces; content is joined.
    fn events(pieces: &[&[u8]]) -> Result<Vec<Event>, Fault> {
        let mut form = Multipart::new(TYPE)?;
        let mut events: Vec<Event> = Vec::new();
        for piece in pieces {
            form.push(piece);
            assert!(form.buffer.len().saturating_sub(piece.len()) <= HEAD.saturating_add(64));
            while let Some(event) = form.next()? {
                if let (Event::Data(more), Some(Event::Data(data))) = (&event, events.last_mut()) {
                    *data = [&data[..], &more[..]].concat().into();
                } else {
                    events.push(event);
                }
            }
        }
        Ok(events)
    }

    fn part(name: &str) -> Event {
        Event::Part(Some(name.to_owned()))
    }

    fn data(bytes: &[u8]) -> Event {
        Event::Data(Bytes::copy_from_slice(bytes))
    }

    const FORM: &[u8] = b"preamble\r\n--XyZ\r\nContent-Disposition: form-data; name=\"size\"\r\n\r\n12\
        \r\n--XyZ \t\r\ncontent-disposition: form-data; filename=\"a\\\"; name=b\"; name=\"arti\\\\fact\"\r\nX: y\r\n\r\n\
        \r\n--Xy\r\r\n\r\n--X\n--XyZ\0\r\n--XyZ\r\n\r\n\r\n--XyZ--\r\nepilogue \r\n--XyZ\r\n";

    fn expected() -> Vec<Event> {
        vec![
            part("size"),
            data(b"12"),
            Event::EndOfPart,
            part("arti\\fact"),
            data(b"\r\n--Xy\r\r\n\r\n--X\n--XyZ\0"),
            Event::EndOfPart,
            Event::Part(None),
            Event::EndOfPart,
            Event::End,
        ]
    }

    #[test]
    fn a_form_is_the_same_wherever_it_is_cut() {
        assert_eq!(events(&[FORM]).unwrap(), expected());
        for cut in 0..FORM.len() {
            let (one, two) = FORM.split_at(cut);
            assert_eq!(events(&[one, two]).unwrap(), expected(), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = FORM.chunks(1).collect();
        assert_eq!(events(&bytes).unwrap(), expected());
    }

    #[test]
    fn a_form_that_breaks_off_never_ends() {
        for length in 0..FORM.len() {
            let found = events(&[&FORM[..length]]).unwrap();
            let whole = length >= FORM.len() - b"\r\nepilogue \r\n--XyZ\r\n".len();
            assert_eq!(found.last() == Some(&Event::End), whole, "{length}");
        }
    }

    #[test]
    fn the_form_of_mender_cli_is_understood() {
        let form = b"--XyZ\r\nContent-Disposition: form-data; name=\"size\"\r\n\r\n5\r\n--XyZ\r\nContent-Disposition: \
            form-data; name=\"artifact\"; filename=\"ok.mender\"\r\nContent-Type: application/octet-stream\r\n\r\nhello\
            \r\n--XyZ--\r\n";
        let found = events(&[form]).unwrap();
        assert_eq!(
            found[3..],
            [
                part("artifact"),
                data(b"hello"),
                Event::EndOfPart,
                Event::End
            ]
        );
    }

    #[test]
    fn what_is_no_form_is_refused() {
        assert_eq!(events(&[b"--XyZx\r\n\r\n"]), Err(Fault::Delimiter));
        assert_eq!(events(&[b"--XyZ-\r\n\r\n"]), Err(Fault::Delimiter));
        assert_eq!(events(&[b"--XyZ\n\n"]), Err(Fault::Delimiter));
        assert_eq!(events(&[b"--XyZ", &[b' '; 300]]), Err(Fault::Delimiter));
        assert_eq!(events(&[b"--XyZ\r\nno colon\r\n\r\n"]), Err(Fault::Head));
        assert_eq!(events(&[b"--XyZ\r\na: \xff\r\n\r\n"]), Err(Fault::Head));
        assert_eq!(events(&[b"--XyZ\r\n", &[b'a'; HEAD]]), Err(Fault::Head));
        assert_eq!(
            events(&[&[b'a'; PREAMBLE], &[b'a'; 99]]),
            Err(Fault::Preamble)
        );
        let many = b"--XyZ\r\n\r\n\r\n".repeat(100);
        assert_eq!(events(&[&many]), Err(Fault::Parts));
    }

    #[test]
    fn the_boundary_is_checked() {
        for good in [
            "boundary=a",
            "boundary=\"a b\"",
            "charset=utf-8; boundary=a;x=y",
            "Boundary=a",
        ] {
            assert!(
                Multipart::new(&format!("multipart/form-data; {good}")).is_ok(),
                "{good}"
            );
        }
        assert!(Multipart::new("Multipart/Mixed; boundary=a").is_ok());
        for wrong in [
            "",
            "boundary=",
            "boundary",
            "x=a",
            "boundary=\"a",
            "boundary=\"a \"",
            "boundary=\"\u{e9}\"",
        ] {
            assert!(
                Multipart::new(&format!("multipart/form-data; {wrong}")).is_err(),
                "{wrong}"
            );
        }
        assert!(
            Multipart::new(&format!("multipart/form-data; boundary={}", "a".repeat(71))).is_err()
        );
        assert!(Multipart::new("text/plain; boundary=a").is_err());
    }
}
