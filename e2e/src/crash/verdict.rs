//! What must be true after a power cut; see the anchors of each check.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use tandem_e2e::{Device, LoopDevice, boot, texts};

use crate::cuts::Cut;
use crate::log::Medium;
use crate::scene::{Data, Scene, facts, keep, root_part};
use crate::tool::{output, run};

/// How often a device may be powered up until it is at rest.
const BOOTS: usize = 4;

/// A place where cuts are tried, one after the other.
pub(crate) struct Bench<'a> {
    scene: &'a Scene,
    device: Device,
    data: PathBuf,
}

impl<'a> Bench<'a> {
    /// In `dir`, which is created.
    pub(crate) fn new(scene: &'a Scene, dir: PathBuf) -> Result<Bench<'a>> {
        let device = scene.device(&dir)?;
        let data = device.path("disk").join(Medium::Data.file());
        Ok(Bench {
            scene,
            device,
            data,
        })
    }

    /// Switches the power on again and looks whether all is well; with `next`, whether one more
    /// update works, too.
    ///
    /// # Errors
    /// What is not as it must be.
    pub(crate) fn check(&self, cut: &Cut, option: &str, next: bool) -> Result<()> {
        for medium in Medium::ALL {
            let path = self.device.path("disk").join(medium.file());
            let content = cut.media.get(medium.index()).context("a medium")?;
            keep(&path, content)?;
        }
        let block = LoopDevice::attach(&self.data, run)?;
        let data = Data::mount(block.path(), &self.device, option)?;
        let done = self.settle(cut, next);
        data.unmount()?;
        done?;
        let checked = output(Command::new("e2fsck").arg("-fn").arg(block.path()))?;
        ensure!(
            checked.status.success(),
            "the data partition is damaged: {}",
            texts(&checked).0
        );
        Ok(())
    }

    fn settle(&self, cut: &Cut, next: bool) -> Result<()> {
        let found = facts(&self.device)?;
        ensure!(
            cut.phase.allows(found),
            "the boot environment may not say {found:?} in phase {:?}",
            cut.phase
        );
        // What is selected is whole, and so is what the boot loader would fall back to.
        self.whole(found.part)?;
        if found.trial {
            self.whole(2)?;
        }
        boot(&self.device)?;
        self.installed()?;
        let on_trial = facts(&self.device)?.trial;
        let over = cut.phase.is_over();
        if over {
            let resumed = self.tandem(&["resume"])?;
            ensure!(
                resumed.0 == Some(2),
                "the update was over, but 'resume' finds something to do: {}",
                resumed.1
            );
        }
        let kept = cut.phase.keeps_trial() && on_trial;
        if kept {
            let committed = self.tandem(&["commit"])?;
            ensure!(
                committed.0 == Some(0),
                "what was installed cannot be committed: {}",
                committed.1
            );
        }
        if !over {
            self.rest()?;
        }
        let booted = boot(&self.device)?;
        let end = facts(&self.device)?;
        ensure!(!end.trial, "still on trial");
        ensure!(
            booted.part == end.part,
            "another root part runs than is selected"
        );
        let running = self.whole(booted.part)?;
        let named = self.installed()?;
        ensure!(running == named, "runs {running}, says {named}");
        let provides = self.tandem(&["show-provides"])?;
        let line = format!("rootfs-image.version={named}");
        let told = |line: &str| provides.2.lines().any(|found| found == line);
        ensure!(
            told(&line) || named == "release-1",
            "the provides do not say {line}:\n{}",
            provides.2
        );
        // The new system, once selected for good, stays; and what was kept stays.
        let expected = if (found.part == 3 && !found.trial) || kept {
            "release-2"
        } else if found.part == 3 && found.count > 0 || over {
            "release-1"
        } else {
            named.as_str()
        };
        ensure!(named == expected, "{named} is installed, not {expected}");
        self.scene.check_photos(&self.device)?;
        if next {
            self.one_more_update()?;
        }
        Ok(())
    }

    /// Powers up and resumes until nothing is left to be done.
    fn rest(&self) -> Result<()> {
        for _ in 0..BOOTS {
            let resumed = self.tandem(&["resume"])?;
            if resumed.0 == Some(2) {
                return Ok(());
            }
            boot(&self.device)?;
        }
        bail!("the device never comes to rest");
    }

    fn one_more_update(&self) -> Result<()> {
        let artifact = self.scene.artifact("release-3");
        let (code, log, _) = self.tandem(&["install", &artifact])?;
        ensure!(
            code == Some(0),
            "the next update cannot be installed: {log}"
        );
        let booted = boot(&self.device)?;
        let (code, log, _) = self.tandem(&["commit"])?;
        ensure!(
            code == Some(0),
            "the next update cannot be committed: {log}"
        );
        ensure!(
            self.whole(booted.part)? == "release-3" && self.installed()? == "release-3",
            "the next update is not installed"
        );
        Ok(())
    }

    /// The release that a root part holds.
    fn whole(&self, number: u32) -> Result<&str> {
        let path = self.device.path("disk").join(root_part(number).file());
        let whole = self.scene.whole(&fs::read(path)?);
        whole.with_context(|| format!("root part {number} is not whole"))
    }

    /// What the agent says is installed; its record must be whole for that.
    fn installed(&self) -> Result<String> {
        let (code, log, words) = self.tandem(&["show-artifact"])?;
        ensure!(code == Some(0), "the record cannot be read: {log}");
        Ok(words.trim().to_owned())
    }

    /// Exit code, log, words. The record may never be found damaged.
    fn tandem(&self, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
        let output = self.scene.tandem(&self.device, arguments)?;
        let (words, log) = texts(&output);
        ensure!(
            !log.contains("record of this device is lost"),
            "the record is lost: {log}"
        );
        ensure!(
            output.status.code().is_some_and(|code| code < 100),
            "{arguments:?} ends with {}: {log}",
            output.status
        );
        Ok((output.status.code(), log, words))
    }
}
