//! The files of a root file system: a directory, or an archive that is unpacked for the occasion.
//!
//! Nobody needs to be root for it. Owners, devices and extended attributes of an archive are kept
//! as [`Facts`] beside the unpacked files. In a directory, what belongs to the one who builds
//! belongs to root on the device, and everything else to whom it belongs here. Times of
//! modification are kept, unless they are later than the time that the image is given.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tar::{Archive, Entry, EntryType};
use tempfile::TempDir;

use super::ext4::{Device, Fact, Facts};

/// The most entries that an archive may have.
const MAX_ENTRIES: usize = 4_000_000;

/// The prefix of extended attributes in an archive (star, GNU tar).
const ATTRIBUTE: &str = "SCHILY.xattr.";

/// A root file system's files.
pub(crate) struct Tree {
    path: PathBuf,
    facts: Facts,
    _temporary: Option<TempDir>,
}

impl Tree {
    /// The files in a directory.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn directory(path: &Path, time: u64) -> Result<Tree> {
        let mut facts = Facts::new();
        survey(path, path, time, &mut facts)?;
        Ok(Tree {
            path: path.to_owned(),
            facts,
            _temporary: None,
        })
    }

    /// The files in a tar archive, which may be compressed with gzip, xz or Zstandard.
    ///
    /// # Errors
    /// When it is none, is damaged, or has what must not be in one.
    pub(crate) fn archive(path: &Path, time: u64) -> Result<Tree> {
        let attempt = || format!("cannot unpack {}", path.display());
        let temporary = tempfile::tempdir().with_context(attempt)?;
        let root = temporary.path().join("root");
        make_dir(&root).with_context(attempt)?;
        let mut facts = Facts::new();
        let file = File::open(path).with_context(attempt)?;
        let mut archive = Archive::new(decompressed(file).with_context(attempt)?);
        for (count, entry) in archive.entries().with_context(attempt)?.enumerate() {
            ensure!(count < MAX_ENTRIES, "{} has no end", path.display());
            let mut entry = entry.with_context(attempt)?;
            unpack(&mut entry, &root, time, &mut facts).with_context(attempt)?;
        }
        ensure!(!facts.is_empty(), "{} is empty", path.display());
        Ok(Tree {
            path: root,
            facts,
            _temporary: Some(temporary),
        })
    }

    /// Where they are.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the copies there cannot tell.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }
}

/// Notes what must be different on the device.
fn survey(root: &Path, dir: &Path, time: u64, facts: &mut Facts) -> Result<()> {
    let attempt = || format!("cannot look at {}", dir.display());
    let own = nix::unistd::geteuid().as_raw();
    for entry in fs::read_dir(dir).with_context(attempt)? {
        let path = entry.with_context(attempt)?.path();
        let metadata = path.symlink_metadata().with_context(attempt)?;
        let fact = Fact {
            owner: (own != 0 && metadata.uid() == own).then_some((0, 0)),
            modified: u64::try_from(metadata.mtime())
                .is_ok_and(|modified| modified > time)
                .then_some(time),
            ..Fact::default()
        };
        if fact != Fact::default() {
            facts.insert(path.strip_prefix(root)?.to_owned(), fact);
        }
        if metadata.is_dir() {
            survey(root, &path, time, facts)?;
        }
    }
    Ok(())
}

/// The archive behind its compression, which its first bytes tell.
pub(crate) fn decompressed(file: File) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(1 << 16, file);
    let head = io::BufRead::fill_buf(&mut file)?;
    Ok(if head.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(file))
    } else if head.starts_with(b"\xfd7zXZ\0") {
        Box::new(liblzma::bufread::XzDecoder::new_multi_decoder(file))
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::Decoder::with_buffer(file)?)
    } else {
        Box::new(file)
    })
}

/// Unpacks one entry as far as anybody can, and notes the rest.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an archive can have kinds that nobody has thought of yet"
)]
fn unpack<R: Read>(entry: &mut Entry<R>, root: &Path, time: u64, facts: &mut Facts) -> Result<()> {
    let name = entry.path()?.into_owned();
    let Some(path) = inside(&name)? else {
        return Ok(());
    };
    let attempt = || format!("entry {}", name.display());
    let target = root.join(&path);
    make_parents(root, &path, time, facts).with_context(attempt)?;
    let header = entry.header();
    let mut fact = Fact {
        owner: Some((header.uid()?, header.gid()?)),
        modified: Some(header.mtime()?.min(time)),
        ..Fact::default()
    };
    let permissions = header.mode()? & 0o7777;
    let kind = header.entry_type();
    let numbers = || -> Result<(u32, u32)> {
        let number = |value: io::Result<Option<u32>>| value?.context("a device has numbers");
        Ok((
            number(header.device_major())?,
            number(header.device_minor())?,
        ))
    };
    // A later entry replaces an earlier one; directories stay with what is in them.
    if kind != EntryType::Directory && target.symlink_metadata().is_ok() {
        fs::remove_file(&target).with_context(attempt)?;
        facts.remove(&path);
    }
    match kind {
        EntryType::Directory => {
            if !is_real_dir(&target) {
                make_dir(&target).with_context(attempt)?;
            }
            fact.mode = Some(0o040_000 | permissions);
        }
        EntryType::Regular | EntryType::Continuous => {
            let mut file = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&target)
                .with_context(attempt)?;
            io::copy(entry, &mut file).with_context(attempt)?;
            fact.mode = Some(0o100_000 | permissions);
            fact.attributes = attributes(entry).with_context(attempt)?;
        }
        EntryType::Symlink => {
            let to = entry.link_name()?.with_context(attempt)?;
            symlink(to, &target).with_context(attempt)?;
        }
        EntryType::Link => {
            let to = entry.link_name()?.with_context(attempt)?.into_owned();
            let to = inside(&to)?.with_context(attempt)?;
            make_parents(root, &to, time, facts).with_context(attempt)?;
            fs::hard_link(root.join(to), &target).with_context(attempt)?;
            return Ok(());
        }
        EntryType::Char => {
            let (major, minor) = numbers().with_context(attempt)?;
            fact.device = Some(Device::Character(major, minor));
            fact.mode = Some(0o020_000 | permissions);
        }
        EntryType::Block => {
            let (major, minor) = numbers().with_context(attempt)?;
            fact.device = Some(Device::Block(major, minor));
            fact.mode = Some(0o060_000 | permissions);
        }
        EntryType::Fifo => {
            fact.device = Some(Device::Fifo);
            fact.mode = Some(0o010_000 | permissions);
        }
        other => bail!(
            "{} is of a kind that is not supported ({other:?})",
            name.display()
        ),
    }
    facts.insert(path, fact);
    Ok(())
}

/// The path of an entry from the root, `None` for the root itself. Nothing may lead out.
fn inside(name: &Path) -> Result<Option<PathBuf>> {
    let mut path = PathBuf::new();
    for component in name.components() {
        match component {
            Component::CurDir | Component::RootDir => {}
            Component::Normal(part) => path.push(part),
            Component::ParentDir | Component::Prefix(_) => {
                bail!("the entry {} leads out of the archive", name.display())
            }
        }
    }
    Ok((!path.as_os_str().is_empty()).then_some(path))
}

/// Makes the directories above `path`. None may be a link: it could lead out.
fn make_parents(root: &Path, path: &Path, time: u64, facts: &mut Facts) -> Result<()> {
    let mut dir = PathBuf::new();
    for component in path.parent().unwrap_or(Path::new("")).components() {
        dir.push(component);
        let target = root.join(&dir);
        match target.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => bail!(
                "{} is no directory in this archive, and yet something is in it",
                dir.display()
            ),
            Err(_) => {
                make_dir(&target)?;
                let fact = Fact {
                    owner: Some((0, 0)),
                    mode: Some(0o040_755),
                    modified: Some(time),
                    ..Fact::default()
                };
                facts.insert(dir.clone(), fact);
            }
        }
    }
    Ok(())
}

fn is_real_dir(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_dir())
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o755).create(path)
}

/// The extended attributes of an entry.
fn attributes<R: Read>(entry: &mut Entry<R>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut attributes = Vec::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if let Some(name) = extension.key()?.strip_prefix(ATTRIBUTE) {
            attributes.push((name.to_owned(), extension.value_bytes().to_owned()));
        }
    }
    Ok(attributes)
}
