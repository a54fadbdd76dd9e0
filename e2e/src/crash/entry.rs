//! Running a command on a device: with a root part as `/`, in a process of its own.
//!
//! ```text
//! /                                        the root part (ext4, read-only)
//! /usr /dev /sys /proc /tmp /run           see `tandem_e2e::peers::furnish`
//! /disk/environment /disk/root2 /disk/root3 block devices
//! /data                                    the data partition
//! /artifacts                               artifacts
//! /program                                 the directory of the agent's program
//! ```

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::chroot;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Error, Result};
use nix::mount::MsFlags;
use tandem_e2e::leave_mounts;
use tandem_e2e::peers::{attach, furnish};

use crate::log::Medium;

/// The directories that a root file system has for all that.
pub(crate) const PLACES: [&str; 4] = ["disk", "data", "artifacts", "program"];

/// What is said when the device could not be entered: the command has not been run then.
pub(crate) const REFUSED: &str = "cannot enter the device";

/// How to enter a device, and what to do there.
#[derive(Debug, clap::Args)]
pub(crate) struct Entry {
    /// The device's directory
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// The number of the root part that runs
    #[arg(long)]
    pub(crate) part: u32,
    /// What is seen as /artifacts
    #[arg(long)]
    pub(crate) artifacts: PathBuf,
    /// What is seen as /program
    #[arg(long)]
    pub(crate) program: PathBuf,
    /// The command
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

impl Entry {
    /// The same by way of this program's command line. When the command ends, so does all that it
    /// has started: it is the first of its process numbers.
    pub(crate) fn outside(&self) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60"]);
        command.args(["unshare", "--pid", "--fork", "--kill-child", "--"]);
        // Also when the file has been replaced since.
        command.arg(format!("/proc/{}/exe", std::process::id()));
        command.arg("inside");
        command.arg("--dir").arg(&self.dir);
        command.arg("--part").arg(self.part.to_string());
        command.arg("--artifacts").arg(&self.artifacts);
        command.arg("--program").arg(&self.program);
        command.arg("--").args(&self.command);
        command
    }

    /// Enters and becomes the command; comes back only with the reason why that was not possible.
    pub(crate) fn run(&self) -> Error {
        if let Err(err) = self.enter() {
            return err.context(REFUSED);
        }
        let Some((program, arguments)) = self.command.split_first() else {
            return Error::msg("no command");
        };
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", "/root");
        Error::new(command.exec()).context(format!("cannot run {program:?}"))
    }

    fn enter(&self) -> Result<()> {
        const NODES: [Medium; 3] = [Medium::Environment, Medium::RootA, Medium::RootB];
        leave_mounts()?;
        // A mount is known by the name that its device had: on every device, and for whatever
        // asks, the root parts are to have the same. So there is a first root, with that name in
        // it, from which the real one is mounted.
        let stage = self.dir.join("stage");
        fs::create_dir_all(&stage)?;
        let none = MsFlags::empty();
        attach(Path::new("tmpfs"), &stage, "", Some("tmpfs"), none)?;
        for name in ["usr", "dev", "sys", "proc", "tmp", "run", "root"] {
            fs::create_dir(stage.join(name))?;
        }
        for place in PLACES {
            fs::create_dir(stage.join(place))?;
        }
        furnish(&stage)?;
        let bind = MsFlags::MS_BIND;
        for medium in NODES {
            let node = Path::new("disk").join(medium.file());
            #[expect(clippy::disallowed_methods, reason = "it is memory")]
            File::create(stage.join(&node))?;
            let device = fs::canonicalize(self.dir.join(&node))?;
            attach(&device, &stage, &node.to_string_lossy(), None, bind)?;
        }
        attach(&self.dir.join("data"), &stage, "data", None, bind)?;
        attach(&self.artifacts, &stage, "artifacts", None, bind)?;
        attach(&self.program, &stage, "program", None, bind)?;
        chroot(&stage)?;
        std::env::set_current_dir("/")?;

        let root = Path::new("/root");
        let device = PathBuf::from(format!("/disk/root{}", self.part));
        attach(&device, root, "", Some("ext4"), MsFlags::MS_RDONLY)?;
        furnish(root)?;
        for place in PLACES {
            let from = Path::new("/").join(place);
            attach(&from, root, place, None, bind | MsFlags::MS_REC)?;
        }
        chroot(root).context("cannot make the root part the root")?;
        std::env::set_current_dir("/")?;
        Ok(())
    }
}
