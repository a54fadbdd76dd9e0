//! How a deployment goes through its devices, on pages: what is asked for in a form, what would come of it, how it goes.

use tandem_api::management::{DeploymentState, NewRollout, PhaseState};

use super::wording::{count, grouped, inert, percent, sentence};
use crate::management::rollouts::{phases, rollout};
use crate::query::Query;
use crate::rollout::{Plan, Threshold, Window, parse_stop, phase_text};
use crate::store::DeploymentRow;

/// What somebody has filled in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RolloutDraft {
    pub(super) phases: String,
    pub(super) start: String,
    pub(super) max_concurrent: String,
    pub(super) stop_after: String,
    pub(super) window: String,
    pub(super) retries: String,
    pub(super) lost_after: String,
}

impl RolloutDraft {
    pub(super) fn of(query: &Query) -> Self {
        let text = |name: &str| query.one(name).unwrap_or_default().trim().to_owned();
        Self {
            phases: text("phases"),
            start: text("start"),
            max_concurrent: text("max_concurrent"),
            stop_after: text("stop_after"),
            window: text("window"),
            retries: text("retries"),
            lost_after: text("lost_after"),
        }
    }

    /// Whether nothing beyond the ordinary is filled in.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same as a request.
    ///
    /// # Errors
    /// With the reason, if it makes no sense.
    pub(super) fn to_wire(&self) -> Result<NewRollout, String> {
        fn given(text: &str) -> Option<&str> {
            Some(text).filter(|text| !text.is_empty())
        }
        let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
        let start = given(&self.start).map(start).transpose()?;
        let window: Option<Window> = given(&self.window).map(str::parse).transpose()?;
        Ok(NewRollout {
            phases: phase_text::complete(phase_text::parse_all(&self.phases)?, start)?,
            max_concurrent: given(&self.max_concurrent).map(number).transpose()?,
            stop_on_failures: given(&self.stop_after).map(parse_stop).transpose()?,
            retries: given(&self.retries)
                .map(|text| text.parse().map_err(|_| format!("{text:?} is no number")))
                .transpose()?,
            maintenance_window: window.as_ref().map(Window::to_wire),
            lost_after_seconds: given(&self.lost_after).map(patience).transpose()?,
        })
    }

    /// The same as a plan.
    ///
    /// # Errors
    /// With the reason, if it makes no sense.
    pub(super) fn plan(&self) -> Result<Plan, String> {
        Plan::from_wire(&self.to_wire()?)
    }
}

/// How long a device may be silent, seconds.
fn patience(text: &str) -> Result<u64, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no time, one is written like 4h"))?;
    Ok(time.as_secs())
}

/// A time as people or browsers write it: `2026-12-01T22:00` is UTC.
fn start(text: &str) -> Result<tandem_api::Timestamp, String> {
    let whole = match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    };
    whole
        .parse()
        .map_err(|_| format!("a start is written like 2026-12-01 22:00 (UTC), not {text:?}"))
}

/// What a plan means for `devices` devices, in sentences.
pub(super) fn foretell(plan: &Plan, devices: u64) -> Result<Vec<String>, String> {
    let mut laid_out = plan.clone();
    let grouped_phases = plan.groups().next().is_some();
    if !grouped_phases {
        let mut members = vec![0; plan.phases.len()];
        if let Some(first) = members.first_mut() {
            *first = devices;
        }
        laid_out.lay_out(&members)?;
    }
    let mut before = 0;
    let mut lines = Vec::new();
    for (number, phase) in (1_u64..).zip(&laid_out.phases) {
        let words = inert(&phase_text::describe(&phase.to_wire()), 200);
        let end = phase.limit.unwrap_or(devices);
        let size = if grouped_phases {
            String::new()
        } else {
            format!(" ({})", count(end.saturating_sub(before), "device"))
        };
        lines.push(format!("Phase {number}: {words}{size}."));
        before = end;
    }
    lines.extend(conditions(plan));
    Ok(lines)
}

/// What holds beside the phases, in sentences.
fn conditions(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(cap) = plan.cap {
        lines.push(format!("At most {} at once.", count(cap, "device")));
    }
    if let Some(threshold) = plan.threshold.as_ref().map(Threshold::to_wire) {
        let failures = threshold.count.map(|failures| count(failures, "failure"));
        let rate = threshold.percent.map(|percent| {
            let minimum = threshold.minimum.unwrap_or_default();
            format!(
                "when {percent} % failed of at least {} that are done",
                count(minimum, "device")
            )
        });
        let both: Vec<String> = failures
            .map(|failures| format!("after {failures}"))
            .into_iter()
            .chain(rate)
            .collect();
        let lost = if threshold.lost {
            "; lost devices count as failures"
        } else {
            ""
        };
        lines.push(format!("It stops itself {}{lost}.", both.join(", or ")));
    }
    match plan.lost_after {
        Some(0) => lines.push("Devices keep their places however long they are silent.".to_owned()),
        Some(seconds) => {
            let time = for_so_long(seconds);
            lines.push(format!("A device that says nothing{time} loses its place."));
        }
        None => {}
    }
    if let Some(window) = &plan.window {
        lines.push(format!("Only {window}."));
    }
    if plan.retries > 0 {
        let tries = if plan.retries == 1 { "try" } else { "tries" };
        lines.push(format!(
            "{} further {tries} on a device on which it fails.",
            plan.retries
        ));
    }
    lines
}

/// ` for 1day 2h`
fn for_so_long(seconds: u64) -> String {
    let time = humantime::format_duration(std::time::Duration::from_secs(seconds));
    format!(" for {time}")
}

/// How a deployment goes.
pub(super) struct RolloutView {
    /// Why nobody begins now; empty if somebody may.
    pub(super) holding: String,
    /// The class of that: `bad` if failures stopped it.
    pub(super) class: &'static str,
    pub(super) can_pause: bool,
    pub(super) can_resume: bool,
    pub(super) can_advance: bool,
    pub(super) phases: Vec<PhaseLine>,
    pub(super) conditions: Vec<String>,
}

/// A phase of it.
pub(super) struct PhaseLine {
    pub(super) number: usize,
    pub(super) words: String,
    pub(super) class: &'static str,
    pub(super) state: &'static str,
    pub(super) begun: String,
    pub(super) percent: u64,
}

impl RolloutView {
    pub(super) fn new(deployment: &DeploymentRow, now: i64) -> Self {
        let open = deployment.state != DeploymentState::Finished;
        let goes = rollout(deployment, now);
        let lines = phases(deployment, now);
        let waiting = lines.iter().any(|phase| phase.state == PhaseState::Waiting);
        let mut conditions = conditions(&deployment.plan);
        if open && goes.lost > 0 {
            conditions.push(format!(
                "{} lost: nothing was heard for long, and others may have their places.",
                count(goes.lost, "device")
            ));
        }
        if deployment.continuous {
            conditions.push("Devices that come to be among those it is for join it.".to_owned());
        }
        Self {
            holding: goes
                .holding
                .map(|why| sentence(&format!("No device begins now: {why}")))
                .unwrap_or_default(),
            class: match goes.paused_by.as_deref() {
                Some("failures") => "bad",
                Some(_) => "warn",
                None => "idle",
            },
            can_pause: open && deployment.progress.halt.is_none(),
            can_resume: open && goes.paused,
            can_advance: open && deployment.progress.halt.is_none() && waiting && !goes.paused,
            phases: (1_usize..)
                .zip(lines)
                .map(|(number, phase)| {
                    let size = phase.size.unwrap_or_default();
                    let (state, class) = match phase.state {
                        PhaseState::Waiting => ("Waiting", "none"),
                        PhaseState::Current => ("Under way", "busy"),
                        PhaseState::Past => ("Past", "ok"),
                    };
                    PhaseLine {
                        number,
                        words: inert(&phase_text::describe(&phase.made), 200),
                        class,
                        state,
                        begun: format!("{} of {}", grouped(phase.device_count), grouped(size)),
                        percent: percent(phase.device_count, size),
                    }
                })
                .collect(),
            conditions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(phases: &str, start: &str) -> RolloutDraft {
        RolloutDraft {
            phases: phases.to_owned(),
            start: start.to_owned(),
            max_concurrent: "5".to_owned(),
            stop_after: "3,10%,lost".to_owned(),
            window: "sat 02:00 4h".to_owned(),
            retries: "1".to_owned(),
            lost_after: "4h".to_owned(),
        }
    }

    #[test]
    fn a_form_says_what_it_would_do() {
        let plan = draft("1\n10%,wait=1h\nrest,pause", "2026-12-01T22:00")
            .plan()
            .unwrap();
        assert_eq!(
            foretell(&plan, 50).unwrap(),
            [
                "Phase 1: 1 device, from 2026-12-01T22:00:00Z (1 device).",
                "Phase 2: 10 % of the devices, 1h after those before are done (5 devices).",
                "Phase 3: all that are left, when somebody says go on (44 devices).",
                "At most 5 devices at once.",
                "It stops itself after 3 failures, or when 10 % failed of at least 10 devices that are done; lost devices count as failures.",
                "A device that says nothing for 4h loses its place.",
                "Only sat 02:00 4h UTC.",
                "1 further try on a device on which it fails.",
            ]
        );
        assert!(foretell(&plan, 5).is_err());
        assert!(draft("x", "").plan().is_err());
        assert!(draft("", "tomorrow").plan().is_err());
        assert!(RolloutDraft::default().plan().unwrap().is_plain());
    }
}
