//! Who changes what: the words of the audit log, and who is at work at this moment.
//!
//! ```text
//! surface (who asks, from where) -> Cause -> handler -> Store::write takes it along
//!     -> work in the transaction: Tx::audit, once for each thing that it changed     `-> one transaction, durable
//!     -> a work that says nothing but has changed something: a line by its request   /   or not there at all
//! ```
//!
//! What devices ask for all the time (polls, reports, inventory) has no cause and costs nothing here. No line has a
//! secret in it: lines are made of identifiers, names, roles and statuses, never of what was sent.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;

use crate::access::Operator;
use crate::request::Peer;
use crate::store::Id;

/// Who wants a change, and from where.
#[derive(Debug, Clone)]
pub struct Cause {
    /// Who.
    pub who: Who,
    /// From which address; `None` for the socket in the data directory, and for the server itself.
    pub address: Option<IpAddr>,
    /// The request, for what the work itself says nothing about.
    pub request: Option<Asked>,
}

/// Who wants a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A person, or a program with a person's token.
    User {
        /// Who.
        user: Id,
        /// With which session or personal access token.
        token: Id,
    },
    /// A device that knocks.
    Device,
    /// Whoever works on the machine itself, in the data directory.
    CommandLine,
    /// The server itself.
    Server,
    /// Somebody who could not sign in.
    Stranger,
}

/// What a request says by its route alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What is done.
    pub action: Action,
    /// With what.
    pub kind: Kind,
    /// With which one.
    pub id: Option<String>,
    /// The route: method and path, names in braces.
    pub route: String,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Action {
    Abort,
    Accept,
    Create,
    Decommission,
    Delete,
    Dismiss,
    Enrol,
    Preauthorize,
    Prune,
    Reject,
    Revoke,
    SignIn,
    SignOut,
    Update,
    Upload,
}

impl Action {
    /// As it is written; Mender's words where it has one for this.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Accept => "accept",
            Self::Create => "create",
            Self::Decommission => "decommission",
            Self::Delete => "delete",
            Self::Dismiss => "dismiss",
            Self::Enrol => "enrol",
            Self::Preauthorize => "preauthorize",
            Self::Prune => "prune",
            Self::Reject => "reject",
            Self::Revoke => "revoke",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::Update => "update",
            Self::Upload => "upload",
        }
    }
}

/// What something is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is what its name says")]
pub enum Kind {
    Artifact,
    AuditLog,
    Deployment,
    Device,
    Group,
    Release,
    Server,
    Token,
    User,
    Webhook,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Artifact,
        Self::AuditLog,
        Self::Deployment,
        Self::Device,
        Self::Group,
        Self::Release,
        Self::Server,
        Self::Token,
        Self::User,
        Self::Webhook,
    ];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Artifact => "artifact",
            Self::AuditLog => "audit_log",
            Self::Deployment => "deployment",
            Self::Device => "device",
            Self::Group => "group",
            Self::Release => "release",
            Self::Server => "server",
            Self::Token => "token",
            Self::User => "user",
            Self::Webhook => "webhook",
        }
    }

    /// What a part of a route's path stands for.
    fn of_segment(segment: &str) -> Option<Self> {
        Some(match segment {
            "artifacts" => Self::Artifact,
            "deployments" => Self::Deployment,
            "devices" => Self::Device,
            "group" | "groups" => Self::Group,
            "people" | "users" => Self::User,
            "releases" => Self::Release,
            "tokens" => Self::Token,
            "webhooks" => Self::Webhook,
            _ => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Cause {
    /// An operator who asks for something by a request.
    #[must_use]
    pub fn of(operator: Operator, peer: Peer, request: Asked) -> Self {
        let who = match operator {
            Operator::Person { user, token, .. } => Who::User { user, token },
            Operator::Local => Who::CommandLine,
        };
        Self {
            who,
            address: address(peer),
            request: Some(request),
        }
    }

    /// Somebody whose work says itself what it does.
    #[must_use]
    pub fn by(who: Who, peer: Peer) -> Self {
        Self {
            who,
            address: address(peer),
            request: None,
        }
    }

    /// The server by itself.
    #[must_use]
    pub fn server() -> Self {
        Self::by(Who::Server, Peer::Local)
    }
}

fn address(peer: Peer) -> Option<IpAddr> {
    match peer {
        Peer::Network(_) => Some(peer.address()),
        Peer::Local => None,
    }
}

impl Asked {
    /// To be let in as this user; `None` if there is no such user.
    #[must_use]
    pub fn sign_in(user: Option<Id>) -> Self {
        Self {
            action: Action::SignIn,
            kind: Kind::User,
            id: user.map(|user| user.to_string()),
            route: String::new(),
        }
    }

    /// By a request for `path`, which is one of `route`.
    #[must_use]
    pub fn new(method: &Method, route: &str, path: &str) -> Self {
        let names: Vec<&str> = route.split('/').collect();
        // The last thing that has an identifier behind it; else the last thing.
        let pairs = names.windows(2).zip(path.split('/').skip(1));
        let known = pairs.filter_map(|(pair, id)| match pair {
            [thing, name] if name.starts_with('{') => {
                let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy();
                Some((Kind::of_segment(thing)?, id.chars().take(100).collect()))
            }
            _ => None,
        });
        let named: Option<(Kind, String)> = known.last();
        let (kind, id) = match named {
            // To make a deployment to a group does nothing to the group.
            Some((Kind::Group, _)) if route.contains("/deployments/group/") => {
                (Kind::Deployment, None)
            }
            Some((kind, id)) => (kind, Some(id)),
            None => {
                let mut kinds = names.iter().rev().filter_map(|name| Kind::of_segment(name));
                (kinds.next().unwrap_or(Kind::Server), None)
            }
        };
        let action = match *method {
            Method::DELETE => Action::Delete,
            Method::POST if id.is_none() && kind != Kind::Server => Action::Create,
            _ => Action::Update,
        };
        Self {
            action,
            kind,
            id,
            route: format!("{method} {route}"),
        }
    }
}

/// How many refusals are written down: who is refused all the time must not fill the disk by that.
#[derive(Debug, Default)]
pub struct RefusalBudget(Mutex<(i64, u32)>);

/// Refusals in a minute.
const REFUSALS: u32 = 60;

impl RefusalBudget {
    /// Whether one more may be written down at `now`, ms.
    pub fn take(&self, now: i64) -> bool {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.div_euclid(60_000);
        if spent.0 != minute {
            *spent = (minute, 0);
        }
        spent.1 = spent.1.saturating_add(1);
        spent.1 <= REFUSALS
    }
}

tokio::task_local! {
    static CAUSE: Arc<Cause>;
}

/// Does `work`, the changes of which have this cause.
pub async fn because<F: Future>(cause: Cause, work: F) -> F::Output {
    CAUSE.scope(Arc::new(cause), work).await
}

/// The same `work` for a task of its own: with the cause of whoever begins it.
pub fn inherit<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let cause = cause();
    async move {
        match cause {
            Some(cause) => CAUSE.scope(cause, work).await,
            None => work.await,
        }
    }
}

/// The cause of what is done at this moment, if it is anybody's.
#[must_use]
pub fn cause() -> Option<Arc<Cause>> {
    CAUSE.try_with(Arc::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, route: &str, path: &str, expected: (Action, Kind, Option<&str>)) {
        let asked = Asked::new(&method, route, path);
        let (action, kind, id) = expected;
        assert_eq!(
            (asked.action, asked.kind, asked.id.as_deref()),
            (action, kind, id),
            "{route}"
        );
        assert_eq!(asked.route, format!("{method} {route}"));
    }

    #[test]
    fn a_request_says_by_its_route_what_it_is_about() {
        let v1 = "/api/management/v1";
        for (method, route, path, expected) in [
            (
                Method::POST,
                "/deployments/deployments",
                "/deployments/deployments",
                (Action::Create, Kind::Deployment, None),
            ),
            (
                Method::PUT,
                "/deployments/deployments/{id}/status",
                "/deployments/deployments/7/status",
                (Action::Update, Kind::Deployment, Some("7")),
            ),
            (
                Method::DELETE,
                "/deployments/deployments/devices/{device}",
                "/deployments/deployments/devices/9",
                (Action::Delete, Kind::Device, Some("9")),
            ),
            (
                Method::DELETE,
                "/inventory/devices/{id}/group/{name}",
                "/inventory/devices/5/group/a",
                (Action::Delete, Kind::Group, Some("a")),
            ),
            (
                Method::PUT,
                "/deployments/deployments/releases/{name}/tags",
                "/deployments/deployments/releases/a%20b/tags",
                (Action::Update, Kind::Release, Some("a b")),
            ),
        ] {
            check(
                method,
                &format!("{v1}{route}"),
                &format!("{v1}{path}"),
                expected,
            );
        }
        check(
            Method::PUT,
            "/api/management/v2/devauth/devices/{id}/auth/{aid}/status",
            "/api/management/v2/devauth/devices/1/auth/2/status",
            (Action::Update, Kind::Device, Some("1")),
        );
        check(
            Method::POST,
            "/api/management/v1/deployments/deployments/group/{name}",
            "/api/management/v1/deployments/deployments/group/beta",
            (Action::Create, Kind::Deployment, None),
        );
        check(
            Method::POST,
            "/settings",
            "/settings",
            (Action::Update, Kind::Server, None),
        );
        check(
            Method::POST,
            "/deployments/{id}",
            "/deployments/3",
            (Action::Update, Kind::Deployment, Some("3")),
        );
    }

    #[test]
    fn refusals_are_written_down_up_to_so_many_in_a_minute() {
        let budget = RefusalBudget::default();
        let written = (0..1000).filter(|n| budget.take(60_000 + n)).count();
        assert_eq!(written, 60);
        assert!(budget.take(120_000));
    }

    #[tokio::test]
    async fn a_cause_is_there_as_long_as_its_work() {
        assert!(cause().is_none());
        let who = because(Cause::server(), async { cause().map(|cause| cause.who) }).await;
        assert_eq!(who, Some(Who::Server));
        assert!(cause().is_none());
    }
}
