//! The device: the one place that turns the machine's effects into actions.

use std::cell::OnceCell;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use log::{error, info, warn};
use tandem_api::{DeploymentStatus, Timestamp};
use tandem_artifact::{Artifact, PublicKey, ROOTFS_CHECKSUM, SignatureStatus, Verification};
use tandem_state_scripts as scripts;
use tandem_state_scripts::child::Limits;
use tandem_state_scripts::{Action, OnError, Runner, ScriptName, State as ScriptState};

use crate::boot::BootLoader;
use crate::boot::contract::Facts;
use crate::config::{Config, Signers};
use crate::link::Link;
use crate::machine::{Boot, Call, Effect, Mode, Outcome, Step};
use crate::opening::{self, Turn};
use crate::record::{Contents, Deployment, Origin, Record};
use crate::slots::{Slot, Slots};
use crate::source::{Pieces, Source};
use crate::stop::Stop;
use crate::update_module::{self, UpdateModule};
use crate::{device_type, http, logger, reboot, rootfs_image, source, watchdog};

/// The device that this program runs on, as far as one deployment needs it.
pub(crate) struct Device<'a> {
    config: &'a Config,
    stop: &'a Stop,
    boot_loader: OnceCell<BootLoader<'a>>,
    /// The link to the server; only the daemon has one.
    pub(crate) link: Option<Link<'a>>,
    /// The deployment whose log is open.
    logged: Option<String>,
    /// The artifact between the moment its header has been read and that of its payload.
    artifact: Option<Artifact<Source<'a>>>,
    /// The same artifact, to be read in pieces.
    pieces: Option<Pieces<'a>>,
}

impl<'a> Device<'a> {
    /// The device that `config` describes.
    pub(crate) fn new(config: &'a Config, stop: &'a Stop) -> Device<'a> {
        Device {
            config,
            stop,
            boot_loader: OnceCell::new(),
            link: None,
            logged: None,
            artifact: None,
            pieces: None,
        }
    }

    /// Does what the machine asks for. Why something failed goes to the log.
    pub(crate) fn perform(&mut self, effect: Effect, record: &Record) -> Outcome {
        match self.try_to(effect, record) {
            Ok(outcome) => outcome,
            Err(err) => {
                error!("{err:#}");
                Outcome::Failed
            }
        }
    }

    fn try_to(&mut self, effect: Effect, record: &Record) -> Result<Outcome> {
        match effect {
            Effect::Scripts(state, action) => self.run_scripts(state, action, record),
            Effect::Open => self.open(record),
            Effect::Fetch => self.fetch(record),
            Effect::Call(call) => self.call(call, record),
            Effect::Sync => Ok(self.link()?.sync(record)),
            Effect::Deliver => Ok(self.link()?.deliver(&record.reports)),
            Effect::Report(status) => {
                let id = server_id(record).context("the deployment is not a server's")?;
                Ok(self.link()?.report(id, status))
            }
            Effect::Await => self.wait_for_opening(record),
            Effect::Wait | Effect::Pause | Effect::End => Ok(Outcome::Done),
        }
    }

    /// Sees to it that the log goes where the deployment in `record` wants it.
    pub(crate) fn follow(&mut self, record: &Record) {
        let id = server_id(record);
        if id == self.logged.as_deref() {
            return;
        }
        match id {
            Some(id) => logger::deployment_begins(&self.config.update_log_path, id),
            None => logger::deployment_ends(),
        }
        self.logged = id.map(str::to_owned);
    }

    fn link(&mut self) -> Result<&mut Link<'a>> {
        self.link.as_mut().context("there is no link to a server")
    }

    /// What the boot loader and the kernel say about a deployment of a root file system.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(crate) fn boot(&self) -> Result<Boot> {
        let facts = self.boot_loader()?.facts()?;
        Ok(Boot {
            running: facts.running,
            upgrade_available: facts.upgrade_available,
        })
    }

    /// Everything that they say, if this device has two root parts and they can be asked.
    pub(crate) fn boot_if_set_up(&self) -> Option<Facts> {
        self.config.rootfs_parts.as_ref()?;
        self.boot_loader().and_then(|boot| boot.facts()).ok()
    }

    fn boot_loader(&self) -> Result<&BootLoader<'a>> {
        if let Some(boot_loader) = self.boot_loader.get() {
            return Ok(boot_loader);
        }
        let parts = self.config.rootfs_parts.as_ref().context(
            "this device is not set up for root file systems: set rootfs_part_a and rootfs_part_b",
        )?;
        let boot_loader = BootLoader::new(&self.config.boot_environment, Slots::new(parts))?;
        Ok(self.boot_loader.get_or_init(|| boot_loader))
    }

    fn run_scripts(
        &mut self,
        state: ScriptState,
        action: Action,
        record: &Record,
    ) -> Result<Outcome> {
        let standalone = record.mode() == Mode::Standalone;
        let Some(mode) = scripts::mode_of(state, action, standalone) else {
            return Ok(Outcome::Done);
        };
        // Leaving a state that has failed: everything that can still be tidied up is.
        let mode = if record.at.step == Step::Error {
            OnError::Continue
        } else {
            mode
        };
        self.tell_of_scripts(state, action, record);
        let runner = Runner {
            rootfs_dir: self.config.scripts_dir.clone(),
            artifact_dir: self.config.data_dir.join("scripts"),
            limits: Limits::new(self.config.state_script_timeout),
            retry_interval: self.config.state_script_retry_interval,
            retry_timeout: self.config.state_script_retry_timeout,
            env: script_environment(record),
            stop: Some(self.stop.fd()),
        };

        let count =
            scripts::list(runner.directory(state), state, action).map_or(0, |found| found.len());
        let longest = runner
            .longest()
            .saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        watchdog::allow(longest);
        let mut log =
            |script: &ScriptName, stream, line: &str| info!("{script} ({stream}): {line}");
        runner
            .run(state, action, mode, &mut log)
            .with_context(|| format!("the {state}_{action} scripts fail"))?;
        Ok(Outcome::Done)
    }

    /// Waits until the deployment may be installed.
    ///
    /// # Errors
    /// When it may not be any more, or the program is to stop.
    fn wait_for_opening(&mut self, record: &Record) -> Result<Outcome> {
        /// The clock may be set meanwhile.
        const STEP: Duration = Duration::from_secs(60);
        let deployment = record.deployment.as_ref();
        let openings = deployment.map_or(&[][..], |deployment| deployment.origin.openings());
        let mut told = None;
        loop {
            match opening::turn(openings, SystemTime::now().into()) {
                Turn::Now => return Ok(Outcome::Done),
                Turn::ClockIsWrong => {
                    warn!(
                        "the clock shows a time before this was offered: not waiting for a maintenance window"
                    );
                    return Ok(Outcome::Done);
                }
                Turn::Over => bail!("the maintenance windows that the server named are over"),
                Turn::Wait(until, left) => {
                    if told != Some(until) {
                        told = Some(until);
                        info!("waiting for the maintenance window, which opens at {until}");
                        self.tell_of_opening(record, until);
                    }
                    ensure!(!self.stop.wait(left.min(STEP)), "interrupted");
                }
            }
        }
    }

    fn tell_of_opening(&mut self, record: &Record, until: Timestamp) {
        if let (Some(link), Some(id)) = (&mut self.link, server_id(record)) {
            let words = format!("Waiting for the maintenance window, which opens at {until}");
            link.report_wait(id, DeploymentStatus::Downloading, &words);
        }
    }

    /// Tells the server which scripts are about to run: they may take long, or ask a person.
    fn tell_of_scripts(&mut self, state: ScriptState, action: Action, record: &Record) {
        let (Some(link), Some(id)) = (&mut self.link, server_id(record)) else {
            return;
        };
        let (word, dir) = match state {
            ScriptState::Download => (
                DeploymentStatus::Downloading,
                self.config.scripts_dir.clone(),
            ),
            ScriptState::ArtifactInstall | ScriptState::ArtifactCommit => (
                DeploymentStatus::Installing,
                self.config.data_dir.join("scripts"),
            ),
            ScriptState::ArtifactReboot => (
                DeploymentStatus::Rebooting,
                self.config.data_dir.join("scripts"),
            ),
            ScriptState::Idle
            | ScriptState::Sync
            | ScriptState::ArtifactRollback
            | ScriptState::ArtifactRollbackReboot
            | ScriptState::ArtifactFailure => return,
        };
        // What is wrong with the directory shows when the scripts are run.
        let names = scripts::list(&dir, state, action).unwrap_or_default();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        if !names.is_empty() {
            link.report_detail(id, word, &format!("Executing script: {}", names.join(", ")));
        }
    }

    /// Reads the artifact's header, and prepares everything that is not yet the payload.
    fn open(&mut self, record: &Record) -> Result<Outcome> {
        let deployment = deployment(record)?;
        let (address, renew) = match (&deployment.origin, &self.link) {
            (Origin::Standalone { source }, _) => (source, None),
            (Origin::Server { id, url, .. }, Some(link)) => {
                ensure!(
                    url.starts_with("https://"),
                    "the server's address {url:?} is not one with TLS"
                );
                (url, Some(link.renew(id, &record.installed)))
            }
            (Origin::Server { .. }, None) => bail!("there is no link to a server"),
        };
        let verification = self.verification()?;
        let agent = || match &self.link {
            Some(link) => Ok(link.agent()),
            None => http::agent(self.config),
        };
        let source = source::open(address, agent, renew, self.config, self.stop)?;
        let pieces = source.pieces()?;
        let artifact = Artifact::open(source, &verification)
            .with_context(|| format!("cannot use the artifact {address}"))?;
        let header = artifact.header();
        match artifact.signature() {
            SignatureStatus::Verified { key } => {
                info!(
                    "artifact {:?} is signed by the holder of {key}",
                    header.name()
                );
            }
            SignatureStatus::NotChecked | SignatureStatus::Unsigned => warn!(
                "artifact {:?} is NOT VERIFIED: no artifact_verify_key is set, so anyone could have made it",
                header.name()
            ),
        }
        let device_type = device_type::read(&self.config.device_type_file)?;
        let mismatches = header.depends().mismatches(&device_type, &record.installed);
        if !mismatches.is_empty() {
            let reasons: Vec<_> = mismatches.iter().map(ToString::to_string).collect();
            bail!(
                "artifact {:?} is not for this device: {}",
                header.name(),
                reasons.join("; ")
            );
        }
        let payload = header
            .payload_type()
            .map(|payload| payload.as_str().to_owned());
        let target = match payload.as_deref() {
            None => None,
            Some(rootfs_image::TYPE) => Some(rootfs_image::target(self.boot_loader()?)?),
            Some(payload) => {
                UpdateModule::find(payload, self.config, self.stop)?;
                update_module::tree::create(
                    &self.config.data_dir,
                    header,
                    &record.installed,
                    &device_type,
                )?;
                None
            }
        };
        let scripts = header
            .scripts()
            .iter()
            .map(|script| (script.name.as_str(), script.content.as_slice()));
        scripts::store(&self.config.data_dir.join("scripts"), scripts)
            .context("cannot store the artifact's state scripts")?;
        let contents = Contents {
            name: header.name().to_owned(),
            group: header.group().map(str::to_owned),
            payload,
            provides: header.provides().cloned(),
            clears_provides: header.clears_provides().map(<[String]>::to_vec),
        };
        self.artifact = Some(artifact);
        self.pieces = pieces;
        Ok(Outcome::Opened(contents, target))
    }

    /// Who may have signed the artifact.
    fn verification(&self) -> Result<Verification> {
        match &self.config.signers {
            Signers::Anybody => Ok(Verification::off()),
            Signers::Nobody => bail!(
                "refusing every artifact, since it could not be told who made it: set artifact_verify_key to the signer's public key, or allow_unsigned = true"
            ),
            Signers::Keys(paths) => {
                let keys = paths.iter().map(|path| {
                    let attempt = || format!("cannot use the verification key {}", path.display());
                    let pem = std::fs::read(path).with_context(attempt)?;
                    PublicKey::from_pem(&path.display().to_string(), &pem).with_context(attempt)
                });
                Ok(Verification::by(keys.collect::<Result<_>>()?)?)
            }
        }
    }

    /// Reads the payload to where it belongs.
    fn fetch(&mut self, record: &Record) -> Result<Outcome> {
        let artifact = self.artifact.take().context("the artifact is not open")?;
        let pieces = self.pieces.take();
        let _lowered = self.config.install_priority.lower();
        match handler(deployment(record)?) {
            Handler::None => {
                artifact.finish()?;
            }
            Handler::RootfsImage(target) => {
                let installed = record.installed.get(ROOTFS_CHECKSUM).map(String::as_str);
                let fallback = self.config.whole_artifact_fallback;
                let (boot, stop) = (self.boot_loader()?, self.stop);
                rootfs_image::fetch(artifact, pieces, target, installed, fallback, boot, stop)?;
            }
            Handler::Module(payload) => {
                UpdateModule::find(payload, self.config, self.stop)?.fetch(artifact)?;
            }
        }
        Ok(Outcome::Done)
    }

    /// One call to the payload's handler.
    fn call(&mut self, call: Call, record: &Record) -> Result<Outcome> {
        // Whatever comes now, nothing more is read from it.
        self.artifact = None;
        self.pieces = None;
        if call == Call::Commit {
            // A system whose own scripts this program cannot run must not stay.
            scripts::check_version(&self.config.scripts_dir)?;
        }
        let deployment = deployment(record)?;
        let reboots = matches!(call, Call::Reboot | Call::RollbackReboot);
        if reboots && deployment.reboot == crate::record::Reboot::Automatic {
            reboot::device(&self.config.reboot_command, self.stop)?;
            return Ok(Outcome::Done);
        }
        match handler(deployment) {
            Handler::None => Ok(Outcome::Done),
            Handler::RootfsImage(target) => {
                rootfs_image::call(call, target, record.mode(), self.boot_loader()?)
            }
            Handler::Module(payload) => {
                UpdateModule::find(payload, self.config, self.stop)?.call(call)
            }
        }
    }
}

/// Who installs a payload.
enum Handler<'a> {
    /// Nobody: there is none, or it is not known yet.
    None,
    /// This program, into that root part.
    RootfsImage(Slot),
    /// The update module of that name.
    Module(&'a str),
}

fn handler(deployment: &Deployment) -> Handler<'_> {
    let payload = deployment
        .artifact
        .as_ref()
        .and_then(|artifact| artifact.payload.as_deref());
    match (payload, deployment.target) {
        (None, _) => Handler::None,
        (Some(_), Some(target)) => Handler::RootfsImage(target),
        (Some(payload), None) => Handler::Module(payload),
    }
}

/// The id of the deployment in progress, if it is a server's.
fn server_id(record: &Record) -> Option<&str> {
    match record
        .deployment
        .as_ref()
        .map(|deployment| &deployment.origin)
    {
        Some(Origin::Server { id, .. }) => Some(id),
        Some(Origin::Standalone { .. }) | None => None,
    }
}

fn deployment(record: &Record) -> Result<&Deployment> {
    record
        .deployment
        .as_ref()
        .ok_or_else(|| anyhow!("there is no deployment"))
}

/// What state scripts learn about the deployment, beyond what Mender's client tells them.
fn script_environment(record: &Record) -> Vec<(String, String)> {
    let Some(deployment) = &record.deployment else {
        return Vec::new();
    };
    let mut environment = Vec::new();
    if let Origin::Server { id, .. } = &deployment.origin {
        environment.push(("TANDEM_DEPLOYMENT_ID".to_owned(), id.clone()));
    }
    if let Some(artifact) = &deployment.artifact {
        environment.push(("TANDEM_ARTIFACT_NAME".to_owned(), artifact.name.clone()));
    }
    environment
}
