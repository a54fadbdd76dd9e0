//! Who may do what.

use tandem_api::management::Role;

use crate::store::Id;

/// Who a route is for. Every route has one, in `routes.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever can reach the server. What the route needs it checks itself: a signature, a password.
    Anyone,
    /// A device that is let in.
    Device,
    /// A person of at least this role, or the administrator on the machine itself.
    Person(Role),
    /// A program on the machine itself, or a person.
    Monitor,
    /// Whoever looks at pages: what changes something comes from a page of ours.
    Visitor,
    /// A person of at least this role who has signed in on a page; what changes something comes from a page of ours.
    Browser(Role),
}

impl Access {
    /// Whether it is pages that are asked for: the answer is for people, and its headers for browsers.
    #[must_use]
    pub fn is_page(self) -> bool {
        match self {
            Self::Visitor | Self::Browser(_) => true,
            Self::Anyone | Self::Device | Self::Person(_) | Self::Monitor => false,
        }
    }
}

/// A person, or somebody who may read and write the data directory anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Somebody with a token.
    Person {
        /// Who.
        user: Id,
        /// With which token.
        token: Id,
        /// What the person may do with this token.
        role: Role,
    },
    /// Whoever came through the socket in the data directory.
    Local,
}

impl Operator {
    /// What this operator may do.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::Local => Role::Admin,
            Self::Person { role, .. } => role,
        }
    }
}
