//! One turn of a device: all that it has to say to the server now. The device is changed only by what the server has
//! heard; where an answer is missing the next turn says it again.

use std::time::Duration;

use http::{Method, StatusCode};
use log::{debug, warn};
use serde_json::{Value, json};
use tandem_api::DeploymentStatus;
use tandem_api::device::{
    AUTH_REQUESTS, INVENTORY, LogMessage, LogUpload, NEXT_V2, NextDeployment, StatusReport,
    log_path, status_path,
};
use tokio::time::Instant;

use super::device::{Device, Order};
use super::fate::{Next, State, Way};
use super::fetch;
use super::ledger::{Event, Kind, Result as Outcome, Sample};
use super::line::{Ask, Line, Reply, Trouble};
use super::world::World;
use crate::clock::now;

/// When the device has its next turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum After {
    /// After the time between two polls.
    Poll,
    /// After the time that it is in a state of a deployment.
    Step,
    /// After so long, because something did not work or is to come later.
    Wait(Duration),
    /// When it has downloaded what is at this address; it takes so long if it only pretends to.
    Download(Box<str>, Duration),
    /// Never, or when it is back.
    Vanished,
}

/// What was seen in a turn.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) samples: Vec<Sample>,
    pub(super) events: Vec<Event>,
}

/// The turn ends here.
struct Stop(After);

type Step<T> = Result<T, Stop>;

/// How long somebody waits at most who is not told how long.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

struct Turn<'a> {
    world: &'a World,
    line: &'a mut Line,
    device: &'a mut Device,
    seen: Seen,
    /// When it wanted to ask what it asks now.
    since: Instant,
}

/// Gives the device, which was to come at `due`, its turn; to `arrive` it only asks for a token.
pub(super) async fn take(
    world: &World,
    line: &mut Line,
    device: &mut Device,
    due: Instant,
    arrive: bool,
) -> (After, Seen) {
    if world.options.fresh {
        line.close();
    }
    device.turns = device.turns.wrapping_add(1);
    let mut turn = Turn {
        world,
        line,
        device,
        seen: Seen::default(),
        since: due,
    };
    let outcome = if arrive {
        turn.authenticate().await.map(|()| After::Poll)
    } else {
        turn.all().await
    };
    match outcome {
        Ok(after) => {
            turn.device.attempts = 0;
            (after, turn.seen)
        }
        Err(Stop(after)) => (after, turn.seen),
    }
}

impl Turn<'_> {
    async fn all(&mut self) -> Step<After> {
        if self.device.token.is_none() {
            self.authenticate().await?;
        }
        if self.device.order.is_some() {
            return self.go_on().await;
        }
        self.tell_inventory().await?;
        let Some(offer) = self.poll().await? else {
            return Ok(After::Poll);
        };
        self.take_up(offer).await
    }

    /// Asks for a token.
    async fn authenticate(&mut self) -> Step<()> {
        let Some(papers) = self.world.keys.papers(self.device.number) else {
            warn!("device {} has no key", self.device.number);
            return Err(Stop(After::Vanished));
        };
        let signed = papers.auth_request();
        let ask = Ask {
            method: Method::POST,
            path: AUTH_REQUESTS,
            token: None,
            signature: Some(&signed.signature),
            body: signed.body,
        };
        let reply = self.ask(Kind::Token, &ask).await?;
        match reply.status {
            StatusCode::OK => {
                let token = String::from_utf8_lossy(&reply.body).into_owned();
                self.device.token = Some(token.into());
                self.device.outside = false;
                Ok(())
            }
            StatusCode::UNAUTHORIZED => {
                self.device.token = None;
                self.device.outside = true;
                Err(self.later(None))
            }
            status => Err(self.refused(Kind::Token, status, &reply)),
        }
    }

    /// Tells what is known about the device, if it is time. Whatever comes of it, the device goes on.
    async fn tell_inventory(&mut self) -> Step<()> {
        if self.device.inventory.is_some_and(|at| at > Instant::now()) {
            return Ok(());
        }
        let reply = self
            .with_token(Kind::Inventory, Method::PUT, INVENTORY, &self.inventory())
            .await?;
        if reply.status != StatusCode::OK {
            // The next deployment matters more.
            let _ = self.refused(Kind::Inventory, reply.status, &reply);
        }
        let interval = self.world.options.inventory;
        let wait = self
            .world
            .about(interval, 0.1, self.device.number, self.device.turns);
        self.device.inventory = Instant::now().checked_add(wait);
        Ok(())
    }

    fn inventory(&self) -> Value {
        let (options, number) = (&self.world.options, self.device.number);
        let name = format!("{}-{number:06}", options.fleet.name);
        json!([
            {"name": "device_type", "value": options.device_type},
            {"name": "artifact_name", "value": self.world.name(self.device.runs)},
            {"name": "hostname", "value": name},
            {"name": "kernel", "value": "Linux 6.1.0"},
            {"name": "mem_total_kB", "value": 512 * 1024},
            {"name": "network_interfaces", "value": ["eth0", "wlan0"]},
            {"name": "tandem_version", "value": env!("CARGO_PKG_VERSION")},
        ])
    }

    /// Asks for a deployment.
    async fn poll(&mut self) -> Step<Option<NextDeployment>> {
        let release = self.world.name(self.device.runs);
        let body = json!({
            "device_provides": {
                "device_type": self.world.options.device_type,
                "rootfs-image.version": release,
                "artifact_name": release,
            },
        });
        let reply = self
            .with_token(Kind::Poll, Method::POST, NEXT_V2, &body)
            .await?;
        match reply.status {
            StatusCode::NO_CONTENT => Ok(None),
            StatusCode::OK => match serde_json::from_slice(&reply.body) {
                Ok(offer) => Ok(Some(offer)),
                Err(err) => {
                    warn!("an offer cannot be understood: {err}");
                    Err(self.refused(Kind::Poll, reply.status, &reply))
                }
            },
            status => Err(self.refused(Kind::Poll, status, &reply)),
        }
    }

    /// Takes a deployment that was offered.
    async fn take_up(&mut self, offer: NextDeployment) -> Step<After> {
        let release = self.world.number(&offer.artifact.artifact_name);
        let deployment: Box<str> = offer.id.into();
        self.seen.events.push(Event::Taken {
            deployment: deployment.clone(),
            release: offer.artifact.artifact_name,
        });
        if release == self.device.runs {
            return self
                .end(&deployment, DeploymentStatus::AlreadyInstalled)
                .await;
        }
        let fate = self.world.fate(self.device.number, self.device.deployments);
        self.device.deployments = self.device.deployments.saturating_add(1);
        self.device.order = Some(Box::new(Order {
            deployment,
            release,
            source: offer.artifact.source.uri.into(),
            way: Way::new(fate),
            vanished: false,
        }));
        self.go_on().await
    }

    /// The next step of the deployment that it is at.
    async fn go_on(&mut self) -> Step<After> {
        let Some(order) = self.device.order.as_mut() else {
            return Ok(After::Poll);
        };
        if order.vanished {
            order.vanished = false;
            order.way.come_back();
            let deployment = order.deployment.clone();
            self.seen.events.push(Event::Back(deployment));
        }
        let deployment = order.deployment.clone();
        match order.way.next() {
            Next::Vanish => {
                order.vanished = true;
                self.seen.events.push(Event::Vanished(deployment));
                Ok(After::Vanished)
            }
            Next::End(status) => self.end(&deployment, status).await,
            Next::Enter(state, status) => {
                if state == State::Committing {
                    // Whether the new system reaches the server is asked with a new token.
                    self.authenticate().await?;
                }
                if !self.report(&deployment, status).await? {
                    return Ok(After::Poll);
                }
                self.entered(state).await
            }
        }
    }

    async fn entered(&mut self, state: State) -> Step<After> {
        let Some(order) = self.device.order.as_mut() else {
            return Ok(After::Poll);
        };
        order.way.advance();
        if state != State::Downloading {
            return Ok(After::Step);
        }
        let (source, release) = (order.source.clone(), order.release);
        let time = match self.world.options.pace {
            Some(pace) if !self.world.options.download => {
                let size = fetch::size(self.world, release, &source).await;
                let seconds = size.unwrap_or(0) as f64 / pace as f64;
                Duration::from_secs_f64(seconds)
            }
            Some(_) | None => Duration::ZERO,
        };
        Ok(After::Download(source, time))
    }

    /// Reports how far it is; whether it goes on: what the server has withdrawn is let go.
    async fn report(&mut self, deployment: &str, status: DeploymentStatus) -> Step<bool> {
        let report = StatusReport {
            status,
            substate: None,
        };
        let path = status_path(deployment);
        let reply = self
            .with_token(Kind::Status, Method::PUT, &path, &json!(report))
            .await?;
        match reply.status {
            StatusCode::NO_CONTENT => Ok(true),
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => {
                self.device.order = None;
                self.seen
                    .events
                    .push(Event::Withdrawn(deployment.to_owned().into()));
                Ok(false)
            }
            status => Err(self.refused(Kind::Status, status, &reply)),
        }
    }

    /// Reports how it ended, and what is known about it now.
    async fn end(&mut self, deployment: &str, status: DeploymentStatus) -> Step<After> {
        if !self.report(deployment, status).await? {
            return Ok(After::Poll);
        }
        let order = self.device.order.take();
        self.seen
            .events
            .push(Event::Ended(deployment.to_owned().into(), status));
        if status == DeploymentStatus::Failure {
            let state = order.as_ref().and_then(|order| order.way.state());
            self.send_log(deployment, state).await?;
        } else if let Some(order) = order {
            self.device.runs = order.release;
        }
        self.device.inventory = None;
        self.tell_inventory().await?;
        Ok(After::Poll)
    }

    async fn send_log(&mut self, deployment: &str, state: Option<State>) -> Step<()> {
        let line = |level: &str, message: String| LogMessage {
            timestamp: now(),
            level: level.to_owned(),
            message,
        };
        let state = state.map_or("waiting", State::as_str);
        let log = LogUpload {
            messages: vec![
                line("info", format!("the simulated device is {state}")),
                line("error", format!("simulated failure while {state}")),
            ],
        };
        let path = log_path(deployment);
        let reply = self
            .with_token(Kind::Log, Method::PUT, &path, &json!(log))
            .await?;
        if reply.status != StatusCode::NO_CONTENT {
            // As with the agent: the log is for people, the deployment is over without it.
            let _ = self.refused(Kind::Log, reply.status, &reply);
        }
        Ok(())
    }

    /// Asks with the token; one that is no longer good is renewed once.
    async fn with_token(
        &mut self,
        kind: Kind,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Step<Reply> {
        for again in [true, false] {
            let token = self.device.token.take();
            let ask = Ask {
                method: method.clone(),
                path,
                token: token.as_deref(),
                signature: None,
                body: body.to_string().into_bytes(),
            };
            let reply = self.ask(kind, &ask).await;
            if !matches!(&reply, Ok(reply) if reply.status == StatusCode::UNAUTHORIZED) {
                self.device.token = token;
                return reply;
            }
            if again {
                self.authenticate().await?;
            }
        }
        Err(self.later(None))
    }

    /// Asks, and notes how it went. What the server asks to do later ends the turn.
    async fn ask(&mut self, kind: Kind, ask: &Ask<'_>) -> Step<Reply> {
        let options = &self.world.options;
        let answer = self
            .line
            .ask(&options.address, &self.world.connector, ask)
            .await;
        let took = self.since.elapsed();
        self.since = Instant::now();
        let result = match &answer {
            Err(trouble) => Outcome::Trouble(*trouble),
            Ok(reply) => match reply.status {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    Outcome::Later(reply.status.as_u16())
                }
                StatusCode::UNAUTHORIZED => Outcome::Outside,
                // Whoever asked says what it makes of others.
                _ => Outcome::Good,
            },
        };
        self.seen.samples.push(Sample { kind, took, result });
        match answer {
            Ok(reply) if matches!(result, Outcome::Later(_)) => Err(self.later(reply.retry_after)),
            Ok(reply) => Ok(reply),
            Err(trouble) => {
                if trouble == Trouble::TooLate {
                    debug!("device {} got no answer in time", self.device.number);
                }
                Err(self.later(None))
            }
        }
    }

    /// The turn ends with an answer that no device expects.
    fn refused(&mut self, kind: Kind, status: StatusCode, reply: &Reply) -> Stop {
        let text = String::from_utf8_lossy(&reply.body);
        warn!(
            "{kind:?} of device {} was answered {status}: {text}",
            self.device.number
        );
        if let Some(sample) = self.seen.samples.last_mut() {
            sample.result = Outcome::Refused(status.as_u16());
        }
        self.later(None)
    }

    /// Another attempt, when the server says or after a while that doubles.
    fn later(&mut self, told: Option<Duration>) -> Stop {
        let attempts = u32::from(self.device.attempts);
        self.device.attempts = self.device.attempts.saturating_add(1);
        let longest = LONGEST_WAIT.min(self.world.options.poll);
        let (wait, spread) = match told {
            // Not all of those who were told the same at the same time.
            Some(told) => (told.mul_f64(1.1), 0.09),
            None => {
                let doubled = Duration::from_secs(1).saturating_mul(1 << attempts.min(6));
                (doubled.min(longest), 0.5)
            }
        };
        let device = &self.device;
        Stop(After::Wait(self.world.about(
            wait,
            spread,
            device.number,
            device.turns,
        )))
    }
}
