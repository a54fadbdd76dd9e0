//! How a deployment goes on a device: what it reports, in which order, and where it fails or falls silent. Pure.

use std::str::FromStr;

use tandem_api::DeploymentStatus;

/// A state that a device reports on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It fetches the artifact.
    Downloading,
    /// It writes it.
    Installing,
    /// It reboots.
    Rebooting,
    /// It runs the new one, and has asked the server for a new token before it makes it permanent.
    Committing,
}

impl State {
    /// In their order.
    const ALL: [Self; 4] = [
        Self::Downloading,
        Self::Installing,
        Self::Rebooting,
        Self::Committing,
    ];

    /// As it is written on the command line and shown.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Downloading => "downloading",
            Self::Installing => "installing",
            Self::Rebooting => "rebooting",
            Self::Committing => "committing",
        }
    }

    /// What is reported. Agents say "installing" once more before they commit.
    fn status(self) -> DeploymentStatus {
        match self {
            Self::Downloading => DeploymentStatus::Downloading,
            Self::Installing | Self::Committing => DeploymentStatus::Installing,
            Self::Rebooting => DeploymentStatus::Rebooting,
        }
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| {
            format!("{text:?} is no state: they are downloading, installing, rebooting, committing")
        })
    }
}

/// How often something happens, and in which state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    /// Of all deployments on devices, from 0 to 1.
    pub(super) share: f64,
    /// In this state.
    pub(super) state: State,
}

/// Reads `2%`, `0.02` or `2%=rebooting`; without a state it is `otherwise`.
///
/// # Errors
/// With the reason, if it is written in another way.
pub(super) fn parse_rate(text: &str, otherwise: State) -> Result<Rate, String> {
    let (share, state) = match text.split_once('=') {
        Some((share, state)) => (share, state.parse()?),
        None => (text, otherwise),
    };
    Ok(Rate {
        share: parse_share(share)?,
        state,
    })
}

/// Reads `2%` or `0.02`.
///
/// # Errors
/// With the reason, if it is no share.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    let (number, whole) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map(|number| number / whole);
    match share {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err(format!(
            "{text:?} is no share: one is written like 2% or 0.02"
        )),
    }
}

/// How a deployment on a device will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It succeeds.
    Succeeds,
    /// It fails after this state was reported.
    Fails(State),
    /// Nothing is heard of the device any more after this state was reported.
    Vanishes(State),
}

impl Fate {
    /// What the number `drawn`, from 0 to below 1, brings.
    pub(super) fn of(drawn: f64, failing: &[Rate], vanishing: &[Rate]) -> Self {
        let mut end = 0.0;
        for rate in failing {
            end += rate.share;
            if drawn < end {
                return Self::Fails(rate.state);
            }
        }
        for rate in vanishing {
            end += rate.share;
            if drawn < end {
                return Self::Vanishes(rate.state);
            }
        }
        Self::Succeeds
    }
}

/// What a device does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It reports this state.
    Enter(State, DeploymentStatus),
    /// It reports how it ended.
    End(DeploymentStatus),
    /// Nothing, from now on.
    Vanish,
}

/// How far a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    fate: Fate,
    /// States that were reported.
    reported: usize,
}

impl Way {
    /// Before the first state.
    pub(super) fn new(fate: Fate) -> Self {
        Self { fate, reported: 0 }
    }

    /// The state that was reported last.
    pub(super) fn state(&self) -> Option<State> {
        let last = self.reported.checked_sub(1)?;
        State::ALL.get(last).copied()
    }

    /// What comes next.
    pub(super) fn next(&self) -> Next {
        match self.fate {
            Fate::Fails(state) if self.state() == Some(state) => {
                return Next::End(DeploymentStatus::Failure);
            }
            Fate::Vanishes(state) if self.state() == Some(state) => return Next::Vanish,
            Fate::Succeeds | Fate::Fails(_) | Fate::Vanishes(_) => {}
        }
        match State::ALL.get(self.reported) {
            Some(state) => Next::Enter(*state, state.status()),
            None => Next::End(DeploymentStatus::Success),
        }
    }

    /// The server has heard of the next state.
    pub(super) fn advance(&mut self) {
        self.reported = self.reported.saturating_add(1);
    }

    /// The device is back that had vanished.
    pub(super) fn come_back(&mut self) {
        self.fate = Fate::Succeeds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fate: Fate, expected: &str) {
        let mut way = Way::new(fate);
        let mut said = Vec::new();
        loop {
            match way.next() {
                Next::Enter(_, status) => said.push(status.as_str()),
                Next::End(status) => {
                    said.push(status.as_str());
                    break;
                }
                Next::Vanish => {
                    said.push("silence");
                    break;
                }
            }
            way.advance();
        }
        assert_eq!(said.join(" "), expected);
    }

    #[test]
    fn a_device_reports_as_the_agent_does() {
        check(
            Fate::Succeeds,
            "downloading installing rebooting installing success",
        );
        check(Fate::Fails(State::Downloading), "downloading failure");
        check(
            Fate::Fails(State::Committing),
            "downloading installing rebooting installing failure",
        );
        check(
            Fate::Vanishes(State::Installing),
            "downloading installing silence",
        );
    }

    #[test]
    fn rates_are_read_and_drawn_from() {
        let failing = [
            parse_rate("10%", State::Installing).unwrap(),
            parse_rate("0.2=rebooting", State::Installing).unwrap(),
        ];
        let vanishing = [parse_rate("5 %=committing", State::Downloading).unwrap()];
        let fate = |drawn| Fate::of(drawn, &failing, &vanishing);
        assert_eq!(fate(0.0), Fate::Fails(State::Installing));
        assert_eq!(fate(0.099), Fate::Fails(State::Installing));
        assert_eq!(fate(0.1), Fate::Fails(State::Rebooting));
        assert_eq!(fate(0.31), Fate::Vanishes(State::Committing));
        assert_eq!(fate(0.36), Fate::Succeeds);
        for wrong in ["", "x", "101%", "-1%", "2", "1%=pending", "NaN"] {
            assert!(parse_rate(wrong, State::Installing).is_err(), "{wrong:?}");
        }
    }
}
