//! The daemon's side of the effects that need the server.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use log::{debug, info, warn};
use tandem_api::DeploymentStatus;
use tandem_artifact::Provides;

use crate::backoff::{Backoff, chance};
use crate::config::Config;
use crate::download::{Renew, Renewed};
use crate::machine::{Outcome, Status};
use crate::record::{FinalReport, Origin, Record, Verdict};
use crate::schedule::{Errand, Schedule};
use crate::server::{Heard, Server, Trouble};
use crate::stop::Stop;
use crate::{deployment_log, device_type, inventory};

/// The first pause of an update that cannot reach the server.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The link to the server, and when it is used.
pub(crate) struct Link<'a> {
    config: &'a Config,
    stop: &'a Stop,
    /// Shared with a download, which may have to ask for a new address.
    server: Rc<RefCell<Server<'a>>>,
    /// What is due when.
    pub(crate) schedule: Schedule,
    /// What the device is talking to the server for.
    pub(crate) errand: Errand,
    /// The last request got an answer: it is worth telling what is not necessary.
    up: bool,
}

impl<'a> Link<'a> {
    /// A link that has not been used yet.
    ///
    /// # Errors
    /// When TLS or the device's key cannot be set up.
    pub(crate) fn new(config: &'a Config, stop: &'a Stop) -> Result<Link<'a>> {
        Ok(Link {
            config,
            stop,
            server: Rc::new(RefCell::new(Server::new(config, stop)?)),
            schedule: Schedule::new(
                config.inventory_poll_interval,
                config.update_poll_interval,
                config.retry_poll_interval,
                Instant::now(),
            ),
            errand: Errand::Inventory,
            up: false,
        })
    }

    /// The connection that downloads use too.
    pub(crate) fn agent(&self) -> ureq::Agent {
        self.server.borrow().agent()
    }

    /// Does what the device talks to the server for.
    pub(crate) fn sync(&mut self, record: &Record) -> Outcome {
        let done = match self.errand {
            Errand::Inventory => self.send_inventory(&record.installed),
            Errand::Deployment => self.ask(&record.installed),
        };
        match done {
            Ok(outcome) => {
                self.up = true;
                self.schedule.worked(self.errand);
                outcome
            }
            Err(trouble) => self.failed(self.errand, &trouble),
        }
    }

    fn send_inventory(&mut self, installed: &Provides) -> Result<Outcome, Trouble> {
        let device_type = device_type::read(&self.config.device_type_file)?;
        let attributes = inventory::read(
            &self.config.inventory_dirs,
            device_type,
            installed,
            self.stop,
        )?;
        self.server.borrow_mut().send_inventory(&attributes)?;
        Ok(Outcome::Done)
    }

    fn ask(&mut self, installed: &Provides) -> Result<Outcome, Trouble> {
        let device_type = device_type::read(&self.config.device_type_file)?;
        let offered = self
            .server
            .borrow_mut()
            .next_deployment(&device_type, installed)?;
        if offered.is_none() && !self.server.borrow().knows_inventory() {
            // A server that has just let the device in need not wait hours to know it.
            self.schedule.wanted(Errand::Inventory, Instant::now());
        }
        Ok(offered.map_or(Outcome::Done, Outcome::Offered))
    }

    /// Reports how far the deployment is.
    pub(crate) fn report(&mut self, deployment: &str, status: Status) -> Outcome {
        let word = match status {
            Status::Downloading => DeploymentStatus::Downloading,
            Status::Installing => DeploymentStatus::Installing,
            Status::Rebooting => DeploymentStatus::Rebooting,
            Status::Reachable => return self.prove_reachable(deployment),
        };
        match self.server.borrow_mut().report(deployment, word, None) {
            Ok(Heard::Yes) => {
                self.up = true;
                Outcome::Done
            }
            Ok(Heard::Withdrawn) => withdrawn(),
            Err(trouble) => {
                warn!("cannot report {word}: {:#}; going on", trouble.why);
                self.up = false;
                Outcome::Done
            }
        }
    }

    /// Adds to the last status what is going on. Worth one attempt, and only while all is well.
    pub(crate) fn report_detail(&mut self, deployment: &str, word: DeploymentStatus, detail: &str) {
        if self.up {
            self.report_wait(deployment, word, detail);
        }
    }

    /// The same about something that will take long: worth one attempt in any case.
    pub(crate) fn report_wait(&mut self, deployment: &str, word: DeploymentStatus, detail: &str) {
        let told = self
            .server
            .borrow_mut()
            .report(deployment, word, Some(detail));
        self.up = told.is_ok();
        if let Err(trouble) = told {
            debug!("cannot report {detail:?}: {:#}", trouble.why);
        }
    }

    /// Shows that the new system reaches the server, as a device that comes for the first time
    /// would: with a new token.
    fn prove_reachable(&mut self, deployment: &str) -> Outcome {
        self.server.borrow_mut().forget_token();
        let mut backoff = Backoff::new(FIRST_PAUSE, self.config.retry_poll_interval);
        loop {
            let trouble = match self.server.borrow_mut().report(
                deployment,
                DeploymentStatus::Installing,
                None,
            ) {
                Ok(Heard::Yes) => return Outcome::Done,
                Ok(Heard::Withdrawn) => return withdrawn(),
                Err(trouble) => trouble,
            };
            if trouble.wait.is_none() && backoff.failed() >= self.config.retry_poll_count {
                warn!(
                    "the server cannot be reached since the update: {:#}",
                    trouble.why
                );
                return Outcome::Failed;
            }
            // A server that says when to come again is reachable; that does not cost patience.
            let pause = match trouble.wait {
                Some(wait) => wait,
                None => backoff.after_failure(chance()),
            };
            warn!(
                "cannot reach the server: {:#}; again in {} s",
                trouble.why,
                pause.as_secs()
            );
            if self.stop.wait(pause) {
                return Outcome::Failed;
            }
        }
    }

    /// Delivers the reports that are due, oldest first.
    pub(crate) fn deliver(&mut self, reports: &[FinalReport]) -> Outcome {
        let mut delivered: usize = 0;
        for report in reports {
            if let Err(trouble) = self.deliver_one(report) {
                let failed = self.failed(Errand::Deployment, &trouble);
                return if delivered > 0 {
                    Outcome::Delivered(delivered)
                } else {
                    failed
                };
            }
            delivered = delivered.saturating_add(1);
        }
        self.up = true;
        Outcome::Delivered(delivered)
    }

    fn deliver_one(&mut self, report: &FinalReport) -> Result<(), Trouble> {
        let mut server = self.server.borrow_mut();
        if report.verdict == Verdict::Failure {
            // The log first: who sees the failure then finds the reason with it.
            match deployment_log::messages(&self.config.update_log_path, &report.deployment) {
                Err(err) => warn!("{err:#}; reporting without"),
                Ok(messages) => match server.send_log(&report.deployment, &messages) {
                    Err(trouble) if !trouble.answered => return Err(trouble),
                    Err(trouble) => warn!("{:#}; reporting without", trouble.why),
                    Ok(()) => {}
                },
            }
        }
        match server.report_verdict(&report.deployment, report.verdict)? {
            Heard::Yes => info!(
                "reported {:?} of deployment {}",
                report.verdict, report.deployment
            ),
            Heard::Withdrawn => info!(
                "the server does not want to know of deployment {} any more",
                report.deployment
            ),
        }
        Ok(())
    }

    /// An errand that has to be tried again.
    fn failed(&mut self, errand: Errand, trouble: &Trouble) -> Outcome {
        warn!("{:#}", trouble.why);
        self.up = false;
        self.schedule
            .failed(errand, trouble.wait, Instant::now(), chance());
        Outcome::Failed
    }

    /// Gets a new address for the artifact of `deployment`.
    pub(crate) fn renew(&self, deployment: &str, installed: &Provides) -> Renew<'a> {
        let server = Rc::clone(&self.server);
        let (deployment, installed) = (deployment.to_owned(), installed.clone());
        let config = self.config;
        Rc::new(move || {
            let device_type = device_type::read(&config.device_type_file)?;
            let offered = server
                .borrow_mut()
                .next_deployment(&device_type, &installed);
            Ok(match offered.map_err(|trouble| trouble.why)? {
                Some(Origin::Server { id, url, .. }) if id == deployment => Renewed::Address(url),
                Some(_) => Renewed::Gone(anyhow!("the server offers another deployment now")),
                None => Renewed::Gone(anyhow!("the server does not offer the deployment any more")),
            })
        })
    }
}

fn withdrawn() -> Outcome {
    warn!("the server has withdrawn the deployment");
    Outcome::Withdrawn
}
