//! A device whose media are recorded: block devices over the files that [`crate::fuse`] serves.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tandem_e2e::LoopDevice;

use crate::fuse::{self, Shared};
use crate::log::{Event, Log, Media, Medium};
use crate::phase::Phase;
use crate::tool::run;

/// Whether the recorder has the block devices open all the time.
///
/// What a program wrote to a device and did not sync, the kernel hands to the device when the last
/// who has it open closes it. Nobody else has a device's spare root part open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It has: only what is synced is sure to be handed over.
    Open,
    /// It has not: what is closed is handed over, though not flushed.
    Closed,
}

/// A block device over one of the recorder's files.
enum Attached {
    Held(LoopDevice),
    Watched(Watched),
}

impl Attached {
    fn path(&self) -> &Path {
        match self {
            Attached::Held(device) => device.path(),
            Attached::Watched(device) => &device.path,
        }
    }
}

/// A loop device that is not open here. A process of its own takes it down when this one is gone,
/// however that happens.
struct Watched {
    path: PathBuf,
    watcher: Child,
}

impl Watched {
    fn attach(file: &Path) -> Result<Watched> {
        let found = run(Command::new("losetup").args(["--find", "--show"]).arg(file))?;
        let path = PathBuf::from(String::from_utf8(found)?.trim_end());
        let watcher = Command::new("sh")
            .args(["-c", "cat; losetup --detach \"$1\"", "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        run(Command::new("blockdev").arg("--setrw").arg(&path))?;
        Ok(Watched { path, watcher })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// Media that are recorded, as block devices.
pub(crate) struct Recorder {
    place: PathBuf,
    shared: Shared,
    devices: Vec<Attached>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Recorder {
    /// Begins to record. The media are at `disk/environment`, `disk/root2`, `disk/root3` and
    /// `disk/data` in `dir`.
    pub(crate) fn start(dir: &Path, before: Media, hold: Hold) -> Result<Recorder> {
        let channel = File::options().read(true).write(true).open("/dev/fuse")?;
        let place = dir.join("recorded");
        fs::create_dir_all(&place)?;
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0",
            channel.as_raw_fd()
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(
            Some("crash"),
            &place,
            Some("fuse"),
            flags,
            Some(options.as_str()),
        )
        .context("cannot mount the recorder (FUSE)")?;
        let log = Log {
            before: before.clone(),
            events: Vec::new(),
        };
        let shared = Arc::new(Mutex::new((log, before)));
        let served = Arc::clone(&shared);
        let server = std::thread::spawn(move || fuse::serve(channel, &served));
        let mut devices = Vec::new();
        for medium in Medium::ALL {
            let file = place.join(medium.file());
            let device = match hold {
                Hold::Open => Attached::Held(LoopDevice::attach(&file, run)?),
                Hold::Closed => Attached::Watched(Watched::attach(&file)?),
            };
            let name = dir.join("disk").join(medium.file());
            if name.symlink_metadata().is_ok() {
                fs::remove_file(&name)?;
            }
            symlink(device.path(), name)?;
            devices.push(device);
        }
        Ok(Recorder {
            place,
            shared,
            devices,
            server,
        })
    }

    /// The device begins with something; all that it said before is acknowledged.
    pub(crate) fn mark(&self, phase: Phase) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.0.events.push(Event::Mark(phase));
    }

    /// Ends the recording.
    pub(crate) fn stop(self) -> Result<Log> {
        drop(self.devices);
        umount2(&self.place, MntFlags::MNT_DETACH)?;
        self.server
            .join()
            .map_err(|_| anyhow!("the recorder failed"))??;
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(shared.0.clone())
    }
}
