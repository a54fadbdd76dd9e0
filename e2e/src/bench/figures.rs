//! From single runs to figures that can be compared. Pure.

use std::fmt;

use crate::case::Case;
use crate::contender::Kind;
use crate::lab::Run;
use crate::stage::Alone;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Wall clock, without reading back.
    Wall,
    /// Processor time, without reading back.
    Cpu,
}

impl Figure {
    /// Its value in a run, seconds.
    pub(crate) fn of(self, run: &Run) -> f64 {
        match (self, &run.cost.read_back) {
            (Figure::Wall, Some(part)) => run.cost.wall - part.wall,
            (Figure::Wall, None) => run.cost.wall,
            (Figure::Cpu, Some(part)) => run.cost.cpu - part.cpu,
            (Figure::Cpu, None) => run.cost.cpu,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Figure::Wall => "wall",
            Figure::Cpu => "CPU",
        })
    }
}

/// What `tandem` takes for each unit that the slowest of its stages takes alone in the same round.
pub(crate) fn over_slowest_stage(runs: &[Run], alone: &[Alone], case: Case) -> Option<Spread> {
    let ratios = runs_of(runs, Kind::Tandem, case).filter_map(|run| {
        let slowest = alone
            .iter()
            .filter(|alone| alone.round == run.round && alone.stage.belongs_to(case))
            .map(|alone| alone.wall)
            .max_by(f64::total_cmp)?;
        Some(Figure::Wall.of(run) / slowest)
    });
    Spread::of(ratios)
}

/// A median, and how far the values lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// That of some values; `None` without any.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        // With an even number there are two in the middle.
        let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
        Some(Spread {
            median: (values.get(low)? + values.get(high)?) / 2.0,
            min,
            max,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spread { median, min, max } = self;
        write!(f, "{median:.2} ({min:.2}-{max:.2})")
    }
}

/// The runs of one program in one case.
pub(crate) fn runs_of(runs: &[Run], contender: Kind, case: Case) -> impl Iterator<Item = &Run> {
    runs.iter()
        .filter(move |run| run.contender == contender && run.case == case)
}

/// What `ours` takes for each unit that the best of `theirs` takes in the same round. Comparing
/// inside a round takes out what the whole machine was doing at the time.
pub(crate) fn ratios(
    runs: &[Run],
    case: Case,
    figure: Figure,
    ours: Kind,
    theirs: &[Kind],
) -> Option<Spread> {
    let ratios = runs_of(runs, ours, case).filter_map(|our_run| {
        let best = theirs
            .iter()
            .flat_map(|&peer| runs_of(runs, peer, case))
            .filter(|run| run.round == our_run.round)
            .map(|run| figure.of(run))
            .min_by(f64::total_cmp)?;
        Some(figure.of(our_run) / best)
    });
    Spread::of(ratios)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Source;
    use crate::compression::Compression;
    use crate::measure::{Cost, Span};
    use crate::stage::Stage;
    use tandem_e2e::Traffic;

    const PLAIN: Case = Case {
        compression: Compression::None,
        source: Source::File,
    };
    const GZIP: Case = Case {
        compression: Compression::Gzip,
        source: Source::File,
    };

    #[track_caller]
    fn check_spread(values: &[f64], expected: Option<(f64, f64, f64)>) {
        let spread = Spread::of(values.iter().copied());
        let expected = expected.map(|(median, min, max)| Spread { median, min, max });
        assert_eq!(spread, expected);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        check_spread(&[], None);
        check_spread(&[3.0], Some((3.0, 3.0, 3.0)));
        check_spread(&[3.0, 1.0], Some((2.0, 1.0, 3.0)));
        check_spread(&[9.0, 1.0, 2.0], Some((2.0, 1.0, 9.0)));
    }

    fn run(contender: Kind, round: usize, wall: f64, read_back: Option<Span>) -> Run {
        Run {
            contender,
            case: PLAIN,
            round,
            cost: Cost {
                success: true,
                wall,
                cpu: wall,
                peak: 1.0,
                read_back,
            },
            slot: Traffic::default(),
            cached: 0.0,
            fetched: None,
            right: true,
        }
    }

    #[test]
    fn programs_are_compared_within_a_round_and_without_reading_back() {
        let back = Span {
            wall: 1.0,
            cpu: 0.5,
        };
        let runs = [
            run(Kind::Tandem, 1, 2.0, Some(back)),
            run(Kind::Rauc, 1, 4.0, None),
            run(Kind::MenderGo, 1, 2.0, None),
            run(Kind::Tandem, 2, 3.0, Some(back)),
            run(Kind::Rauc, 2, 4.0, None),
            // Nothing to compare with in this one.
            run(Kind::Tandem, 3, 9.0, Some(back)),
        ];
        let ratio = |figure, theirs: &[Kind]| {
            let spread = ratios(&runs, PLAIN, figure, Kind::Tandem, theirs).unwrap();
            (spread.min, spread.max)
        };
        assert_eq!(ratio(Figure::Wall, &[Kind::Rauc]), (0.25, 0.5));
        assert_eq!(
            ratio(Figure::Wall, &[Kind::Rauc, Kind::MenderGo]),
            (0.5, 0.5)
        );
        assert_eq!(ratio(Figure::Cpu, &[Kind::MenderGo]), (0.75, 0.75));
        let none = ratios(&runs, GZIP, Figure::Wall, Kind::Tandem, &[Kind::Rauc]);
        assert_eq!(none, None);
    }

    #[test]
    fn tandem_is_compared_with_the_slowest_stage_that_it_has() {
        let runs = [
            run(Kind::Tandem, 1, 3.0, None),
            run(Kind::Rauc, 1, 9.0, None),
        ];
        let alone = |stage, round, wall| Alone { stage, round, wall };
        let stages = [
            alone(Stage::Hash, 1, 1.5),
            alone(Stage::Write, 1, 2.0),
            // Of other cases, and of another round.
            alone(Stage::Decode(Compression::Gzip), 1, 8.0),
            alone(Stage::Receive(Compression::None), 1, 8.0),
            alone(Stage::Write, 2, 8.0),
        ];
        let spread = over_slowest_stage(&runs, &stages, PLAIN).unwrap();
        assert_eq!(spread.median, 1.5);
        assert_eq!(over_slowest_stage(&runs, &stages, GZIP), None);
    }
}
