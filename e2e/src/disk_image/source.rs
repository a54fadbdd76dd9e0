//! Where a root file system comes from: a directory, an archive, an ext4 image, or the image of a
//! disk that has one.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::Plan;
use super::ext4::{self, Addition, Format};
use super::layout::{Layout, mib};
use super::old_disk::OldDisk;
use super::parts::copy_sparse;
use super::tree::{Tree, decompressed};

/// A root file system before it is on the disk.
pub(crate) enum Source {
    /// Files, of which a file system is to be made.
    Files(Tree),
    /// A file system.
    Image(Whole),
    /// A file system on a disk.
    Disk(OldDisk),
}

/// An image that is not compressed, or not any more.
pub(crate) struct Whole {
    /// Where it is.
    pub(crate) path: PathBuf,
    _temporary: Option<TempDir>,
}

/// What the beginning of an image tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// ext2, ext3 or ext4.
    Ext4,
    /// A disk with a partition table.
    Disk,
    /// None of these: an archive, or nothing that we know.
    Other,
}

/// How much of an image must be seen to tell its kind: the superblock of ext4 begins at 1024.
const HEAD: usize = 2048;

impl Source {
    /// Looks at what is in `plan.root`.
    ///
    /// # Errors
    /// When it cannot be read, or is nothing that a root file system can be had from.
    pub(crate) fn open(plan: &Plan) -> Result<Source> {
        let path = &plan.root;
        let attempt = || format!("cannot open the root file system {}", path.display());
        if fs::metadata(path).with_context(attempt)?.is_dir() {
            return Ok(Source::Files(Tree::directory(path, plan.time)?));
        }
        let plain = head(&mut File::open(path).with_context(attempt)?).with_context(attempt)?;
        let mut content = decompressed(File::open(path)?).with_context(attempt)?;
        let first = head(&mut content).with_context(attempt)?;
        let kind = Kind::of(&first);
        if kind == Kind::Other {
            return Ok(Source::Files(Tree::archive(path, plan.time)?));
        }
        let whole = match first == plain {
            true => Whole {
                path: path.clone(),
                _temporary: None,
            },
            false => Whole::unpacked(first.chain(content)).with_context(attempt)?,
        };
        Ok(match kind {
            Kind::Disk => Source::Disk(OldDisk::open(whole, plan.root_partition, plan.time)?),
            Kind::Ext4 | Kind::Other => Source::Image(whole),
        })
    }

    /// The size that a root part needs.
    ///
    /// # Errors
    /// When the files cannot be looked at.
    pub(crate) fn room(&self, plan: &Plan) -> Result<u64> {
        match self {
            Source::Image(image) => Ok(fs::metadata(&image.path)?.len()),
            Source::Disk(disk) => Ok(disk.room()),
            Source::Files(tree) => {
                let mut size = ext4::room_for(tree.path())?;
                let more = plan.files.iter().map(|(from, _)| from);
                for path in more.chain(&plan.kernel).chain(&plan.agent) {
                    size = size.saturating_add(fs::metadata(path).map_or(0, |file| file.len()));
                }
                Ok(size)
            }
        }
    }

    /// The files of the boot partition that is beside it; they are copied to `work` before.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn boot_files(&self, work: &Path, time: u64) -> Result<Vec<Addition>> {
        match self {
            Source::Disk(disk) => disk.boot_files(work, time),
            Source::Files(_) | Source::Image(_) => {
                bail!("boot files can be kept of the image of a disk only (--keep-boot-files)")
            }
        }
    }

    /// Writes the file system to the new file `image`.
    ///
    /// # Errors
    /// When it does not fit into a root part, or a tool fails.
    pub(crate) fn write(
        &self,
        image: &Path,
        layout: &Layout,
        plan: &Plan,
        seed: &str,
    ) -> Result<()> {
        match self {
            Source::Disk(disk) => disk.write_root(image, layout.root_a.size, plan.time),
            Source::Image(whole) => {
                let path = &whole.path;
                let size = fs::metadata(path)?.len();
                ensure!(
                    size <= layout.root_a.size,
                    "the root file system is {}, the root parts are {}: make them larger (--root-size)",
                    mib(size),
                    mib(layout.root_a.size)
                );
                fs::copy(path, image)
                    .map(drop)
                    .with_context(|| format!("cannot copy {}", path.display()))
            }
            Source::Files(tree) => {
                let format = Format {
                    size: layout.root_a.size,
                    label: "root",
                    seed: &format!("{seed} root"),
                    journal: plan.writable_root,
                    time: plan.time,
                };
                ext4::make(image, tree.path(), tree.facts(), &format)
            }
        }
    }
}

impl Whole {
    /// What can be read, in a temporary file.
    fn unpacked(mut content: impl Read) -> Result<Whole> {
        let temporary = tempfile::tempdir().context("cannot make a temporary directory")?;
        let path = temporary.path().join("image");
        let mut file = File::options().write(true).create_new(true).open(&path)?;
        let size = copy_sparse(&mut content, &mut file, 0)?;
        file.set_len(size)?;
        Ok(Whole {
            path,
            _temporary: Some(temporary),
        })
    }
}

impl Kind {
    fn of(head: &[u8]) -> Kind {
        if is_ext4(head) {
            Kind::Ext4
        } else if head.get(510..512) == Some(&[0x55, 0xaa]) {
            Kind::Disk
        } else {
            Kind::Other
        }
    }
}

/// The first bytes, as many as there are of [`HEAD`].
fn head(content: &mut dyn Read) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    BufReader::new(content.take(HEAD as u64)).read_to_end(&mut head)?;
    Ok(head)
}

/// Whether ext2, ext3 or ext4 begins like this: the magic number in the superblock.
fn is_ext4(head: &[u8]) -> bool {
    head.get(1024 + 0x38..1024 + 0x3a) == Some(&[0x53, 0xef])
}

/// Whether there is ext2, ext3 or ext4 at `offset`.
pub(crate) fn has_ext4_at(file: &File, offset: u64) -> bool {
    let mut head = [0; HEAD];
    file.read_exact_at(&mut head, offset).is_ok() && is_ext4(&head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_an_image_is() {
        let with = |places: &[(usize, [u8; 2])]| {
            let mut head = vec![0; HEAD];
            for (place, bytes) in places {
                head[*place..place + 2].copy_from_slice(bytes);
            }
            head
        };
        let (magic, signature) = ((1080, [0x53, 0xef]), (510, [0x55, 0xaa]));
        for (head, kind) in [
            (with(&[magic]), Kind::Ext4),
            (with(&[signature]), Kind::Disk),
            // A boot loader may stand in front of a file system.
            (with(&[magic, signature]), Kind::Ext4),
            (with(&[]), Kind::Other),
            (b"short".to_vec(), Kind::Other),
        ] {
            assert_eq!(Kind::of(&head), kind);
        }
    }
}
