//! Telling open pages that something has changed, so that they ask again. Nothing is sent but which topic it was.
//!
//! Each topic has a mark that grows with every change. A page carries the marks of the moment before it was made; a
//! listener that begins with those misses nothing, also not while its connection was broken.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::clock::now;
use crate::store::{Change, Topic};

/// Listeners at once. Each holds a connection and a few hundred bytes.
const LISTENERS: usize = 200;

/// What pages listen to.
pub struct Live {
    marks: watch::Sender<Option<Marks>>,
    places: Arc<Semaphore>,
}

/// How often each topic has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    devices: u64,
    deployments: u64,
    releases: u64,
}

/// A page that listens; the place is free again when this is dropped.
pub struct Listener {
    marks: watch::Receiver<Option<Marks>>,
    seen: Marks,
    _place: OwnedSemaphorePermit,
}

impl Default for Live {
    fn default() -> Self {
        // After a restart no mark may be one that a page has already.
        let start = u64::try_from(now().millis()).unwrap_or_default();
        let marks = Marks {
            devices: start,
            deployments: start,
            releases: start,
        };
        Self {
            marks: watch::Sender::new(Some(marks)),
            places: Arc::new(Semaphore::new(LISTENERS)),
        }
    }
}

impl Live {
    /// The database has changed.
    pub fn apply(&self, changes: &[Change]) {
        // What was not heard of may have been anything.
        let all = changes.contains(&Change::Heard);
        let has = |topic| all || changes.iter().any(|change| change.topic() == Some(topic));
        let (devices, deployments) = (has(Topic::Devices), has(Topic::Deployments));
        let releases = has(Topic::Releases);
        if !devices && !deployments && !releases {
            return;
        }
        self.marks.send_modify(|marks| {
            if let Some(marks) = marks {
                let grow = |mark: &mut u64, by| *mark = mark.saturating_add(u64::from(by));
                grow(&mut marks.devices, devices);
                grow(&mut marks.deployments, deployments);
                grow(&mut marks.releases, releases);
            }
        });
    }

    /// The marks of this moment; to be asked for before what a page shows is looked up.
    #[must_use]
    pub fn marks(&self) -> Option<Marks> {
        *self.marks.borrow()
    }

    /// Begins to listen for what has changed since `seen`. `None` if too many do, or the server stops.
    #[must_use]
    pub fn listen(&self, seen: Option<Marks>) -> Option<Listener> {
        let seen = seen.or(self.marks())?;
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Listener {
            marks: self.marks.subscribe(),
            seen,
            _place: place,
        })
    }

    /// Sends all listeners away: the server stops.
    pub fn close(&self) {
        self.marks.send_replace(None);
    }
}

impl Listener {
    /// What has changed since the last time, as soon as something has. `None` if there is nobody to tell any more.
    pub async fn next(&mut self) -> Option<Marks> {
        let seen = self.seen;
        let changed = self.marks.wait_for(|marks| *marks != Some(seen)).await;
        self.seen = (*changed.ok()?)?;
        Some(self.seen)
    }

    /// The marks that were told last.
    #[must_use]
    pub fn seen(&self) -> Marks {
        self.seen
    }
}

impl Marks {
    /// The names of the topics in which these marks differ.
    #[must_use]
    pub fn since(self, before: Self) -> String {
        let topics = [
            ("devices", self.devices != before.devices),
            ("deployments", self.deployments != before.deployments),
            ("releases", self.releases != before.releases),
        ];
        let changed: Vec<&str> = topics
            .into_iter()
            .filter_map(|(name, changed)| changed.then_some(name))
            .collect();
        changed.join(" ")
    }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.devices, self.deployments, self.releases)
    }
}

/// Text that is no [`Marks`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMarks;

impl FromStr for Marks {
    type Err = NotMarks;

    fn from_str(text: &str) -> Result<Self, NotMarks> {
        let numbers: Result<Vec<u64>, _> = text.splitn(4, '-').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([devices, deployments, releases]) => Ok(Self {
                devices: *devices,
                deployments: *deployments,
                releases: *releases,
            }),
            Ok(_) | Err(_) => Err(NotMarks),
        }
    }
}

impl Change {
    /// What of that people are shown.
    fn topic(self) -> Option<Topic> {
        match self {
            Self::Device(_) => Some(Topic::Devices),
            Self::Deployments => Some(Topic::Deployments),
            Self::Users | Self::Heard | Self::Unheard => None,
            Self::Shown(topic) => Some(topic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_hears_of_what_changed_before_it_came() {
        let live = Live::default();
        let page = live.marks().unwrap();
        live.apply(&[Change::Shown(Topic::Devices), Change::Users]);
        let mut listener = live.listen(Some(page)).unwrap();
        let marks = listener.next().await.unwrap();
        assert_eq!(marks.since(page), "devices");
        live.apply(&[Change::Deployments]);
        live.apply(&[Change::Shown(Topic::Releases)]);
        let later = listener.next().await.unwrap();
        assert_eq!(later.since(marks), "deployments releases");
        assert_eq!(later.to_string().parse(), Ok(later));
    }

    #[tokio::test]
    async fn listeners_are_sent_away_when_the_server_stops() {
        let live = Live::default();
        let mut listener = live.listen(None).unwrap();
        live.close();
        assert_eq!(listener.next().await, None);
        assert!(live.listen(None).is_none());
    }

    #[test]
    fn there_are_only_so_many_places() {
        let live = Live::default();
        let mut all: Vec<Listener> = (0..LISTENERS).map_while(|_| live.listen(None)).collect();
        assert_eq!(all.len(), LISTENERS);
        assert!(live.listen(None).is_none());
        all.pop();
        assert!(live.listen(None).is_some());
    }

    #[test]
    fn what_is_no_mark_is_refused() {
        for wrong in ["", "1", "1-2", "1-2-3-4", "a-b-c", "1-2--3"] {
            assert_eq!(wrong.parse::<Marks>(), Err(NotMarks));
        }
    }
}
