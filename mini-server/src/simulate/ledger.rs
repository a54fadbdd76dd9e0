//! What was seen: how long answers took, what went wrong, how deployments went.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tandem_api::DeploymentStatus;

use super::device::Doing;
use super::fate::State;
use super::latencies::Latencies;
use super::line::Trouble;
use crate::admin::output::{Table, inert};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Token,
    Poll,
    Inventory,
    Status,
    Log,
    Download,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Poll => "poll",
            Self::Inventory => "inventory",
            Self::Status => "status",
            Self::Log => "log",
            Self::Download => "download",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Result {
    /// What was to come.
    Good,
    /// The server asks to come later (429, 503).
    Later(u16),
    /// The server does not know the token any more, or does not let the device in (401).
    Outside,
    /// Another status.
    Refused(u16),
    /// No answer.
    Trouble(Trouble),
}

/// A request and its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) kind: Kind,
    pub(super) took: Duration,
    pub(super) result: Result,
}

/// What happened to a deployment on a device.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// It was offered, and taken.
    Taken {
        deployment: Box<str>,
        release: String,
    },
    /// The device has reported how it ended.
    Ended(Box<str>, DeploymentStatus),
    /// The server has withdrawn it.
    Withdrawn(Box<str>),
    /// The device has vanished, or is back.
    Vanished(Box<str>),
    Back(Box<str>),
}

/// How a deployment went.
#[derive(Debug, Clone, Default)]
struct Tally {
    release: String,
    taken: u64,
    success: u64,
    failure: u64,
    already_installed: u64,
    withdrawn: u64,
    vanished: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    kinds: BTreeMap<Kind, Latencies>,
    /// Polls since the last line.
    recent: Latencies,
    errors: BTreeMap<(Kind, String), u64>,
    /// Answers that were no errors and not what was asked for.
    waits: BTreeMap<(Kind, String), u64>,
    deployments: BTreeMap<Box<str>, Tally>,
    downloaded: u64,
}

/// Deployments that are told apart.
const DEPLOYMENTS: usize = 10_000;

impl Ledger {
    /// Notes a request.
    pub(super) fn note(&mut self, sample: Sample) {
        let Sample { kind, took, result } = sample;
        let mut count = |map: fn(&mut Self) -> &mut BTreeMap<(Kind, String), u64>, what: String| {
            let count = map(self).entry((kind, what)).or_default();
            *count = count.saturating_add(1);
        };
        match result {
            Result::Good => {}
            Result::Later(status) => count(|all| &mut all.waits, format!("{status}, come later")),
            Result::Outside => count(|all| &mut all.waits, "401".to_owned()),
            Result::Refused(status) => count(|all| &mut all.errors, status.to_string()),
            Result::Trouble(trouble) => count(|all| &mut all.errors, trouble.as_str().to_owned()),
        }
        if let Result::Trouble(_) = result {
            return;
        }
        self.kinds.entry(kind).or_default().add(took);
        if kind == Kind::Poll {
            self.recent.add(took);
        }
    }

    /// Notes bytes that were downloaded.
    pub(super) fn fetched(&mut self, bytes: u64) {
        self.downloaded = self.downloaded.saturating_add(bytes);
    }

    /// Notes what happened to a deployment.
    pub(super) fn happened(&mut self, event: Event) {
        let (deployment, release) = match &event {
            Event::Taken {
                deployment,
                release,
            } => (deployment, Some(release)),
            Event::Ended(deployment, _)
            | Event::Withdrawn(deployment)
            | Event::Vanished(deployment)
            | Event::Back(deployment) => (deployment, None),
        };
        if self.deployments.len() >= DEPLOYMENTS && !self.deployments.contains_key(deployment) {
            return;
        }
        let tally = self.deployments.entry(deployment.clone()).or_default();
        if let Some(release) = release {
            tally.release.clone_from(release);
        }
        let one_more = |count: &mut u64| *count = count.saturating_add(1);
        match event {
            Event::Taken { .. } => one_more(&mut tally.taken),
            Event::Ended(_, DeploymentStatus::Success) => one_more(&mut tally.success),
            Event::Ended(_, DeploymentStatus::AlreadyInstalled) => {
                one_more(&mut tally.already_installed);
            }
            Event::Ended(_, _) => one_more(&mut tally.failure),
            Event::Withdrawn(_) => one_more(&mut tally.withdrawn),
            Event::Vanished(_) => one_more(&mut tally.vanished),
            Event::Back(_) => tally.vanished = tally.vanished.saturating_sub(1),
        }
    }

    /// Forgets how long answers took so far: what comes now is measured.
    pub(super) fn begin(&mut self) {
        self.kinds.clear();
        self.recent.clear();
    }

    /// Errors so far.
    pub(super) fn errors(&self) -> u64 {
        self.errors.values().copied().fold(0, u64::saturating_add)
    }

    /// Answers that no device expects.
    pub(super) fn refusals(&self) -> u64 {
        let outage = |what: &str| Trouble::ALL.iter().any(|one| one.as_str() == what);
        let refused = self.errors.iter().filter(|((_, what), _)| !outage(what));
        refused
            .map(|(_, count)| *count)
            .fold(0, u64::saturating_add)
    }

    /// A line about the time since the last one.
    pub(super) fn line(&mut self, since: Duration, doing: &Census) -> String {
        let rate = self.recent.count() as f64 / since.as_secs_f64().max(0.001);
        let (p50, p99) = (self.recent.percentile(50), self.recent.percentile(99));
        let longest = self.recent.longest();
        let mut text = format!(
            "polls {rate:.0}/s  p50 {} p99 {} max {} ms  {}",
            millis(p50),
            millis(p99),
            millis(longest),
            doing.text()
        );
        let sum = |of: fn(&Tally) -> u64| self.deployments.values().map(of).sum::<u64>();
        for (what, count) in [
            ("success", sum(|tally| tally.success)),
            ("failure", sum(|tally| tally.failure)),
            ("withdrawn", sum(|tally| tally.withdrawn)),
        ] {
            if count > 0 {
                text.push_str(&format!("  {what} {count}"));
            }
        }
        text.push_str(&format!("  errors {}", self.errors()));
        self.recent.clear();
        text
    }

    /// All of it, for programs.
    pub(super) fn json(&self, time: Duration, doing: &Census) -> Value {
        let requests: serde_json::Map<String, Value> = self
            .kinds
            .iter()
            .map(|(kind, all)| {
                let value = json!({
                    "count": all.count(),
                    "per_second": all.count() as f64 / time.as_secs_f64().max(0.001),
                    "p50_ms": all.percentile(50).as_secs_f64() * 1e3,
                    "p99_ms": all.percentile(99).as_secs_f64() * 1e3,
                    "max_ms": all.longest().as_secs_f64() * 1e3,
                });
                (kind.as_str().to_owned(), value)
            })
            .collect();
        let counts = |map: &BTreeMap<(Kind, String), u64>| {
            let named = map.iter().map(|((kind, what), count)| {
                (format!("{}: {what}", kind.as_str()), Value::from(*count))
            });
            Value::Object(named.collect())
        };
        let deployments: Vec<Value> = self
            .deployments
            .iter()
            .map(|(id, tally)| {
                json!({
                    "id": id, "artifact_name": tally.release, "taken": tally.taken, "success": tally.success,
                    "failure": tally.failure, "already-installed": tally.already_installed,
                    "withdrawn": tally.withdrawn, "vanished": tally.vanished,
                })
            })
            .collect();
        json!({
            "seconds": time.as_secs_f64(), "devices": doing.json(), "requests": requests,
            "errors": counts(&self.errors), "waits": counts(&self.waits), "deployments": deployments,
            "bytes_downloaded": self.downloaded,
        })
    }

    /// All of it, for people.
    pub(super) fn table(&self, time: Duration, doing: &Census) -> String {
        let mut requests = Table::new(&[
            "REQUESTS",
            "COUNT",
            "PER SECOND",
            "P50 MS",
            "P99 MS",
            "MAX MS",
        ]);
        for (kind, all) in &self.kinds {
            requests.row([
                kind.as_str().to_owned(),
                all.count().to_string(),
                format!("{:.1}", all.count() as f64 / time.as_secs_f64().max(0.001)),
                millis(all.percentile(50)),
                millis(all.percentile(99)),
                millis(all.longest()),
            ]);
        }
        let mut text = requests.render();
        let maps = [("WAITED", &self.waits), ("ERRORS", &self.errors)];
        for (head, map) in maps.into_iter().filter(|(_, map)| !map.is_empty()) {
            let mut table = Table::new(&[head, "WHY", "COUNT"]);
            for ((kind, what), count) in map {
                table.row([kind.as_str().to_owned(), what.clone(), count.to_string()]);
            }
            text.push_str(&format!("\n{}", table.render()));
        }
        if !self.deployments.is_empty() {
            let mut table = Table::new(&[
                "DEPLOYMENT",
                "ARTIFACT",
                "TAKEN",
                "SUCCESS",
                "FAILURE",
                "ALREADY",
                "WITHDRAWN",
                "VANISHED",
            ]);
            for (id, tally) in &self.deployments {
                table.row([
                    id.to_string(),
                    tally.release.clone(),
                    tally.taken.to_string(),
                    tally.success.to_string(),
                    tally.failure.to_string(),
                    tally.already_installed.to_string(),
                    tally.withdrawn.to_string(),
                    tally.vanished.to_string(),
                ]);
            }
            text.push_str(&format!("\n{}", table.render()));
        }
        text.push_str(&format!(
            "\n{} in {:.0} s: {}\n",
            if self.errors() == 0 {
                "no errors".to_owned()
            } else {
                format!("{} errors", self.errors())
            },
            time.as_secs_f64(),
            inert(&doing.text())
        ));
        text
    }
}

/// How many devices do what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Census {
    outside: u64,
    idle: u64,
    at: [u64; 4],
    vanished: u64,
}

const AT: [State; 4] = [
    State::Downloading,
    State::Installing,
    State::Rebooting,
    State::Committing,
];

impl Census {
    /// Of all these.
    pub(super) fn of(all: impl Iterator<Item = Doing>) -> Self {
        let mut census = Self::default();
        for doing in all {
            let count = match doing {
                Doing::Outside => Some(&mut census.outside),
                Doing::Idle => Some(&mut census.idle),
                Doing::Vanished => Some(&mut census.vanished),
                Doing::At(state) => {
                    let place = AT.iter().position(|one| *one == state);
                    place.and_then(|n| census.at.get_mut(n))
                }
            };
            if let Some(count) = count {
                *count = count.saturating_add(1);
            }
        }
        census
    }

    /// Devices that are not let in.
    pub(super) fn outside(&self) -> u64 {
        self.outside
    }

    fn all(&self) -> Vec<(&'static str, u64)> {
        let mut all = vec![("outside", self.outside), ("idle", self.idle)];
        all.extend(
            AT.iter()
                .zip(self.at)
                .map(|(state, count)| (state.as_str(), count)),
        );
        all.push(("vanished", self.vanished));
        all
    }

    fn text(&self) -> String {
        let some = self.all().into_iter().filter(|(_, count)| *count > 0);
        let some: Vec<String> = some
            .map(|(what, count)| format!("{what} {count}"))
            .collect();
        some.join(" ")
    }

    fn json(&self) -> Value {
        let all = self.all().into_iter();
        Value::Object(
            all.map(|(what, count)| (what.to_owned(), count.into()))
                .collect(),
        )
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
