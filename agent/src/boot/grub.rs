//! GRUB's environment, in the two copies that the boot scripts `grub-mender-grubenv` keep on the
//! boot partition.
//!
//! GRUB overwrites the blocks of files that exist; it can neither create nor grow one. So here
//! too every file is overwritten in place: one that is truncated first, and hit by a power cut
//! then, is lost to GRUB.
//!
//! `mender_boot_part_hex` is neither written nor read: GRUB does not know it, so that it would say
//! something else after GRUB has rolled back.

mod block;
mod copies;
#[cfg(test)]
mod replay;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tandem_uboot_env::Guard;

use super::environment::{Environment, Reading};
use super::{BOOT_PART, BOOTCOUNT, UPGRADE_AVAILABLE};
use block::{Block, TooBig};
use copies::{Copies, Copy, Part, Which, Write};

/// What the tools of the boot scripts lock.
const LOCK: &str = "/var/lock/grub-mender-grubenv-set.lock";

/// The environment of GRUB.
pub(super) struct Grub {
    dir: PathBuf,
    parts: [u32; 2],
}

impl Grub {
    /// The environment in `dir`, which selects between root parts of these numbers.
    pub(super) fn new(dir: &Path, parts: [u32; 2]) -> Grub {
        Grub {
            dir: dir.to_owned(),
            parts,
        }
    }

    /// What the files hold. That one cannot be read is as if it were empty: the other copy may do.
    fn load(&self) -> (Copies, Vec<String>) {
        let mut complaints = Vec::new();
        let mut content = |which, part| {
            let path = self.path(which, part);
            read_some(&path).unwrap_or_else(|err| {
                complaints.push(format!("cannot read {}: {err}", path.display()));
                Vec::new()
            })
        };
        let [one, two] = [Which::One, Which::Two].map(|which| Copy {
            env: content(which, Part::Env),
            lock: content(which, Part::Lock),
            lock_sum: content(which, Part::LockSum),
        });
        (Copies { one, two }, complaints)
    }

    fn path(&self, which: Which, part: Part) -> PathBuf {
        let copy = match which {
            Which::One => "mender_grubenv1",
            Which::Two => "mender_grubenv2",
        };
        let file = match part {
            Part::Env => "env",
            Part::Lock => "lock",
            Part::LockSum => "lock.sha256sum",
        };
        self.dir.join(copy).join(file)
    }

    /// What the boot loader goes by, and what to say about it. Where both copies are there and neither makes sense that is
    /// its default, with which it has started this system: the first root part, and no trial.
    fn decisive(
        &self,
        copies: &Copies,
        complaints: &[String],
    ) -> Result<(Which, Block, Vec<String>)> {
        if let Some((which, block)) = copies.source(self.parts) {
            return Ok((which, block, copies.complaints(which)));
        }
        if !complaints.is_empty() {
            return Err(self.no_copy(complaints));
        }
        let mut default = Block::default();
        default.set(BOOT_PART, &self.parts[0].to_string());
        default.set(UPGRADE_AVAILABLE, "0");
        default.set(BOOTCOUNT, "0");
        let warning = "both copies are damaged: the boot loader goes by its default; the next write repairs them";
        Ok((Which::One, default, vec![warning.to_owned()]))
    }

    /// Why nothing can be read.
    fn no_copy(&self, complaints: &[String]) -> anyhow::Error {
        let mut message = format!(
            "no copy is good in {}: mount the boot partition there, or set grub_env_dir",
            self.dir.display()
        );
        for complaint in complaints {
            message.push_str("; ");
            message.push_str(complaint);
        }
        anyhow::Error::msg(message)
    }
}

impl Environment for Grub {
    fn read(&self) -> Result<Reading> {
        let (copies, mut warnings) = self.load();
        let (_, block, more) = self.decisive(&copies, &warnings)?;
        warnings.extend(more);
        Ok(Reading {
            variables: block
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            warnings,
        })
    }

    fn write(&self, variables: &[(&str, String)]) -> Result<Vec<String>> {
        let guard = Guard::on(Path::new(LOCK))?;
        let (copies, complaints) = self.load();
        let (which, current, _) = self.decisive(&copies, &complaints)?;
        let mut wanted = current.clone();
        for (name, value) in variables {
            wanted.set(name, value);
        }
        let writes = match copies.change((which, &current), &wanted) {
            Ok(writes) => writes,
            Err(TooBig) => bail!(
                "the variables take more than the 480 bytes that can be written safely: remove some with grub-editenv"
            ),
        };
        for Write {
            which,
            part,
            content,
        } in &writes
        {
            let path = self.path(*which, *part);
            overwrite(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let (copies, _) = self.load();
        let stored = copies.source(self.parts).map(|(_, block)| block);
        ensure!(
            stored.as_ref() == Some(&wanted),
            "{} does not hold what was written to it",
            self.dir.display()
        );
        Ok(guard
            .warning()
            .map(ToString::to_string)
            .into_iter()
            .collect())
    }

    fn in_hexadecimal(&self) -> bool {
        false
    }

    fn configured_by(&self) -> &'static str {
        "grub_env_dir"
    }
}

/// The content of a file, but no more than any of these files has.
fn read_some(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let most = block::SIZE.saturating_add(1);
    File::open(path)?
        .take(u64::try_from(most).unwrap_or(u64::MAX))
        .read_to_end(&mut content)?;
    Ok(content)
}

/// Puts `content` over what the file holds, onto the medium before this returns. Its blocks stay
/// where they are.
fn overwrite(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.exists()) {
        fs::create_dir(dir)?;
    }
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)?;
    file.write_all(content)?;
    let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if file.metadata()?.len() > length {
        file.set_len(length)?;
    }
    file.sync_all()?;
    match path.parent() {
        Some(dir) if is_new => File::open(dir)?.sync_all(),
        _ => Ok(()),
    }
}
