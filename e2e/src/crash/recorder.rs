//! A device whose media are recorded: block devices over the files that [`crate::fuse`] serves.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tandem_e2e::LoopDevice;

use crate::fuse::{self, Shared};
use crate::log::{Event, Log, Media, Medium};
use crate::phase::Phase;
use crate::tool::run;

/// Media that are recorded, as block devices.
pub(crate) struct Recorder {
    place: PathBuf,
    shared: Shared,
    devices: Vec<LoopDevice>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Recorder {
    /// Begins to record. The media are at `disk/environment`, `disk/root2`, `disk/root3` and
    /// `disk/data` in `dir`.
    pub(crate) fn start(dir: &Path, before: Media) -> Result<Recorder> {
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
            let device = LoopDevice::attach(&place.join(medium.file()), run)?;
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
