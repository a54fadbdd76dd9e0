//! What is known about devices, and the groups that they are in.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::device::Attribute;
use crate::timestamp::Timestamp;

/// A device with what is known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InventoryDevice {
    /// Identifies the device.
    pub id: String,
    /// The facts: its identity, its inventory, the server's own (`system`), and tags.
    pub attributes: Vec<Attribute>,
    /// When they changed last.
    pub updated_ts: Timestamp,
}

/// The group of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupOf {
    /// The group, if it is in one.
    pub group: Option<String>,
}

/// How many of the devices named there are, and how many of them changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    /// How many of them there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub matched_count: u64,
    /// How many changed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub updated_count: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A question for devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Which page, from 1.
    #[serde(default = "one")]
    pub page: u32,
    /// How many on a page.
    #[serde(default = "twenty")]
    pub per_page: u32,
    /// All of these have to hold.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// In which order.
    #[serde(default)]
    pub sort: Vec<Sort>,
    /// Which attributes to show; all if empty.
    #[serde(default)]
    pub attributes: Vec<SelectAttribute>,
    /// Only these devices, unless empty.
    #[serde(default)]
    pub device_ids: Vec<String>,
    /// Only devices with an attribute that contains this.
    #[serde(default)]
    pub text: String,
}

fn one() -> u32 {
    1
}

fn twenty() -> u32 {
    20
}

/// One condition of a [`Search`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    /// `inventory`, `identity`, `system` or `tags`.
    pub scope: String,
    /// The name of the attribute.
    pub attribute: String,
    /// `$eq`, `$ne`, `$gt`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// What to compare with.
    pub value: Value,
}

/// One criterion of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sort {
    /// As in [`Filter`].
    pub scope: String,
    /// The name of the attribute.
    pub attribute: String,
    /// `asc` or `desc`.
    #[serde(default)]
    pub order: String,
}

/// An attribute to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectAttribute {
    /// As in [`Filter`].
    pub scope: String,
    /// The name of the attribute.
    pub attribute: String,
}

/// An attribute that one can search for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterAttribute {
    /// Its name.
    pub name: String,
    /// As in [`Filter`].
    pub scope: String,
    /// How many devices have it.
    pub count: u64,
}
