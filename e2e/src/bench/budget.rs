//! What installing may cost, against the peers and by itself. Pure.

use std::fmt;

use crate::case::{Case, Source};
use crate::compression::Compression::{self, Gzip, None as Uncompressed, Xz, Zstd};
use crate::contender::Kind;
use crate::figures::{Figure, Spread, over_slowest_stage, ratios, runs_of};
use crate::lab::Run;
use crate::stage::Alone;

/// The largest program for a device, bytes: 3 MiB.
pub(crate) const PROGRAM_SIZE: u64 = 3 << 20;

/// What the daemon may hold while it waits, MiB, and how often it may wake up in a minute.
pub(crate) const IDLE_MIB: f64 = 6.0;
pub(crate) const IDLE_WAKEUPS: f64 = 2.0;

/// What the peak of memory may differ between artifacts of any sizes, MiB.
pub(crate) const GROWTH_MIB: f64 = 1.0;

/// What installing may take for each unit that the slowest of its stages takes alone.
const STAGES: f64 = 1.4;

/// What installing may leave of the slot in the machine's cache, MiB: that of others is not pushed
/// out for it.
const CACHED_MIB: f64 = 32.0;

/// What installing may hold in memory at once, MiB. zstd's window is in it, and xz's dictionary,
/// which is that of the artifacts that are installed here.
fn peak_mib(case: Case) -> f64 {
    const DICTIONARY: f64 = 8.0;
    match (case.compression, case.source) {
        (Uncompressed | Gzip, Source::File) => 8.0,
        (Uncompressed | Gzip, Source::Tls) | (Zstd, _) => 12.0,
        (Xz, Source::File) => DICTIONARY + 8.0,
        (Xz, Source::Tls) => DICTIONARY + 12.0,
    }
}

/// A limit on what tandem takes for each unit that a peer takes.
struct Limit {
    compression: Compression,
    figure: Figure,
    peer: Against,
    at_most: f64,
}

/// One, in a line.
const fn limit(compression: Compression, figure: Figure, peer: Against, at_most: f64) -> Limit {
    Limit {
        compression,
        figure,
        peer,
        at_most,
    }
}

/// Whom a limit compares with.
#[derive(Clone, Copy)]
enum Against {
    /// The better of Mender's clients in the same round.
    BetterMender,
    Swupdate,
    Rauc,
}

/// The decoder of xz is the same for everyone, and next to nothing else takes time with it.
const LIMITS: [Limit; 12] = [
    limit(Uncompressed, Figure::Wall, Against::BetterMender, 0.25),
    limit(Gzip, Figure::Wall, Against::BetterMender, 0.4),
    limit(Xz, Figure::Wall, Against::BetterMender, 1.0),
    limit(Zstd, Figure::Wall, Against::BetterMender, 0.3),
    limit(Uncompressed, Figure::Cpu, Against::BetterMender, 0.5),
    limit(Gzip, Figure::Cpu, Against::BetterMender, 0.5),
    limit(Xz, Figure::Cpu, Against::BetterMender, 1.0),
    limit(Zstd, Figure::Cpu, Against::BetterMender, 0.5),
    limit(Zstd, Figure::Wall, Against::Swupdate, 0.5),
    limit(Uncompressed, Figure::Wall, Against::Rauc, 0.35),
    limit(Gzip, Figure::Wall, Against::Rauc, 0.55),
    limit(Zstd, Figure::Wall, Against::Rauc, 0.45),
];

impl Against {
    fn kinds(self) -> &'static [Kind] {
        match self {
            Against::BetterMender => &[Kind::MenderCpp, Kind::MenderGo],
            Against::Swupdate => &[Kind::Swupdate],
            Against::Rauc => &[Kind::Rauc],
        }
    }
}

impl Against {
    /// Whether it takes artifacts from there.
    fn can(self, source: Source) -> bool {
        match self {
            Against::BetterMender | Against::Swupdate => true,
            Against::Rauc => source == Source::File,
        }
    }
}

impl fmt::Display for Against {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Against::BetterMender => "the better Mender client",
            Against::Swupdate => "swupdate",
            Against::Rauc => "rauc",
        })
    }
}

/// One line of the budget, and what was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// What is limited.
    pub(crate) what: String,
    /// The limit.
    pub(crate) at_most: f64,
    /// What was found; `None` if there was nothing to compare with.
    pub(crate) found: Option<f64>,
}

impl Verdict {
    /// Whether the limit is kept. What was not measured was not.
    pub(crate) fn met(&self) -> bool {
        self.found.is_some_and(|found| found <= self.at_most)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.found, self.met()) {
            (None, _) => "not measured",
            (Some(_), true) => "met",
            (Some(_), false) => "NOT MET",
        })
    }
}

/// The lines of the budget for these installations.
pub(crate) fn judge(runs: &[Run], alone: &[Alone], cases: &[Case]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for &case in cases {
        let of_case = LIMITS
            .iter()
            .filter(|limit| limit.compression == case.compression)
            .filter(|limit| limit.peer.can(case.source));
        for Limit {
            figure,
            peer,
            at_most,
            ..
        } in of_case
        {
            verdicts.push(Verdict {
                what: format!("{figure}, {case}, against {peer}"),
                at_most: *at_most,
                found: ratios(runs, case, *figure, Kind::Tandem, peer.kinds())
                    .map(|ratio| ratio.median),
            });
        }
        let median = |value: fn(&Run) -> f64| {
            let values = runs_of(runs, Kind::Tandem, case).map(value);
            Spread::of(values).map(|values| values.median)
        };
        let flushes = runs_of(runs, Kind::Tandem, case).map(|run| run.slot.flushes);
        verdicts.extend([
            Verdict {
                what: format!("wall, {case}, against the slowest stage alone"),
                at_most: STAGES,
                found: over_slowest_stage(runs, alone, case).map(|ratio| ratio.median),
            },
            Verdict {
                what: format!("peak memory, {case}, MiB"),
                at_most: peak_mib(case),
                found: median(|run| run.cost.peak),
            },
            Verdict {
                what: format!("left in the cache, {case}, MiB"),
                at_most: CACHED_MIB,
                found: median(|run| run.cached),
            },
            Verdict {
                what: format!("flushes more or fewer than one, {case}"),
                at_most: 0.0,
                found: flushes
                    .map(|flushes| flushes.abs_diff(1) as f64)
                    .max_by(f64::total_cmp),
            },
        ]);
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cost;
    use crate::stage::Stage;
    use tandem_e2e::Traffic;

    const PLAIN: Case = Case {
        compression: Uncompressed,
        source: Source::File,
    };

    fn run(contender: Kind, wall: f64, cpu: f64) -> Run {
        Run {
            contender,
            case: PLAIN,
            round: 0,
            cost: Cost {
                success: true,
                wall,
                cpu,
                peak: 17.0,
                read_back: None,
            },
            slot: Traffic {
                flushes: 1,
                ..Traffic::default()
            },
            cached: 0.5,
            fetched: None,
            right: true,
        }
    }

    #[test]
    fn each_limit_is_met_or_not_or_not_measured() {
        let runs = [
            run(Kind::Tandem, 1.0, 1.5),
            run(Kind::MenderGo, 6.0, 2.0),
            run(Kind::MenderCpp, 4.0, 4.0),
        ];
        let hash = Alone {
            stage: Stage::Hash,
            round: 0,
            wall: 0.5,
        };
        let verdicts = judge(&runs, &[hash], &[PLAIN]);
        let lines: Vec<_> = verdicts
            .iter()
            .map(|verdict| format!("{}: {verdict}", verdict.what))
            .collect();
        assert_eq!(
            lines,
            [
                "wall, none, against the better Mender client: met",
                "CPU, none, against the better Mender client: NOT MET",
                "wall, none, against rauc: not measured",
                "wall, none, against the slowest stage alone: NOT MET",
                "peak memory, none, MiB: NOT MET",
                "left in the cache, none, MiB: met",
                "flushes more or fewer than one, none: met",
            ]
        );
    }
}
