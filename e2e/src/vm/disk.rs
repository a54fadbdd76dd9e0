//! A machine's disk from outside: what the boot loader would find, what stands in the root parts,
//! and how to damage it. Writing is for when the machine is off.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Take, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tandem_uboot_env::{Env, image};

use crate::disk_image::{GRUB_STORE, Layout, Part, Tool, add_file, copy_part, read_file, sum_of};

/// A disk image with its layout.
#[derive(Clone, Debug)]
pub struct Disk {
    path: PathBuf,
    layout: Layout,
}

/// One copy of the boot environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentCopy {
    /// Its number byte.
    pub number: u8,
    /// Its variables; `None` when its checksum is wrong.
    pub variables: Option<Vec<(String, String)>>,
}

impl EnvironmentCopy {
    /// The value of a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let variables = self.variables.as_ref()?;
        let (_, value) = variables.iter().find(|(other, _)| other == name)?;
        Some(value)
    }
}

impl Disk {
    /// The disk in a file.
    #[must_use]
    pub fn new(path: &Path, layout: Layout) -> Disk {
        Disk {
            path: path.to_owned(),
            layout,
        }
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where everything lies.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// A copy of it in another file.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn copy_to(&self, path: &Path) -> Result<Disk> {
        let copied = Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(&self.path)
            .arg(path)
            .status()?;
        ensure!(copied.success(), "cannot copy {}", self.path.display());
        Ok(Disk::new(path, self.layout))
    }

    /// The two copies of U-Boot's environment.
    ///
    /// # Errors
    /// When they cannot be read, or this disk has none.
    pub fn environment(&self) -> Result<[EnvironmentCopy; 2]> {
        let [first, second] = self.layout.environment.context("no environment")?;
        Ok([
            self.environment_copy(first)?,
            self.environment_copy(second)?,
        ])
    }

    fn environment_copy(&self, part: Part) -> Result<EnvironmentCopy> {
        let mut bytes = vec![0; usize::try_from(part.size)?];
        self.open()?.read_exact_at(&mut bytes, part.start)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let variables = image::data(&bytes, true).ok().map(|data| {
            let env = Env::parse(data);
            let variables = env.iter().map(|(name, value)| (text(name), text(value)));
            variables.collect()
        });
        Ok(EnvironmentCopy {
            number: image::flags(&bytes),
            variables,
        })
    }

    /// Gives a copy of the environment another number, as if it had been saved more often.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn number_environment(&self, copy: usize, number: u8) -> Result<()> {
        let part = self.environment_part(copy)?;
        self.write(part.start.saturating_add(4), &[number])
    }

    /// Spoils a copy of the environment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn spoil_environment(&self, copy: usize) -> Result<()> {
        let part = self.environment_part(copy)?;
        self.write(part.start.saturating_add(100), &[0xa5; 50])
    }

    /// Spoils a copy of GRUB's environment, 1 or 2.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn spoil_grub_environment(&self, copy: u8) -> Result<()> {
        let mut spoilt = tempfile::NamedTempFile::new()?;
        spoilt.write_all(&[0xa5; 1024])?;
        let start = self.layout.boot.start;
        Tool::new("mcopy", "mtools", 0)
            .args(["-o", "-i"])
            .arg(format!("{}@@{start}", self.path.display()))
            .arg(spoilt.path())
            .arg(format!("::/{GRUB_STORE}/mender_grubenv{copy}/env"))
            .run()?;
        Ok(())
    }

    fn environment_part(&self, copy: usize) -> Result<Part> {
        let copies = self.layout.environment.context("no environment")?;
        copies.get(copy).copied().context("there are two copies")
    }

    /// The SHA-256 of the first `length` bytes of a root part.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn root_sum(&self, number: u32, length: u64) -> Result<String> {
        let part = self.layout.root(number).context("no such root part")?;
        let (_, sum) = sum_of(&mut self.part(part, length)?)?;
        Ok(sum)
    }

    /// Overwrites a stretch of the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let file = File::options().write(true).open(&self.path)?;
        file.write_all_at(bytes, offset)
            .with_context(|| format!("cannot write to {}", self.path.display()))
    }

    /// Puts a root file system into a root part.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn write_root(&self, number: u32, image: &Path) -> Result<()> {
        let part = self.layout.root(number).context("no such root part")?;
        self.erase(part)?;
        copy_part(
            image,
            &mut File::options().write(true).open(&self.path)?,
            part,
        )
    }

    /// Fills a part with zeros.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn erase(&self, part: Part) -> Result<()> {
        let file = File::options().write(true).open(&self.path)?;
        let zeros = vec![0; 1 << 20];
        let mut offset = part.start;
        while offset < part.end() {
            let room = part.end().saturating_sub(offset).min(1 << 20);
            let zeros = zeros.get(..usize::try_from(room)?).unwrap_or_default();
            file.write_all_at(zeros, offset)?;
            offset = offset.saturating_add(room);
        }
        Ok(())
    }

    /// The content of a file on the data partition, as the machine would find it.
    ///
    /// # Errors
    /// When there is none.
    pub fn read_data(&self, path: &str) -> Result<Vec<u8>> {
        let copy = self.data_copy()?;
        read_file(copy.path(), Path::new(path))
    }

    /// Puts a file onto the data partition.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn write_data(&self, path: &str, content: &[u8]) -> Result<()> {
        let copy = self.data_copy()?;
        add_file(copy.path(), path, content)?;
        self.erase(self.layout.data)?;
        let mut disk = File::options().write(true).open(&self.path)?;
        copy_part(copy.path(), &mut disk, self.layout.data)
    }

    /// A copy of the data partition, its journal replayed.
    fn data_copy(&self) -> Result<tempfile::NamedTempFile> {
        let mut copy = tempfile::NamedTempFile::new()?;
        let part = self.layout.data;
        std::io::copy(&mut self.part(part, part.size)?, copy.as_file_mut())?;
        // 1 says that it has mended something; only what is worse fails.
        Tool::new("e2fsck", "e2fsprogs", 0)
            .arg("-fy")
            .arg(copy.path())
            .run_with(&[0, 1])
            .context("the data partition is damaged")?;
        Ok(copy)
    }

    fn part(&self, part: Part, length: u64) -> Result<Take<File>> {
        let mut file = self.open()?;
        file.seek(SeekFrom::Start(part.start))?;
        Ok(file.take(length.min(part.size)))
    }

    fn open(&self) -> Result<File> {
        File::open(&self.path).with_context(|| format!("cannot open {}", self.path.display()))
    }
}
