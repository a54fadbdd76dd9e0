//! Golden chains: which scripts and calls run, in which order, and what the server hears, for
//! faults in every place. The faults are those that Mender's client is tested with; where a chain
//! differs from its own, the case says so.

use std::collections::BTreeMap;

use tandem_state_scripts::{Action, State as ScriptState};

use super::{Boot, Call, Effect, Outcome, Point, State, Status, Step, effect, resume, step};
use crate::opening::Opening;
use crate::record::{Contents, Deployment, Origin, Reboot, Record, Verdict};
use crate::slots::Slot;

/// One case: what goes wrong once, and what is to be seen.
struct Case {
    /// Words (see [`word`]) that fail.
    fails: &'static str,
    /// Words during which the power goes.
    cuts: &'static str,
    /// `no-reboot`, `no-rollback`, `empty`, `aborted=STATUS:n`, `unreachable`, `for-ever`; `window`: it may not be
    /// installed at any time; `image`: a root file system.
    options: &'static str,
    /// What runs.
    chain: &'static str,
    /// What the server is told.
    told: &'static str,
    /// What is installed afterwards.
    name: &'static str,
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb- Com+ COM Com- CLEAN", "downloading installing rebooting installing success", "new"),
    case("", "", "no-reboot no-rollback", "Dl+ DL Dl- Inst+ INST Inst- Com+ COM Com- CLEAN", "downloading installing installing success", "new"),
    case("", "DL", "", "Dl+ DL CLEAN", "downloading failure", "old"),
    case("INST", "", "no-rollback", "Dl+ DL Dl- Inst+ INST Inst! Fail+ FAIL Fail- CLEAN", "downloading installing failure", "mixed"),
    case("", "INST", "no-rollback", "Dl+ DL Dl- Inst+ INST Fail+ FAIL Fail- CLEAN", "downloading installing failure", "mixed"),
    case("INST", "", "", "Dl+ DL Dl- Inst+ INST Inst! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing failure", "old"),
    case("REB", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("", "REB", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb- Com+ COM Com- CLEAN", "downloading installing rebooting installing success", "new"),
    case("VREB RB", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "mixed"),
    case("VREB RBREB", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("VREB VRBREB", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("VREB", "VRBREB", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("INST", "FAIL", "no-rollback", "Dl+ DL Dl- Inst+ INST Inst! Fail+ FAIL Fail+ FAIL Fail- CLEAN", "downloading installing failure", "mixed"),
    case("VREB", "CLEAN", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN CLEAN", "downloading installing rebooting failure", "old"),
    case("COM", "", "no-reboot", "Dl+ DL Dl- Inst+ INST Inst- Com+ COM Com! Rb+ RB Rb- Fail+ FAIL Fail- CLEAN", "downloading installing installing failure", "old"),
    case("", "COM", "no-reboot", "Dl+ DL Dl- Inst+ INST Inst- Com+ COM Rb+ RB Rb- Fail+ FAIL Fail- CLEAN", "downloading installing installing failure", "old"),
    // Without a header there is no update module that could clean up; the call does nothing then.
    case("Dl+", "", "no-rollback", "Dl+ Dl! CLEAN", "downloading failure", "old"),
    case("", "Inst+", "no-rollback", "Dl+ DL Dl- Inst+ Fail+ FAIL Fail- CLEAN", "downloading installing failure", "mixed"),
    case("", "Inst+", "", "Dl+ DL Dl- Inst+ Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing failure", "old"),
    case("Reb+", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("VREB Rb+", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "mixed"),
    case("VREB", "Rb+", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("INST Fail+", "", "", "Dl+ DL Dl- Inst+ INST Inst! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing failure", "mixed"),
    case("Com+", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb- Com+ Com! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting installing failure", "old"),
    case("", "Com+", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb- Com+ Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting installing failure", "old"),
    case("Dl-", "", "no-rollback", "Dl+ DL Dl- Dl! CLEAN", "downloading failure", "old"),
    case("", "Inst-", "no-rollback", "Dl+ DL Dl- Inst+ INST Inst- Fail+ FAIL Fail- CLEAN", "downloading installing failure", "mixed"),
    case("Reb-", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb- Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("VREB Rb-", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "mixed"),
    case("VREB", "Rb-", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("VREB RbReb-", "", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- RbReb! Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "mixed"),
    case("VREB", "RbReb-", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("Com-", "", "no-reboot", "Dl+ DL Dl- Inst+ INST Inst- Com+ COM Com- Com! CLEAN", "downloading installing installing failure", "mixed"),
    case("Com-", "Com!", "no-reboot", "Dl+ DL Dl- Inst+ INST Inst- Com+ COM Com- Com! CLEAN", "downloading installing installing failure", "mixed"),
    case("", "Com-", "no-reboot", "Dl+ DL Dl- Inst+ INST Inst- Com+ COM Com- Com- CLEAN", "downloading installing installing success", "new"),
    // Mender's client forgets here that the update succeeded, and reports a failure.
    case("", "CLEAN", "no-reboot", "Dl+ DL Dl- Inst+ INST Inst- Com+ COM Com- CLEAN CLEAN", "downloading installing installing success", "new"),
    case("Needs", "", "for-ever", "Dl+ DL Dl- Inst+ INST Inst- Rb+ RB Rb- Fail+ FAIL Fail- CLEAN", "downloading installing failure", "mixed"),
    case("", "", "empty", "Dl+ Dl- CLEAN", "downloading success", "new"),
    case("", "", "aborted=downloading:1", "CLEAN", "failure", "old"),
    case("", "", "aborted=installing:1", "Dl+ DL Dl- CLEAN", "downloading failure", "old"),
    case("", "", "aborted=rebooting:1", "Dl+ DL Dl- Inst+ INST Inst- Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing failure", "old"),
    case("", "", "aborted=installing:2 no-rollback", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "mixed"),
    case("", "", "unreachable", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb- Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
    case("", "INST RB", "", "Dl+ DL Dl- Inst+ INST Rb+ RB Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing failure", "old"),
    case("COM", "Rb+ RBREB FAIL CLEAN", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ REB VREB Reb- Com+ COM Com! Rb+ Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail+ FAIL Fail- CLEAN CLEAN", "downloading installing rebooting installing failure", "old"),
    // Maintenance windows: nothing is installed before, and nothing is left when there is none any more.
    case("", "", "window", "Dl+ DL Dl- AWAIT Inst+ INST Inst- Reb+ REB VREB Reb- Com+ COM Com- CLEAN", "downloading installing rebooting installing success", "new"),
    case("AWAIT", "", "window", "Dl+ DL Dl- AWAIT CLEAN", "downloading failure", "old"),
    case("", "AWAIT", "window", "Dl+ DL Dl- AWAIT CLEAN", "downloading failure", "old"),
    case("", "AWAIT", "window image", "Dl+ DL Dl- AWAIT AWAIT Inst+ INST Inst- Reb+ REB VREB Reb- Com+ COM Com- CLEAN", "downloading installing rebooting installing success", "new"),
    case("", "", "window empty", "Dl+ Dl- CLEAN", "downloading success", "new"),
    case("", "Inst+", "window", "Dl+ DL Dl- AWAIT Inst+ Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing failure", "old"),
    // The vetoed reboot has not happened: Mender's client would go on to verify it.
    case("Reb+", "Reb!", "", "Dl+ DL Dl- Inst+ INST Inst- Reb+ Reb! Rb+ RB Rb- RbReb+ RBREB VRBREB RbReb- Fail+ FAIL Fail- CLEAN", "downloading installing rebooting failure", "old"),
];

const fn case(
    fails: &'static str,
    cuts: &'static str,
    options: &'static str,
    chain: &'static str,
    told: &'static str,
    name: &'static str,
) -> Case {
    Case {
        fails,
        cuts,
        options,
        chain,
        told,
        name,
    }
}

/// The short word for an effect; `None` for what a chain does not list.
fn word(effect: Effect) -> Option<String> {
    Some(match effect {
        Effect::Scripts(state, action) => {
            let state = match state {
                ScriptState::Idle => "Idle",
                ScriptState::Sync => "Sync",
                ScriptState::Download => "Dl",
                ScriptState::ArtifactInstall => "Inst",
                ScriptState::ArtifactReboot => "Reb",
                ScriptState::ArtifactCommit => "Com",
                ScriptState::ArtifactRollback => "Rb",
                ScriptState::ArtifactRollbackReboot => "RbReb",
                ScriptState::ArtifactFailure => "Fail",
            };
            let action = match action {
                Action::Enter => "+",
                Action::Leave => "-",
                Action::Error => "!",
            };
            format!("{state}{action}")
        }
        Effect::Fetch => "DL".to_owned(),
        Effect::Await => "AWAIT".to_owned(),
        Effect::Call(call) => match call {
            Call::Install => "INST",
            Call::NeedsReboot => "Needs",
            Call::Reboot => "REB",
            Call::VerifyReboot => "VREB",
            Call::Commit => "COM",
            Call::SupportsRollback => "Supports",
            Call::Rollback => "RB",
            Call::RollbackReboot => "RBREB",
            Call::VerifyRollbackReboot => "VRBREB",
            Call::Failure => "FAIL",
            Call::Cleanup => "CLEAN",
        }
        .to_owned(),
        Effect::Open | Effect::Report(_) | Effect::Deliver => return None,
        Effect::Wait | Effect::Sync | Effect::Pause | Effect::End => return None,
    })
}

/// Takes `word` out of the faults that are still to come.
fn strikes(faults: &mut Vec<&str>, word: &str, for_ever: bool) -> bool {
    match faults.iter().position(|fault| *fault == word) {
        Some(_) if for_ever => true,
        Some(position) => {
            faults.remove(position);
            true
        }
        None => false,
    }
}

#[track_caller]
fn check(case: &Case) {
    let option = |name: &str| case.options.split(' ').any(|option| option == name);
    let aborted: Option<(&str, usize)> = case
        .options
        .split(' ')
        .find_map(|option| option.strip_prefix("aborted="))
        .and_then(|at| at.split_once(':'))
        .map(|(status, count)| (status, count.parse().unwrap()));
    let mut fails: Vec<&str> = case.fails.split_whitespace().collect();
    let mut cuts: Vec<&str> = case.cuts.split_whitespace().collect();
    let mut chain = Vec::new();
    let mut told: Vec<String> = Vec::new();
    let mut attempts = BTreeMap::<&str, usize>::new();

    let opening = Opening { from: 0, until: 1 };
    let origin = Origin::Server {
        id: "id".into(),
        url: "https://".into(),
        openings: option("window").then_some(opening).into_iter().collect(),
    };
    let mut record = Record::new(BTreeMap::from([("artifact_name".into(), "old".into())]));
    record.at = Point::new(State::Download, Step::Report);
    record.deployment = Some(Deployment::new(origin));
    while record.deployment.is_some() {
        let effect = effect(&record);
        let word = word(effect);
        // The answers to questions are no events of their own.
        if let Some(word) = word
            .as_ref()
            .filter(|word| !["Needs", "Supports"].contains(&word.as_str()))
        {
            chain.push(word.clone());
        }
        if word
            .as_ref()
            .is_some_and(|word| strikes(&mut cuts, word, false))
        {
            record = resume(
                record,
                Boot {
                    running: Some(Slot::A),
                    upgrade_available: true,
                },
            );
            continue;
        }
        let outcome = match effect {
            _ if word
                .as_ref()
                .is_some_and(|word| strikes(&mut fails, word, option("for-ever"))) =>
            {
                Outcome::Failed
            }
            Effect::Open => {
                let target = option("image").then_some(Slot::B);
                Outcome::Opened(contents(option("empty")), target)
            }
            Effect::Call(Call::NeedsReboot) if option("no-reboot") => Outcome::Reboot(Reboot::No),
            Effect::Call(Call::NeedsReboot) => Outcome::Reboot(Reboot::Yes),
            Effect::Call(Call::SupportsRollback) => {
                Outcome::RollbackSupported(!option("no-rollback"))
            }
            Effect::Report(Status::Reachable) if option("unreachable") => Outcome::Failed,
            Effect::Report(status) => {
                let status = match status {
                    Status::Downloading => "downloading",
                    Status::Installing | Status::Reachable => "installing",
                    Status::Rebooting => "rebooting",
                };
                let count = attempts.entry(status).or_default();
                *count += 1;
                if aborted == Some((status, *count)) {
                    Outcome::Withdrawn
                } else {
                    told.push(status.to_owned());
                    Outcome::Done
                }
            }
            _ => Outcome::Done,
        };
        record = step(record, outcome);
        assert!(chain.len() < 200, "goes on for ever: {chain:?}");
    }
    told.extend(record.reports.iter().map(|report| {
        match report.verdict {
            Verdict::Success => "success",
            Verdict::Failure => "failure",
        }
        .to_owned()
    }));
    let name = match record.installed.get("artifact_name").map(String::as_str) {
        Some("new_INCONSISTENT") => "mixed",
        Some(name) => name,
        None => "none",
    };
    // A download that an update module receives consists of one call more where there is nothing.
    let empty = option("empty");
    let chain: Vec<String> = chain
        .into_iter()
        .filter(|word| !(empty && word == "DL"))
        .collect();
    let found = (chain.join(" "), told.join(" "), name);
    let expected = (case.chain.to_owned(), case.told.to_owned(), case.name);
    assert_eq!(
        found, expected,
        "fails: {:?}, cuts: {:?}, {}",
        case.fails, case.cuts, case.options
    );
}

fn contents(empty: bool) -> Contents {
    Contents {
        name: "new".into(),
        group: None,
        payload: (!empty).then(|| "module".into()),
        provides: None,
        clears_provides: None,
    }
}

#[test]
fn every_fault_leads_through_its_chain() {
    for case in CASES {
        check(case);
    }
}

#[test]
fn what_goes_round_in_circles_is_given_up() {
    for (fails, cuts, name, told) in [
        ("VREB VRBREB", "", "new_INCONSISTENT", Verdict::Failure),
        ("VREB", "FAIL", "new_INCONSISTENT", Verdict::Failure),
        ("", "Com-", "new_INCONSISTENT", Verdict::Failure),
        // What has been settled stays settled.
        ("", "CLEAN", "new", Verdict::Success),
        ("INST", "CLEAN", "old", Verdict::Failure),
    ] {
        let mut fails: Vec<&str> = fails.split_whitespace().collect();
        let mut cuts: Vec<&str> = cuts.split_whitespace().collect();
        let origin = Origin::Server {
            id: "id".into(),
            url: "https://".into(),
            openings: Vec::new(),
        };
        let mut record = Record::new(BTreeMap::from([("artifact_name".into(), "old".into())]));
        record.at = Point::new(State::Download, Step::Report);
        record.deployment = Some(Deployment::new(origin));
        for _ in 0..300 {
            if record.deployment.is_none() {
                break;
            }
            let effect = effect(&record);
            let word = word(effect).unwrap_or_default();
            record = if strikes(&mut cuts, &word, true) {
                resume(
                    record,
                    Boot {
                        running: Some(Slot::A),
                        upgrade_available: true,
                    },
                )
            } else if strikes(&mut fails, &word, true) {
                step(record, Outcome::Failed)
            } else {
                let outcome = match effect {
                    Effect::Open => Outcome::Opened(contents(false), None),
                    Effect::Call(Call::NeedsReboot) => Outcome::Reboot(Reboot::Yes),
                    Effect::Call(Call::SupportsRollback) => Outcome::RollbackSupported(true),
                    _ => Outcome::Done,
                };
                step(record, outcome)
            };
        }
        assert!(
            record.deployment.is_none(),
            "{fails:?} {cuts:?} is never given up"
        );
        assert_eq!(
            record.installed["artifact_name"], name,
            "{fails:?} {cuts:?}"
        );
        assert_eq!(record.reports[0].verdict, told, "{fails:?} {cuts:?}");
    }
}
