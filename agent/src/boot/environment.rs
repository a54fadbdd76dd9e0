//! What the boot contract needs from the place where a boot loader keeps its variables. One
//! implementation a boot loader: [`super::uboot`] and [`super::grub`].

use std::collections::BTreeMap;

use anyhow::Result;

/// Variables that survive a reboot, read by the boot loader and by the running system.
pub(super) trait Environment {
    /// All variables, from the copy that counts.
    ///
    /// # Errors
    /// When no copy is good, or it cannot be read.
    fn read(&self) -> Result<Reading>;

    /// Sets these variables and leaves the others: all or none of them, and durable when this
    /// returns. What a person should know comes back.
    ///
    /// # Errors
    /// When it cannot be done. Whether the old or the new values count is then to be read again.
    fn write(&self, variables: &[(&str, String)]) -> Result<Vec<String>>;

    /// Whether a root part is also selected by its number in hexadecimal, for commands that take
    /// it so.
    fn in_hexadecimal(&self) -> bool;

    /// The key of the configuration that says where this environment lies.
    fn configured_by(&self) -> &'static str;
}

/// What an environment holds.
#[derive(Debug)]
pub(super) struct Reading {
    /// The variables.
    pub(super) variables: BTreeMap<String, String>,
    /// What a person should know: a copy is damaged, there is no second one, and the like.
    pub(super) warnings: Vec<String>,
}
