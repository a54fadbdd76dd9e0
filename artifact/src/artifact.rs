//! The walk over an artifact, in the one order that the format and our rules allow.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::mem;
use std::sync::Arc;

use crate::checked::{Check, Ticket, Verified};
use crate::compression::Compression;
use crate::decode::Decoder;
use crate::digest::Digest;
use crate::error::Error;
use crate::header::Header;
use crate::header_read;
use crate::limits::Limits;
use crate::manifest::Manifest;
use crate::name::FileName;
use crate::order::{check_file_count, check_version, compare, expect, expect_archive};
use crate::payload_file::{PayloadFile, PayloadFileInfo};
use crate::signature::{SignatureStatus, Verification};
use crate::tar_read::{Member, TarReader};

/// An artifact that is being read: its header is checked, its payload is still to come.
///
/// Nothing may be activated before [`finish`](Self::finish) has returned without an error: only then has every
/// promise of the manifest been seen to hold.
pub struct Artifact<R: Read> {
    stage: Stage<R>,
    manifest: Manifest,
    signature: SignatureStatus,
    header: Header,
    header_compression: Compression,
    payload_compression: Option<Compression>,
    limits: Limits,
    /// Payload files that the manifest lists and that have not come.
    missing: BTreeMap<FileName, Digest>,
    /// Those that have come; the last of them may still be in progress.
    files: Vec<PayloadFileInfo>,
    /// Who has to prove that file.
    proof: Proof,
    /// Tells this reader's proofs from another's.
    identity: Arc<()>,
}

/// How far the walk is.
enum Stage<R: Read> {
    /// Behind the header.
    Header(TarReader<R>),
    /// At the beginning of the payload member.
    Member(PayloadMember<R>),
    /// In the payload member.
    Payload(Box<TarReader<Decoder<InMember<R>>>>),
    /// Behind the payload member.
    End(TarReader<R>),
    /// Behind an error.
    Failed,
}

/// The payload member, of which nothing was decompressed yet.
struct PayloadMember<R> {
    name: String,
    compression: Compression,
    content: InMember<R>,
}

/// Who has to prove that the current payload file is what the manifest promises.
enum Proof {
    /// Nobody: there is no such file, or it is proven.
    Done,
    /// This reader.
    Here(Check),
    /// Somebody with the detached check.
    Away(Ticket),
}

/// What [`Artifact::finish`] has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The payload files, in the order in which they came.
    pub files: Vec<PayloadFileInfo>,
    /// How the header member is compressed.
    pub header_compression: Compression,
    /// How the payload member is compressed; `None` if there is no such member.
    pub payload_compression: Option<Compression>,
    /// The size of the whole artifact, bytes.
    pub size: u64,
}

impl<R: Read> Artifact<R> {
    /// Reads and checks everything before the payload, with the default [`Limits`].
    ///
    /// `source` may return as few bytes at a time as it likes. It is read in small pieces here and in larger ones in
    /// the payload.
    ///
    /// # Errors
    /// Everything that [`Error`] lists about artifacts.
    pub fn open(source: R, verification: &Verification) -> Result<Self, Error> {
        Self::open_with(source, verification, Limits::default())
    }

    /// Like [`open`](Self::open), with other limits.
    ///
    /// The order of work is that of spec `artifact-format` §10: the signature is judged before the manifest and
    /// anything behind it is parsed; the header member is unpacked only after its sum was compared.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with(
        source: R,
        verification: &Verification,
        limits: Limits,
    ) -> Result<Self, Error> {
        let mut tar = TarReader::new(source, "the artifact");
        expect(tar.next_member()?, "version")?;
        let version = tar.read_all("version", limits.version)?;
        check_version(&version)?;

        expect(tar.next_member()?, "manifest")?;
        let manifest = tar.read_all("manifest", limits.manifest)?;
        let mut next = tar.next_member()?;
        let mut signature = None;
        if next
            .as_ref()
            .is_some_and(|member| member.name == "manifest.sig")
        {
            signature = Some(tar.read_all("manifest.sig", limits.signature)?);
            next = tar.next_member()?;
        }
        let signature = verification.judge(&manifest, signature.as_deref())?;
        let manifest = Manifest::parse(&manifest)?;
        compare("version", &version, manifest.version())?;

        let (name, header_compression) = expect_archive(next, "header.tar")?;
        let packed = tar.read_all(&name, limits.header)?;
        let (listed_compression, sum) = manifest.header();
        if listed_compression != header_compression {
            return Err(Error::malformed(
                "manifest",
                format!("does not list {name}"),
            ));
        }
        compare(&name, &packed, sum)?;
        let header = header_read::unpack(&packed, header_compression, &name, &limits)?;
        check_file_count(header.payload_type(), manifest.files().len())?;

        Ok(Self {
            stage: Stage::Header(tar),
            missing: manifest.files().clone(),
            manifest,
            signature,
            header,
            header_compression,
            payload_compression: None,
            limits,
            files: Vec::new(),
            proof: Proof::Done,
            identity: Arc::new(()),
        })
    }

    /// What the artifact says about itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The sums that the signature covers.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What became of its signature.
    #[must_use]
    pub fn signature(&self) -> &SignatureStatus {
        &self.signature
    }

    /// How the header member is compressed.
    #[must_use]
    pub fn header_compression(&self) -> Compression {
        self.header_compression
    }

    /// How the payload member is compressed; `None` before the first payload file was asked for, or if there is no
    /// such member.
    #[must_use]
    pub fn payload_compression(&self) -> Option<Compression> {
        self.payload_compression
    }

    /// What the payload says of itself if it is [framed](crate::framed); `None` if it is any other. To be asked before
    /// the first payload file; the payload can be read from front to back after it as without it.
    ///
    /// # Errors
    /// Those of reading the beginning of the payload.
    #[cfg(feature = "zstd")]
    pub fn framed(&mut self) -> Result<Option<crate::framed::Framed>, Error> {
        let Stage::Header(outer) = mem::replace(&mut self.stage, Stage::Failed) else {
            return Err(Error::Misuse {
                what: "it was asked for its frames after its payload",
            });
        };
        self.stage = self.enter_member(outer)?;
        let Stage::Member(member) = &mut self.stage else {
            return Ok(None);
        };
        let mut framed = None;
        if member.compression == Compression::Zstd {
            let tar = &mut member.content.tar;
            let (at, size) = (tar.offset(), tar.left());
            let start = tar.read_some(crate::framed::OPENING)?;
            framed = crate::framed::open(&start, at, size, (&self.header, &self.manifest))?;
            member.content.start = io::Cursor::new(start);
        }
        Ok(framed)
    }

    /// The next payload file, or `None` after the last. What is left of the file before it is read and checked first.
    ///
    /// # Errors
    /// Any; after one the artifact is of no further use.
    pub fn next_file(&mut self) -> Result<Option<PayloadFile<'_, R>>, Error> {
        match self.advance() {
            Ok(Some(info)) => Ok(Some(PayloadFile::new(self, info))),
            Ok(None) => Ok(None),
            Err(err) => Err(self.fail(err)),
        }
    }

    /// Takes the proof for the file whose check was [detached](PayloadFile::detach_check).
    ///
    /// # Errors
    /// [`Error::Misuse`] if it does not belong to the file just read.
    pub fn accept(&mut self, proof: Verified) -> Result<(), Error> {
        let at_end = matches!(&self.stage, Stage::Payload(tar) if tar.left() == 0);
        match &self.proof {
            Proof::Away(ticket) if at_end && proof.proves(ticket) => {
                self.proof = Proof::Done;
                Ok(())
            }
            Proof::Away(_) | Proof::Here(_) | Proof::Done => Err(Error::Misuse {
                what: "a proof does not belong to the payload file just read",
            }),
        }
    }

    /// Reads to the end: everything that the manifest promises has come, nothing else has, nothing is hidden anywhere.
    ///
    /// # Errors
    /// As for [`next_file`](Self::next_file).
    pub fn finish(mut self) -> Result<Summary, Error> {
        while self.advance()?.is_some() {}
        let Stage::End(mut tar) = self.stage else {
            return Err(FAILED);
        };
        tar.end(self.limits.zero_tail)?;
        Ok(Summary {
            files: self.files,
            header_compression: self.header_compression,
            payload_compression: self.payload_compression,
            size: tar.offset(),
        })
    }

    /// Goes on to the next payload file, if there is one.
    fn advance(&mut self) -> Result<Option<PayloadFileInfo>, Error> {
        self.settle()?;
        loop {
            // Whatever fails below leaves `Failed` behind.
            match mem::replace(&mut self.stage, Stage::Failed) {
                Stage::Header(outer) => self.stage = self.enter_member(outer)?,
                Stage::Member(member) => self.stage = self.enter_payload(member)?,
                Stage::Payload(mut tar) => match tar.next_member()? {
                    Some(member) => {
                        let info = self.begin(member)?;
                        self.stage = Stage::Payload(tar);
                        return Ok(Some(info));
                    }
                    None => self.stage = self.leave_payload(*tar)?,
                },
                Stage::End(outer) => {
                    self.stage = Stage::End(outer);
                    return Ok(None);
                }
                Stage::Failed => return Err(FAILED),
            }
        }
    }

    /// Sees to it that the current file, if there is one, is read and proven.
    fn settle(&mut self) -> Result<(), Error> {
        let mut buffer = Vec::new();
        while let Proof::Here(_) = self.proof {
            buffer.resize(DRAIN, 0);
            self.read_file(&mut buffer)?;
        }
        match (&self.proof, self.files.last()) {
            (Proof::Away(_), Some(file)) => Err(Error::Unproven {
                file: file.name.to_string(),
            }),
            (Proof::Away(_) | Proof::Here(_) | Proof::Done, _) => Ok(()),
        }
    }

    fn enter_member(&mut self, mut outer: TarReader<R>) -> Result<Stage<R>, Error> {
        let next = outer.next_member()?;
        if next.is_none() && self.header.payload_type().is_none() {
            return Ok(Stage::End(outer));
        }
        let (name, compression) = expect_archive(next, "data/0000.tar")?;
        self.payload_compression = Some(compression);
        Ok(Stage::Member(PayloadMember {
            name,
            compression,
            content: InMember {
                start: io::Cursor::default(),
                tar: outer,
            },
        }))
    }

    fn enter_payload(&mut self, member: PayloadMember<R>) -> Result<Stage<R>, Error> {
        let PayloadMember {
            name,
            compression,
            content,
        } = member;
        let decoder = Decoder::new(content, compression, &name, &self.limits)?;
        Ok(Stage::Payload(Box::new(TarReader::new(decoder, name))))
    }

    fn leave_payload(
        &mut self,
        mut tar: TarReader<Decoder<InMember<R>>>,
    ) -> Result<Stage<R>, Error> {
        tar.end(self.limits.zero_tail)?;
        let InMember { tar: outer, .. } = tar.into_source().finish()?;
        if outer.left() != 0 {
            return Err(Error::malformed(
                "data/0000.tar",
                "has something after its compressed content",
            ));
        }
        match self.missing.first_key_value() {
            Some((name, _)) => Err(Error::Missing {
                file: name.to_string(),
            }),
            None => Ok(Stage::End(outer)),
        }
    }

    fn begin(&mut self, member: Member) -> Result<PayloadFileInfo, Error> {
        let Member { name, size } = member;
        let name = FileName::parse(&name)?;
        let Some(sha256) = self.missing.remove(&name) else {
            return Err(match self.manifest.files().get(&name) {
                Some(_) => Error::malformed(
                    "data/0000.tar",
                    format!("has payload file {:?} twice", name.as_str()),
                ),
                None => Error::Unlisted {
                    file: name.to_string(),
                },
            });
        };
        let ticket = Ticket::new(&self.identity, self.files.len());
        self.proof = Proof::Here(Check::new(name.clone(), size, sha256, ticket));
        let info = PayloadFileInfo { name, size, sha256 };
        self.files.push(info.clone());
        Ok(info)
    }

    /// Reads of the current file for a caller; after an error nothing goes on.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_file(buffer).map_err(|err| self.fail(err))?)
    }

    /// Reads of the current file, and proves it with its last byte.
    fn read_file(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let Stage::Payload(tar) = &mut self.stage else {
            return Err(FAILED);
        };
        let count = tar.read(buffer)?;
        if let Proof::Here(check) = &mut self.proof {
            check.update(buffer.get(..count).unwrap_or_default());
            if tar.left() == 0 {
                self.prove()?;
            }
        }
        Ok(count)
    }

    /// Takes the check of the current file away from this reader.
    pub(crate) fn detach_check(&mut self) -> Result<Check, Error> {
        match mem::replace(&mut self.proof, Proof::Done) {
            Proof::Here(check) => {
                self.proof = Proof::Away(check.ticket().clone());
                Ok(check)
            }
            proof @ (Proof::Away(_) | Proof::Done) => {
                self.proof = proof;
                Err(Error::Misuse {
                    what: "a payload file was checked already",
                })
            }
        }
    }

    fn prove(&mut self) -> Result<(), Error> {
        match mem::replace(&mut self.proof, Proof::Done) {
            Proof::Here(check) => check.finish().map(|_proof| ()),
            proof @ (Proof::Away(_) | Proof::Done) => {
                self.proof = proof;
                Ok(())
            }
        }
    }

    fn fail(&mut self, err: Error) -> Error {
        self.stage = Stage::Failed;
        err
    }
}

/// The current member of the outer archive as a source of its own.
struct InMember<R> {
    /// What was read of it already.
    start: io::Cursor<Vec<u8>>,
    tar: TarReader<R>,
}

impl<R: Read> Read for InMember<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.start.read(buffer)? {
            0 => Ok(self.tar.read(buffer)?),
            count => Ok(count),
        }
    }
}

/// How much is read at once of a payload file that nobody wants, bytes.
const DRAIN: usize = 128 << 10;

const FAILED: Error = Error::Misuse {
    what: "it was used after an error",
};
