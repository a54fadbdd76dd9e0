//! Who may do what.

use std::fmt;
use std::str::FromStr;

use crate::store::Id;

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
}

impl Role {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = NotARole;

    fn from_str(text: &str) -> Result<Self, NotARole> {
        match text {
            "admin" => Ok(Self::Admin),
            _ => Err(NotARole),
        }
    }
}

/// Text that is no [`Role`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotARole;

impl fmt::Display for NotARole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a role is admin")
    }
}

/// Who a route is for. Every route has one, in `routes.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Whoever can reach the server. What the route needs it checks itself: a signature, a password.
    Anyone,
    /// A device that is let in.
    Device,
    /// A person of this role, or the administrator on the machine itself.
    Person(Role),
    /// A program on the machine itself, or a person.
    Monitor,
    /// Whoever looks at pages: what changes something comes from a page of ours.
    Visitor,
    /// A person of this role who has signed in on a page; what changes something comes from a page of ours.
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
        /// What the person may do.
        role: Role,
    },
    /// Whoever came through the socket in the data directory.
    Local,
}

impl Operator {
    /// Whether this operator may do what `role` may.
    #[must_use]
    pub fn may(self, role: Role) -> bool {
        match (self, role) {
            (Self::Local, _) => true,
            (
                Self::Person {
                    role: Role::Admin, ..
                },
                Role::Admin,
            ) => true,
        }
    }
}
