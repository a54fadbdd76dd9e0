//! Where everything is: one directory, and a mount namespace that nobody else sees.
//!
//! What is mounted in the namespace is gone when the program is, however it ends. A directory that
//! was made here is removed; one that was named stays, with images and artifacts for the next time.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tandem_e2e::leave_mounts;

/// The directory.
#[derive(Debug)]
pub(crate) struct Workplace {
    dir: PathBuf,
    keep: bool,
}

impl Workplace {
    /// Leaves the machine's mounts behind and enters `dir`, or a new directory without one.
    ///
    /// # Errors
    /// Without root, or when the directory cannot be made.
    pub(crate) fn enter(dir: Option<&Path>) -> Result<Workplace> {
        leave_mounts().context("cannot get a mount namespace (this needs root)")?;
        let (dir, keep) = match dir {
            Some(dir) => (dir.to_owned(), true),
            None => {
                let name = format!("tandem-bench.{}", std::process::id());
                // Not /tmp, which may be memory.
                (Path::new("/var/tmp").join(name), false)
            }
        };
        let attempt = || format!("cannot make the directory {}", dir.display());
        DirBuilder::new()
            .mode(0o700)
            .recursive(keep)
            .create(&dir)
            .with_context(attempt)?;
        let dir = fs::canonicalize(&dir).with_context(attempt)?;
        Ok(Workplace { dir, keep })
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Mounts a file system on the directory `name`, which is made.
    pub(crate) fn mount(
        &self,
        name: &str,
        source: &Path,
        kind: &str,
        options: &str,
    ) -> Result<PathBuf> {
        let place = self.path(name);
        fs::create_dir_all(&place)?;
        mount(
            Some(source),
            &place,
            Some(kind),
            MsFlags::empty(),
            Some(options),
        )
        .with_context(|| format!("cannot mount {} on {}", source.display(), place.display()))?;
        Ok(place)
    }

    /// The file `name`, made by `make` under another name unless it is there already: half a file
    /// never counts.
    pub(crate) fn once(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let path = self.path(name);
        if path.exists() {
            return Ok(path);
        }
        let part = self.path(&format!("part.{name}"));
        remove_if_there(&part)?;
        make(&part).with_context(|| format!("cannot make {}", path.display()))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "after a power cut it is made again"
        )]
        fs::rename(&part, &path)?;
        Ok(path)
    }

    /// Detaches what is mounted below the directory.
    fn unmount(&self) -> Result<()> {
        while let Some(place) = self.mounted_below()? {
            umount2(&place, MntFlags::MNT_DETACH)
                .with_context(|| format!("cannot unmount {}", place.display()))?;
        }
        Ok(())
    }

    /// The last thing mounted below the directory.
    fn mounted_below(&self) -> io::Result<Option<PathBuf>> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        Ok(places
            .map(PathBuf::from)
            .rfind(|place| place.starts_with(&self.dir)))
    }

    /// Leaves nothing behind that was not asked for. Nothing is removed through a mount.
    fn leave(&self) -> Result<()> {
        self.unmount()?;
        if self.keep {
            return Ok(());
        }
        ensure!(
            self.mounted_below()?.is_none(),
            "something is still mounted"
        );
        fs::remove_dir_all(&self.dir)?;
        Ok(())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(err) = self.leave() {
            crate::say(&format!("cannot clean up {}: {err:#}", self.dir.display()));
        }
    }
}

/// Removes a file if there is one.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Writes a small file that nobody misses after a power cut.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "nobody misses it")]
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
