//! What is known about a device.

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::timestamp::Timestamp;

/// One fact about a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// What the fact is about: 1 to 1024 bytes.
    pub name: String,
    /// The fact.
    pub value: AttributeValue,
    /// Who says so: `inventory` for the device itself, whatever it writes here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
}

/// The value of an [`Attribute`]: one or several of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a string, a number, or a list of either"
)]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// A number.
    Number(Number),
    /// Several texts, as a script makes them that prints a key twice.
    Texts(Vec<String>),
    /// Several numbers.
    Numbers(Vec<Number>),
}
