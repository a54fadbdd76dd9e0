//! ext4 file systems made of files, without root: `mke2fs` copies the files, `debugfs` gives them
//! the owners, devices and times that the one who builds could not.
//!
//! The same files give the same bytes: the identity comes from a seed, and every time stamp that
//! is not a file's own is the one given.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::tool::Tool;
use super::uuid::Uuid;

const PACKAGE: &str = "e2fsprogs";

/// Block size in bytes.
pub(crate) const BLOCK: u64 = 4096;

/// What a file system is to be like.
#[derive(Clone, Debug)]
pub(crate) struct Format<'a> {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its label.
    pub(crate) label: &'a str,
    /// What makes its identity: the same seed, the same identity.
    pub(crate) seed: &'a str,
    /// A journal, for a file system that is written to.
    pub(crate) journal: bool,
    /// The time of everything that has none of its own, in seconds since 1970.
    pub(crate) time: u64,
}

/// A file to be put into a file system, with its directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addition {
    /// Where, from the root of the file system.
    pub(crate) path: PathBuf,
    /// Its permissions.
    pub(crate) mode: u32,
    /// Its content.
    pub(crate) content: Content,
}

/// What an added file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What is in this file.
    File(PathBuf),
    /// Nothing: it is a directory, and may be there already.
    Directory,
    /// Nothing: it is a symbolic link to there.
    Link(PathBuf),
}

impl Addition {
    /// A file that everybody may read.
    pub(crate) fn text(path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Addition {
        Addition {
            path: path.into(),
            mode: 0o644,
            content: Content::Bytes(content.into()),
        }
    }

    /// A directory.
    pub(crate) fn directory(path: impl Into<PathBuf>) -> Addition {
        Addition {
            path: path.into(),
            mode: 0o755,
            content: Content::Directory,
        }
    }

    /// A copy of a file.
    pub(crate) fn copy(path: impl Into<PathBuf>, from: &Path, mode: u32) -> Addition {
        Addition {
            path: path.into(),
            mode,
            content: Content::File(from.to_owned()),
        }
    }
}

/// What a file is like beyond what an unprivileged copy of it can carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fact {
    /// Its owner, if it is not whoever owns the copy.
    pub(crate) owner: Option<(u64, u64)>,
    /// Its kind and permissions as in `st_mode`.
    pub(crate) mode: Option<u32>,
    /// When it was modified, in seconds since 1970.
    pub(crate) modified: Option<u64>,
    /// A device that stands here.
    pub(crate) device: Option<Device>,
    /// Its extended attributes, such as a program's capabilities.
    pub(crate) attributes: Vec<(String, Vec<u8>)>,
}

/// A special file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    /// A character device, by its numbers.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Facts by path from the root of the file system.
pub(crate) type Facts = BTreeMap<PathBuf, Fact>;

/// Makes a file system in the file `image` with the files in `tree`.
///
/// # Errors
/// When they do not fit, or `mke2fs` or `debugfs` fails.
pub(crate) fn make(image: &Path, tree: &Path, facts: &Facts, format: &Format) -> Result<()> {
    let seed = |what: &str| Uuid::from_seed(&format!("{} {what}", format.seed));
    let mut features = "none,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,\
                        large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
        .to_owned();
    if format.journal {
        features.push_str(",has_journal");
    }
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(image)
        .and_then(|file| file.set_len(format.size))
        .with_context(|| format!("cannot make {}", image.display()))?;
    Tool::new("mke2fs", PACKAGE, format.time)
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-I", "256"])
        .args(["-b", &BLOCK.to_string(), "-O", &features])
        .args(["-U", &seed("uuid").to_string(), "-L", format.label])
        .arg("-E")
        .arg(format!(
            "root_owner=0:0,hash_seed={},lazy_itable_init=0,lazy_journal_init=0,nodiscard",
            seed("hash seed")
        ))
        .arg("-d")
        .arg(tree)
        .arg(image)
        .arg((format.size / BLOCK).to_string())
        .run()
        .with_context(|| {
            format!(
                "cannot make a file system of {} of {} (if it is full, make the part larger)",
                super::layout::mib(format.size),
                tree.display()
            )
        })?;
    let mut changes = Changes::new(format.time)?;
    for (path, fact) in facts {
        changes.apply(path, fact)?;
    }
    changes.run(image)?;
    same_times(image, format.time)
}

/// Puts files into a file system; what has such a name is replaced.
///
/// # Errors
/// When they do not fit, or a directory on the way is none.
pub(crate) fn add(image: &Path, additions: &[Addition], time: u64) -> Result<()> {
    let mut changes = Changes::new(time)?;
    let mut made: Vec<PathBuf> = Vec::new();
    for addition in additions {
        let path = Path::new("/").join(&addition.path);
        let is_dir = addition.content == Content::Directory;
        let parent = match is_dir {
            true => path.as_path(),
            false => path.parent().context("a file has a directory")?,
        };
        let mut missing: Vec<&Path> = Vec::new();
        for dir in parent.ancestors() {
            if made.iter().any(|made| made == dir) || exists(image, dir, time)? {
                break;
            }
            missing.push(dir);
        }
        for dir in missing.into_iter().rev() {
            changes.make_dir(dir)?;
            made.push(dir.to_owned());
        }
        if is_dir {
            continue;
        }
        if exists(image, &path, time)? {
            changes.remove(&path)?;
        }
        changes.add(&path, addition)?;
    }
    changes.run(image)
}

/// The size that a file system of these files needs, in bytes, with some room.
///
/// # Errors
/// When the files cannot be looked at.
pub(crate) fn room_for(tree: &Path) -> Result<u64> {
    let (mut bytes, mut files) = (0_u64, 0_u64);
    let mut dirs = vec![tree.to_owned()];
    while let Some(dir) = dirs.pop() {
        let attempt = || format!("cannot look at {}", dir.display());
        for entry in fs::read_dir(&dir).with_context(attempt)? {
            let entry = entry.with_context(attempt)?;
            let metadata = entry.metadata().with_context(attempt)?;
            files = files.saturating_add(1);
            if metadata.is_dir() {
                dirs.push(entry.path());
            }
            bytes = bytes.saturating_add(metadata.len().next_multiple_of(BLOCK));
        }
    }
    // An inode is 256 bytes, and there is one for every 16 KiB at least.
    let needed = bytes.saturating_add(files.saturating_mul(256));
    Ok(needed
        .saturating_add(needed / 4)
        .saturating_add(8 * super::layout::MIB))
}

/// The content of a file in a file system.
///
/// # Errors
/// When there is no such file.
pub(crate) fn read(image: &Path, path: &Path) -> Result<Vec<u8>> {
    let dir = tempfile::tempdir()?;
    let copy = dir.path().join("copy");
    let request = format!("dump {} {}", quoted(path)?, quoted(&copy)?);
    let said = debugfs(image, &request, 0)?;
    fs::read(&copy).with_context(|| format!("there is no {}: {said}", path.display()))
}

/// Whether there is something of this name in the file system.
pub(crate) fn exists(image: &Path, path: &Path, time: u64) -> Result<bool> {
    let said = debugfs(image, &format!("stat {}", quoted(path)?), time)?;
    if said.is_empty() {
        return Ok(true);
    }
    ensure!(
        said.contains("File not found"),
        "cannot look for {} in {}: {said}",
        path.display(),
        image.display()
    );
    Ok(false)
}

/// One request: what `debugfs` has to complain about.
fn debugfs(image: &Path, request: &str, time: u64) -> Result<String> {
    let said = Tool::new("debugfs", PACKAGE, time)
        .arg("-R")
        .arg(request)
        .arg(image)
        .run()?;
    Ok(complaints(&said.complaints))
}

/// What is left of the standard error of `debugfs` without its greeting.
fn complaints(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("debugfs 1."));
    lines.collect::<Vec<_>>().join("; ")
}

/// Gives every inode the same times but for the files' own times of modification: `mke2fs` takes
/// over when the copies were made.
fn same_times(image: &Path, time: u64) -> Result<()> {
    let said = Tool::new("dumpe2fs", PACKAGE, time)
        .arg("-h")
        .arg(image)
        .run()?;
    let number = |name: &str| -> Result<u64> {
        let line = said.answer.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.with_context(|| format!("dumpe2fs does not say {name}"))
    };
    // Inodes are given out one after the other; 11 is the first that is not reserved.
    let used = number("Inode count:")?.saturating_sub(number("Free inodes:")?);
    let mut changes = Changes::new(time)?;
    for inode in std::iter::once(2).chain(11..=used) {
        for field in ["atime", "ctime", "crtime"] {
            changes.say(&format!("set_inode_field <{inode}> {field} @{time}"))?;
        }
        for field in ["atime_extra", "ctime_extra", "crtime_extra", "mtime_extra"] {
            changes.say(&format!("set_inode_field <{inode}> {field} 0"))?;
        }
    }
    changes.run(image)
}

/// A script for `debugfs`.
struct Changes {
    /// Holds the script and what it copies.
    dir: TempDir,
    script: BufWriter<File>,
    files: u32,
    time: u64,
}

impl Changes {
    fn new(time: u64) -> Result<Changes> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let script = File::options()
            .write(true)
            .create_new(true)
            .open(dir.path().join("script"))?;
        Ok(Changes {
            dir,
            script: BufWriter::new(script),
            files: 0,
            time,
        })
    }

    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.script, "{line}").context("cannot write a temporary file")
    }

    /// Says several lines about the file at `path`.
    fn set(&mut self, path: &str, field: &str, value: &str) -> Result<()> {
        self.say(&format!("set_inode_field {path} {field} {value}"))
    }

    fn owner(&mut self, path: &str, (user, group): (u64, u64)) -> Result<()> {
        self.set(path, "uid", &user.to_string())?;
        self.set(path, "gid", &group.to_string())
    }

    /// Goes to the directory of `path`: new names can only be given there. The name.
    fn go_to(&mut self, path: &Path) -> Result<String> {
        let parent = path.parent().context("a file has a directory")?;
        let name = path.file_name().context("a file has a name")?;
        self.say(&format!("cd {}", quoted(&Path::new("/").join(parent))?))?;
        quoted(Path::new(name))
    }

    fn make_dir(&mut self, path: &Path) -> Result<()> {
        let name = self.go_to(path)?;
        self.say(&format!("mkdir {name}"))?;
        self.times(&name, 0o040_755)
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        self.say(&format!("rm {}", quoted(path)?))
    }

    fn add(&mut self, path: &Path, addition: &Addition) -> Result<()> {
        let source = match &addition.content {
            Content::File(file) => file.clone(),
            Content::Bytes(bytes) => self.file(bytes)?,
            Content::Directory => return self.make_dir(path),
            Content::Link(to) => {
                let name = self.go_to(path)?;
                self.say(&format!("symlink {name} {}", quoted(to)?))?;
                return self.times(&name, 0o120_000 | addition.mode);
            }
        };
        let name = self.go_to(path)?;
        self.say(&format!("write {} {name}", quoted(&source)?))?;
        self.times(&name, 0o100_000 | addition.mode)
    }

    /// Mode, owner and times of what has just been made.
    fn times(&mut self, name: &str, mode: u32) -> Result<()> {
        self.set(name, "mode", &format!("0{mode:o}"))?;
        self.owner(name, (0, 0))?;
        for field in ["atime", "ctime", "mtime", "crtime"] {
            self.set(name, field, &format!("@{}", self.time))?;
            self.set(name, &format!("{field}_extra"), "0")?;
        }
        Ok(())
    }

    fn apply(&mut self, path: &Path, fact: &Fact) -> Result<()> {
        let full = quoted(&Path::new("/").join(path))?;
        if let Some(device) = fact.device {
            let name = self.go_to(path)?;
            let node = match device {
                Device::Character(major, minor) => format!("c {major} {minor}"),
                Device::Block(major, minor) => format!("b {major} {minor}"),
                Device::Fifo => "p".to_owned(),
            };
            self.say(&format!("mknod {name} {node}"))?;
        }
        if let Some(mode) = fact.mode {
            self.set(&full, "mode", &format!("0{mode:o}"))?;
        }
        if let Some(modified) = fact.modified {
            self.set(&full, "mtime", &format!("@{modified}"))?;
        }
        if let Some(owner) = fact.owner {
            self.owner(&full, owner)?;
        }
        for (name, value) in &fact.attributes {
            let value = self.file(value)?;
            let value = quoted(&value)?;
            self.say(&format!("ea_set -f {value} {full} {name}"))?;
        }
        Ok(())
    }

    /// A temporary file with these bytes.
    fn file(&mut self, bytes: &[u8]) -> Result<PathBuf> {
        self.files = self.files.saturating_add(1);
        let path = self.dir.path().join(self.files.to_string());
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        file.write_all(bytes)
            .context("cannot write a temporary file")?;
        Ok(path)
    }

    /// Has everything done.
    fn run(mut self, image: &Path) -> Result<()> {
        self.script
            .flush()
            .context("cannot write a temporary file")?;
        let said = Tool::new("debugfs", PACKAGE, self.time)
            .args(["-w", "-f"])
            .arg(self.dir.path().join("script"))
            .arg(image)
            .run()?;
        let complaints = complaints(&said.complaints);
        ensure!(
            complaints.is_empty(),
            "cannot change {}: {complaints}",
            image.display()
        );
        Ok(())
    }
}

/// A path as `debugfs` reads it.
fn quoted(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("the name {} is not UTF-8", path.display()))?;
    if text.contains(['\n', '\r']) {
        bail!("the name {text:?} has a line break");
    }
    Ok(format!("\"{}\"", text.replace('"', "\"\"")))
}
