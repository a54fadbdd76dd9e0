//! Update modules, protocol v3: programs that install every type of payload but `rootfs-image`.
//!
//! A module is called as `MODULE ACTION WORK-TREE` in the work tree; [`tree`] says what is in
//! there, [`stream`] how the payload gets to it. Modules written for Mender's client work unchanged.

mod stream;
pub(crate) mod tree;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use log::{debug, info};
use tandem_artifact::{Artifact, PayloadType};
use tandem_state_scripts::child::{Child, Ending, Limits, Output, Stream};

use crate::config::Config;
use crate::machine::{Call, Outcome};
use crate::reboot;
use crate::record::Reboot;
use crate::stop::Stop;
use crate::watchdog;

/// The longest answer to a question, in bytes; the longest legal one is `Automatic`.
const MAX_ANSWER: usize = 1024;

/// The update module for one type of payload.
pub(crate) struct UpdateModule<'a> {
    program: PathBuf,
    tree: PathBuf,
    timeout: Duration,
    stop: &'a Stop,
}

impl<'a> UpdateModule<'a> {
    /// The module for `payload`, from the first directory that has one.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(payload: &str, config: &Config, stop: &'a Stop) -> Result<UpdateModule<'a>> {
        // A name, never a path: it comes from the artifact, or from the record after it.
        let name = PayloadType::parse(payload)?;
        let places = config
            .modules_dirs
            .iter()
            .map(|dir| dir.join(name.as_str()));
        let program = places
            .clone()
            .find(|path| is_program(path))
            .with_context(|| {
                let places: Vec<_> = places.map(|path| path.display().to_string()).collect();
                format!(
                    "there is no update module for payloads of type {payload:?} (looked for {})",
                    places.join(", ")
                )
            })?;
        let tree = tree::path(&config.data_dir);
        Ok(UpdateModule {
            program,
            tree,
            timeout: config.module_timeout,
            stop,
        })
    }

    /// Reads the payload into the module, or into the work tree if the module does not want it.
    ///
    /// # Errors
    /// When the module fails or breaks the protocol, or the artifact is not what it promises.
    pub(crate) fn fetch<R: Read>(&self, artifact: Artifact<R>) -> Result<()> {
        let with_sizes = match self.ask("ProvidePayloadFileSizes")?.as_str() {
            "Yes" => true,
            "No" | "" => false,
            answer => bail!("the update module answers {answer:?} to ProvidePayloadFileSizes"),
        };
        stream::download(self, artifact, with_sizes)
    }

    /// One call of the protocol.
    ///
    /// # Errors
    /// When the module fails or breaks the protocol.
    pub(crate) fn call(&self, call: Call) -> Result<Outcome> {
        match call {
            Call::NeedsReboot => Ok(Outcome::Reboot(
                match self.ask("NeedsArtifactReboot")?.as_str() {
                    "No" | "" => Reboot::No,
                    "Yes" => Reboot::Yes,
                    "Automatic" => Reboot::Automatic,
                    answer => bail!("the update module answers {answer:?} to NeedsArtifactReboot"),
                },
            )),
            Call::SupportsRollback => Ok(Outcome::RollbackSupported(
                match self.ask("SupportsRollback")?.as_str() {
                    "No" | "" => false,
                    "Yes" => true,
                    answer => bail!("the update module answers {answer:?} to SupportsRollback"),
                },
            )),
            Call::Cleanup => self.clean_up(),
            Call::Reboot | Call::RollbackReboot => {
                self.reboot(action(call))?;
                Ok(Outcome::Done)
            }
            Call::Install
            | Call::VerifyReboot
            | Call::Commit
            | Call::Rollback
            | Call::VerifyRollbackReboot
            | Call::Failure => {
                self.act(action(call))?;
                Ok(Outcome::Done)
            }
        }
    }

    /// Lets the module clean up, and removes its work tree whatever comes of that.
    fn clean_up(&self) -> Result<Outcome> {
        if !self.tree.exists() {
            return Ok(Outcome::Done);
        }
        let cleaned = self.act("Cleanup");
        tree::remove(&self.tree)?;
        cleaned.map(|()| Outcome::Done)
    }

    /// Runs an action.
    fn act(&self, action: &str) -> Result<()> {
        info!("update module: {action}");
        let mut log = log_line;
        let mut child = self.spawn(action, Output::Log, Some(self.stop), &mut log)?;
        judge(child.wait(), action)
    }

    /// Runs an action that reboots something, perhaps this device.
    fn reboot(&self, action: &str) -> Result<()> {
        info!("update module: {action}");
        let mut log = log_line;
        let child = self.spawn(action, Output::Log, None, &mut log)?;
        match reboot::outlive(child, self.stop) {
            Some(ending) => judge(ending, action),
            None => Ok(()),
        }
    }

    /// Asks a question: one line, and nothing else.
    fn ask(&self, question: &str) -> Result<String> {
        debug!("update module: {question}");
        let mut log = log_line;
        let output = Output::Capture(MAX_ANSWER);
        let mut child = self.spawn(question, output, Some(self.stop), &mut log)?;
        judge(child.wait(), question)?;
        let captured = child.captured().context("the answer was not captured")?;
        let answer = String::from_utf8_lossy(&captured.bytes);
        let line = answer.strip_suffix('\n').unwrap_or(&answer);
        ensure!(
            !captured.is_cut && !line.contains('\n'),
            "the update module answers more than one line to {question}"
        );
        Ok(line.to_owned())
    }

    /// Starts the module.
    fn spawn<'c>(
        &self,
        action: &str,
        output: Output,
        stop: Option<&'c Stop>,
        log: &'c mut dyn FnMut(Stream, &str),
    ) -> Result<Child<'c>>
    where
        'a: 'c,
    {
        ensure!(
            self.tree.exists(),
            "the work tree {} is gone",
            self.tree.display()
        );
        let mut command = Command::new(&self.program);
        command.arg(action).arg(&self.tree).current_dir(&self.tree);
        let limits = Limits::new(self.timeout);
        watchdog::allow(limits.longest());
        Ok(Child::spawn(
            &mut command,
            limits,
            output,
            stop.map(Stop::fd),
            log,
        )?)
    }
}

/// The action by which a call is known to a module.
fn action(call: Call) -> &'static str {
    match call {
        Call::Install => "ArtifactInstall",
        Call::NeedsReboot => "NeedsArtifactReboot",
        Call::Reboot => "ArtifactReboot",
        Call::VerifyReboot => "ArtifactVerifyReboot",
        Call::Commit => "ArtifactCommit",
        Call::SupportsRollback => "SupportsRollback",
        Call::Rollback => "ArtifactRollback",
        Call::RollbackReboot => "ArtifactRollbackReboot",
        Call::VerifyRollbackReboot => "ArtifactVerifyRollbackReboot",
        Call::Failure => "ArtifactFailure",
        Call::Cleanup => "Cleanup",
    }
}

fn judge(ending: Ending, action: &str) -> Result<()> {
    ensure!(
        ending.is_success(),
        "the update module fails in {action}: {ending}"
    );
    Ok(())
}

/// A line that a module prints.
fn log_line(stream: Stream, line: &str) {
    info!("update module ({stream}): {line}");
}

/// Whether `path` is a file that can be run.
fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
