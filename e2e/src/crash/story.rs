//! The updates that are recorded.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use tandem_e2e::{Device, boot, texts};

use crate::log::{Log, Medium};
use crate::phase::Phase;
use crate::recorder::{Hold, Recorder};
use crate::scene::{Data, Scene};

/// A whole update, from one system at rest to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Story {
    /// Install, boot, commit.
    Commit,
    /// Install, boot, roll back, boot.
    Rollback,
    /// Install, boot, boot again without a commit: the boot loader falls back.
    Fallback,
}

impl Story {
    /// All of them.
    pub(crate) const ALL: [Story; 3] = [Story::Commit, Story::Rollback, Story::Fallback];

    /// Plays it on a device in `dir` whose data partition is mounted with `option`.
    pub(crate) fn record(self, scene: &Scene, dir: &Path, option: &str) -> Result<Log> {
        let device = scene.device(dir)?;
        let recorder = Recorder::start(&device.path(""), scene.before.clone(), Hold::Open)?;
        let data = device.path("disk").join(Medium::Data.file());
        let data = std::fs::canonicalize(data)?;
        ensure!(boot(&device)?.part == 2, "the device starts on root part A");
        // What starting and mounting write before the update is tried, too.
        let mounted = Data::mount(&data, &device, option)?;
        let artifact = scene.artifact("release-2");
        recorder.mark(Phase::Installing);
        says(scene, &device, &["install", &artifact])?;
        recorder.mark(Phase::Installed);
        mounted.unmount()?;
        recorder.mark(Phase::Starting);
        ensure!(boot(&device)?.part == 3, "the new system is tried");
        recorder.mark(Phase::Trial);
        let mounted = Data::mount(&data, &device, option)?;
        match self {
            Story::Commit => {
                recorder.mark(Phase::Committing);
                says(scene, &device, &["commit"])?;
                recorder.mark(Phase::Committed);
            }
            Story::Rollback => {
                recorder.mark(Phase::RollingBack);
                says(scene, &device, &["rollback"])?;
                recorder.mark(Phase::RolledBack);
                ensure!(boot(&device)?.part == 2, "the old system is back");
            }
            Story::Fallback => {
                recorder.mark(Phase::FallingBack);
                ensure!(boot(&device)?.part == 2, "the boot loader falls back");
                recorder.mark(Phase::FellBack);
                scene.tandem(&device, &["resume"])?;
                recorder.mark(Phase::Resumed);
            }
        }
        mounted.unmount()?;
        recorder.stop()
    }
}

/// The agent does what it is asked for.
fn says(scene: &Scene, device: &Device, arguments: &[&str]) -> Result<()> {
    let output = scene.tandem(device, arguments)?;
    let (words, log) = texts(&output);
    ensure!(output.status.success(), "{arguments:?}: {words}\n{log}");
    Ok(())
}
