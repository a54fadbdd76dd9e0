//! What installing may cost, against the peers and by itself. Pure.

use std::fmt;

use crate::compression::Compression::{self, Gzip, None as Uncompressed, Zstd};
use crate::contender::Kind;
use crate::figures::{Figure, Spread, ratios, runs_of};
use crate::lab::Run;

/// The largest program for a device, bytes: 3 MiB.
pub(crate) const PROGRAM_SIZE: u64 = 3 << 20;

/// What the daemon may hold while it waits, MiB, and how often it may wake up in a minute.
pub(crate) const IDLE_MIB: f64 = 6.0;
pub(crate) const IDLE_WAKEUPS: f64 = 2.0;

/// What the peak of memory may differ between artifacts of any sizes, MiB.
pub(crate) const GROWTH_MIB: f64 = 1.0;

/// What installing may hold in memory at once, MiB. zstd's window is in it.
fn peak_mib(compression: Compression) -> f64 {
    match compression {
        Uncompressed | Gzip => 8.0,
        Zstd => 12.0,
    }
}

/// A limit on what tandem takes for each unit that a peer takes.
struct Limit {
    compressions: &'static [Compression],
    figure: Figure,
    peer: Against,
    at_most: f64,
}

/// Whom a limit compares with.
#[derive(Clone, Copy)]
enum Against {
    /// The better of Mender's clients in the same round.
    BetterMender,
    Swupdate,
    Rauc,
}

const LIMITS: [Limit; 5] = [
    Limit {
        compressions: &[Uncompressed, Gzip, Zstd],
        figure: Figure::Wall,
        peer: Against::BetterMender,
        at_most: 0.5,
    },
    Limit {
        compressions: &[Uncompressed, Gzip, Zstd],
        figure: Figure::Cpu,
        peer: Against::BetterMender,
        at_most: 0.7,
    },
    Limit {
        compressions: &[Zstd],
        figure: Figure::Wall,
        peer: Against::Swupdate,
        at_most: 0.8,
    },
    Limit {
        compressions: &[Uncompressed],
        figure: Figure::Wall,
        peer: Against::Rauc,
        at_most: 0.6,
    },
    Limit {
        compressions: &[Gzip],
        figure: Figure::Wall,
        peer: Against::Rauc,
        at_most: 0.8,
    },
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

/// The lines of the budget for installing with these compressions.
pub(crate) fn judge(runs: &[Run], compressions: &[Compression]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for limit in &LIMITS {
        let Limit { figure, peer, .. } = limit;
        for &compression in compressions {
            if limit.compressions.contains(&compression) {
                verdicts.push(Verdict {
                    what: format!("{figure}, {compression}, against {peer}"),
                    at_most: limit.at_most,
                    found: ratios(runs, compression, *figure, Kind::Tandem, peer.kinds())
                        .map(|ratio| ratio.median),
                });
            }
        }
    }
    for &compression in compressions {
        let peaks = runs_of(runs, Kind::Tandem, compression).map(|run| run.cost.peak);
        verdicts.push(Verdict {
            what: format!("peak memory, {compression}, MiB"),
            at_most: peak_mib(compression),
            found: Spread::of(peaks).map(|peak| peak.median),
        });
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Cost;

    fn run(contender: Kind, wall: f64, cpu: f64) -> Run {
        Run {
            contender,
            compression: Uncompressed,
            round: 0,
            cost: Cost {
                success: true,
                wall,
                cpu,
                peak: 17.0,
                read_back: None,
            },
            flushes: 1,
            right: true,
        }
    }

    #[test]
    fn each_limit_is_met_or_not_or_not_measured() {
        let runs = [
            run(Kind::Tandem, 1.0, 1.5),
            run(Kind::MenderGo, 3.0, 2.0),
            run(Kind::MenderCpp, 2.0, 4.0),
        ];
        let verdicts = judge(&runs, &[Uncompressed]);
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
                "peak memory, none, MiB: NOT MET",
            ]
        );
    }
}
