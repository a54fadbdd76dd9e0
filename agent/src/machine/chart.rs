//! The charts in ARCHITECTURE.md, drawn from [`step`] and [`resume`] themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{
    Boot, Call, Effect, Mode, Outcome, Point, State, Step, begin, commit, effect, proceed, resume,
    rollback, step,
};
use crate::opening::Opening;
use crate::record::{Contents, Origin, Reboot, Record};
use crate::slots::Slot;

/// What each kind of outcome is called in a chart.
fn outcomes(effect: Effect) -> Vec<(&'static str, Outcome)> {
    let server = |openings: &[Opening]| Origin::Server {
        id: "id".into(),
        url: "https://".into(),
        openings: openings.to_vec(),
    };
    let contents = |payload: Option<&str>| {
        let contents = Contents {
            name: "new".into(),
            group: None,
            payload: payload.map(str::to_owned),
            provides: None,
            clears_provides: None,
        };
        Outcome::Opened(contents, None)
    };
    let mut outcomes = vec![("failed", Outcome::Failed)];
    match effect {
        Effect::Pause | Effect::End => return Vec::new(),
        Effect::Sync => {
            outcomes.push(("", Outcome::Done));
            let opening = Opening { from: 0, until: 1 };
            for openings in [&[][..], &[opening]] {
                outcomes.push(("offered", Outcome::Offered(server(openings))));
            }
        }
        Effect::Open => {
            outcomes.push(("", contents(Some("module"))));
            outcomes.push(("no payload", contents(None)));
        }
        Effect::Call(Call::NeedsReboot) => {
            outcomes.push(("no reboot needed", Outcome::Reboot(Reboot::No)));
            outcomes.push(("", Outcome::Reboot(Reboot::Automatic)));
        }
        Effect::Call(Call::SupportsRollback) => {
            outcomes.push(("no rollback possible", Outcome::RollbackSupported(false)));
            outcomes.push(("", Outcome::RollbackSupported(true)));
        }
        Effect::Report(_) => {
            outcomes.push(("", Outcome::Done));
            outcomes.push(("withdrawn", Outcome::Withdrawn));
        }
        Effect::Deliver => outcomes.push(("", Outcome::Delivered(1))),
        Effect::Wait | Effect::Await | Effect::Scripts(..) | Effect::Fetch | Effect::Call(_) => {
            outcomes.push(("", Outcome::Done));
        }
    }
    outcomes
}

/// Every edge between two states, with what leads along it, and every record on the way.
struct Chart {
    edges: BTreeMap<(State, State), BTreeSet<String>>,
    points: BTreeMap<Point, Record>,
}

impl Chart {
    fn draw(mode: Mode) -> Chart {
        let mut chart = Chart {
            edges: BTreeMap::new(),
            points: BTreeMap::new(),
        };
        let idle = Record::new(BTreeMap::new());
        let mut seen = Vec::new();
        let mut open = vec![match mode {
            Mode::Managed => idle,
            Mode::Standalone => {
                let first = begin(idle.clone(), Origin::Standalone { source: "f".into() }).unwrap();
                chart.edge(idle.at, first.at, "install");
                first
            }
        }];
        while let Some(record) = open.pop() {
            if seen.contains(&record) {
                continue;
            }
            seen.push(record.clone());
            if record.deployment.is_some() {
                chart
                    .points
                    .entry(record.at)
                    .or_insert_with(|| record.clone());
            } else if mode == Mode::Standalone {
                continue;
            }
            let boot = Boot {
                running: None,
                upgrade_available: false,
            };
            let asked = [
                ("commit", commit(record.clone(), boot)),
                ("rollback", rollback(record.clone())),
                ("resume", proceed(record.clone(), boot)),
            ];
            let mut next: Vec<(&str, Record)> = Vec::new();
            if effect(&record) == Effect::Pause {
                next.extend(
                    asked
                        .into_iter()
                        .filter_map(|(name, r)| Some((name, r.ok()?))),
                );
            }
            for (name, outcome) in outcomes(effect(&record)) {
                next.push((name, step(record.clone(), outcome)));
            }
            for (name, mut record_after) in next {
                // Neither grows without bound in a chart.
                record_after.reports.clear();
                if let Some(deployment) = &mut record_after.deployment {
                    deployment.setbacks = 0;
                }
                chart.edge(record.at, record_after.at, name);
                open.push(record_after);
            }
        }
        chart
    }

    fn edge(&mut self, from: Point, to: Point, name: &str) {
        let repeats = (from.step, to.step) == (Step::Verify, Step::Main);
        if from.state != to.state || repeats {
            // Error scripts run after a failure, whatever they return themselves.
            let name = if from.step == Step::Error {
                "failed"
            } else {
                name
            };
            self.edges
                .entry((from.state, to.state))
                .or_default()
                .insert(name.to_owned());
        }
    }

    fn mermaid(&self) -> String {
        let mut text = String::from("```mermaid\nstateDiagram-v2\n    [*] --> Idle\n");
        for ((from, to), names) in &self.edges {
            let names: Vec<&str> = names
                .iter()
                .map(String::as_str)
                .filter(|name| !name.is_empty())
                .collect();
            let plain = self.edges[&(*from, *to)].contains("");
            let label = match (plain, names.as_slice()) {
                (true, []) => String::new(),
                (true, names) => format!(" : done, {}", names.join(", ")),
                (false, names) => format!(" : {}", names.join(", ")),
            };
            text += &format!("    {from:?} --> {to:?}{label}\n");
        }
        text + "```\n"
    }
}

/// Which steps each state has.
fn steps() -> String {
    let mut text =
        String::from("| state | the daemon's steps | at the command line |\n|---|---|---|\n");
    let states = [
        State::Idle,
        State::Sync,
        State::Download,
        State::ArtifactInstall,
        State::ArtifactReboot,
        State::ArtifactCommit,
        State::ArtifactRollback,
        State::ArtifactRollbackReboot,
        State::ArtifactFailure,
        State::Cleanup,
    ];
    for state in states {
        let list = |mode| {
            if mode == Mode::Standalone && [State::Idle, State::Sync].contains(&state) {
                return String::from("–");
            }
            let steps: Vec<String> = Point::walk(state, mode)
                .iter()
                .map(|step| format!("{step:?}"))
                .collect();
            if steps.is_empty() {
                String::from("–")
            } else {
                steps.join(" → ")
            }
        };
        text += &format!(
            "| {state:?} | {} | {} |\n",
            list(Mode::Managed),
            list(Mode::Standalone)
        );
    }
    text
}

/// Where an interruption at each point leads: for an update module, and where it differs for a
/// root file system that the boot loader has already been told to keep.
fn interruptions(chart: &Chart) -> String {
    let judged = |record: &Record, target: Option<Slot>| {
        let mut record = record.clone();
        if let Some(deployment) = &mut record.deployment {
            deployment.paused = false;
            deployment.target = target;
        }
        let after = resume(
            record,
            Boot {
                running: Some(Slot::B),
                upgrade_available: false,
            },
        );
        match after.deployment {
            Some(_) => format!("{:?}, {:?}", after.at.state, after.at.step),
            None => "Idle; the deployment is forgotten".to_owned(),
        }
    };
    let mut leads: BTreeMap<(State, String), Vec<String>> = BTreeMap::new();
    for (point, record) in &chart.points {
        let (module, image) = (judged(record, None), judged(record, Some(Slot::B)));
        let to = match module == image {
            true => module,
            false => format!("{module}; a root file system: {image}"),
        };
        leads
            .entry((point.state, to))
            .or_default()
            .push(format!("{:?}", point.step));
    }
    let mut text = String::from("| interrupted in | at step | goes on with |\n|---|---|---|\n");
    for ((state, to), steps) in leads {
        text += &format!("| {state:?} | {} | {to} |\n", steps.join(", "));
    }
    text
}

#[test]
fn the_charts_in_the_architecture_are_what_the_machine_does() {
    let (managed, standalone) = (Chart::draw(Mode::Managed), Chart::draw(Mode::Standalone));
    let drawn = format!(
        "### Steps\n\n{}\n### The daemon\n\n{}\n### The command line\n\n{}\n### After an interruption (daemon)\n\n{}",
        steps(),
        managed.mermaid(),
        standalone.mermaid(),
        interruptions(&managed),
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- charts: begin -->\n", "<!-- charts: end -->");
    let (before, rest) = text.split_once(begin).expect("the begin mark");
    let (there, after) = rest.split_once(end).expect("the end mark");
    if there != drawn {
        if std::env::var_os("UPDATE_CHARTS").is_some() {
            crate::durable::replace(
                &path,
                format!("{before}{begin}{drawn}{end}{after}").as_bytes(),
            )
            .unwrap();
            return;
        }
        panic!("the charts have changed: run UPDATE_CHARTS=1 cargo test -p tandem-agent charts");
    }
}
