//! Unpacking the header member: only after its sum was checked, and in memory.

use std::io::{self, Read};

use crate::compression::Compression;
use crate::decode::Decoder;
use crate::error::Error;
use crate::header::{Header, Parts, Script};
use crate::limits::Limits;
use crate::name::ScriptName;
use crate::tar_read::TarReader;

/// Unpacks `bytes`, the content of the header member `member`.
///
/// ```text
/// header-info
/// scripts/NAME             any number
/// headers/0000/type-info
/// headers/0000/meta-data   or not
/// ```
pub(crate) fn unpack(
    bytes: &[u8],
    compression: Compression,
    member: &str,
    limits: &Limits,
) -> Result<Header, Error> {
    let decoder = Decoder::new(bytes, compression, member, limits)?;
    let limited = Limited {
        source: decoder,
        left: limits.header_unpacked,
        member,
        limit: limits.header_unpacked,
    };
    let mut tar = TarReader::new(limited, member);
    let mut parts = Parts::default();
    let mut place = Place::Start;
    while let Some(entry) = tar.next_member()? {
        let name = entry.name.as_str();
        place = match (place, name, name.strip_prefix("scripts/")) {
            (Place::Start, "header-info", _) => {
                parts.header_info = tar.read_all(name, limits.json)?;
                Place::Scripts
            }
            (Place::Scripts, _, Some(script)) => {
                if parts.scripts.len() >= limits.scripts {
                    let limit = format!("{} scripts", limits.scripts);
                    return Err(Error::TooLarge {
                        what: member.to_owned(),
                        limit,
                    });
                }
                let content = tar.read_all(&format!("state script {script:?}"), limits.script)?;
                parts.scripts.push(Script {
                    name: ScriptName::parse(script)?,
                    content,
                });
                Place::Scripts
            }
            (Place::Scripts, "headers/0000/type-info", _) => {
                parts.type_info = tar.read_all(name, limits.json)?;
                Place::MetaData
            }
            (Place::MetaData, "headers/0000/meta-data", _) => {
                parts.meta_data = Some(tar.read_all(name, limits.json)?);
                Place::End
            }
            (place, name, _) => {
                return Err(Error::Unexpected {
                    found: format!("member {name:?} in {member}"),
                    expected: place.expected().to_owned(),
                });
            }
        };
    }
    if let Place::Start | Place::Scripts = place {
        return Err(Error::Unexpected {
            found: format!("the end of {member}"),
            expected: place.expected().to_owned(),
        });
    }
    tar.end(limits.zero_tail)?;
    tar.into_source().source.finish()?;
    Header::new(parts)
}

/// What may come next.
#[derive(Clone, Copy)]
enum Place {
    Start,
    Scripts,
    MetaData,
    End,
}

impl Place {
    fn expected(self) -> &'static str {
        match self {
            Self::Start => "header-info",
            Self::Scripts => "a state script or headers/0000/type-info",
            Self::MetaData => "headers/0000/meta-data or its end",
            Self::End => "its end",
        }
    }
}

/// A limit on how much comes out of a decoder.
struct Limited<'a, R> {
    source: R,
    left: u64,
    member: &'a str,
    limit: u64,
}

impl<R: Read> Read for Limited<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            Error::too_large(format!("the content of {}", self.member), self.limit)
        })?;
        Ok(count)
    }
}
