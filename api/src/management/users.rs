//! People and their tokens.

use serde::{Deserialize, Serialize};

use crate::management::Role;
use crate::timestamp::Timestamp;

/// A person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Identifies the person.
    pub id: String,
    /// The name to sign in with; lower case.
    pub email: String,
    /// What the person may do.
    pub role: Role,
    /// Since when there is this user.
    pub created_ts: Timestamp,
    /// When e-mail address or password changed last.
    pub updated_ts: Timestamp,
    /// When somebody signed in last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_ts: Option<Timestamp>,
}

/// A user to be created.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// The name to sign in with.
    pub email: String,
    /// 8 to 256 bytes.
    pub password: String,
    /// What the person may do; the least if nothing is said.
    #[serde(default)]
    pub role: Role,
}

/// What is to change about a user.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdatedUser {
    /// The new name to sign in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The new password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The password so far: needed to change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_password: Option<String>,
    /// What the person may do from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// A personal access token, without the token itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Identifies the token.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// What whoever has it may do, at most; what its owner may if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// When it was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// Until when it is good; for ever if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration_date: Option<Timestamp>,
    /// When it was made.
    pub created_ts: Timestamp,
}

/// A personal access token to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewToken {
    /// What to call it; each of a user's tokens has another name.
    pub name: String,
    /// Seconds; for ever if zero or absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u32>,
    /// What whoever has it may do, at most: no more than its owner may; that if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}
