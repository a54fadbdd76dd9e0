//! A device between its turns: what it remembers. A few dozen bytes and its token.

use tokio::time::Instant;

use super::fate::{State, Way};

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    /// Which one; its key and all chance depend on it.
    pub(super) number: u32,
    /// What it got for its key.
    pub(super) token: Option<Box<str>>,
    /// The release that runs on it, by its number in the list of releases.
    pub(super) runs: u16,
    /// The deployment that it is at.
    pub(super) order: Option<Box<Order>>,
    /// When it tells next what is known about it; `None` for now.
    pub(super) inventory: Option<Instant>,
    /// Deployments so far.
    pub(super) deployments: u16,
    /// Turns so far.
    pub(super) turns: u32,
    /// Failed attempts in a row.
    pub(super) attempts: u8,
    /// The server does not let it in.
    pub(super) outside: bool,
}

/// A deployment on a device.
#[derive(Debug)]
pub(super) struct Order {
    /// Which one.
    pub(super) deployment: Box<str>,
    /// The release that it brings, by its number.
    pub(super) release: u16,
    /// Where its bytes are.
    pub(super) source: Box<str>,
    /// How far it is.
    pub(super) way: Way,
    /// Nothing is heard of the device any more.
    pub(super) vanished: bool,
}

/// What a device does at the moment, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It waits to be let in.
    Outside,
    /// It polls.
    Idle,
    /// It is at a deployment.
    At(State),
    /// It is at one, and silent.
    Vanished,
}

impl Device {
    /// A device that was just switched on.
    pub(super) fn new(number: u32, runs: u16) -> Self {
        Self {
            number,
            token: None,
            runs,
            order: None,
            inventory: None,
            deployments: 0,
            turns: 0,
            attempts: 0,
            outside: false,
        }
    }

    /// What it does.
    pub(super) fn doing(&self) -> Doing {
        match &self.order {
            _ if self.outside => Doing::Outside,
            None => Doing::Idle,
            Some(order) if order.vanished => Doing::Vanished,
            Some(order) => Doing::At(order.way.state().unwrap_or(State::Downloading)),
        }
    }
}
