//! The U-Boot environment: the few variables through which Linux and the boot loader agree on what
//! to boot, kept so that no power cut can lose them.
//!
//! ```text
//! Config ── where the copies lie (fw_env.config)
//!   └─ Store ── chooses the good, newest copy; writes only the other one
//!        ├─ Env      variables, bytes in and bytes out
//!        ├─ image    one copy: checksum, flags byte, data
//!        └─ Medium   what the kernel offers: file, block device, NOR, NAND, UBI volume
//! ```
//!
//! A visit is: lock, read, write. One write changes any number of variables, and it goes to the copy
//! that is *not* current: whatever happens on the way, the current copy is whole.
//!
//! ```no_run
//! use tandem_uboot_env::{Config, Store};
//!
//! # fn main() -> Result<(), tandem_uboot_env::Error> {
//! let store = Store::new(Config::load("/etc/fw_env.config".as_ref())?);
//! let guard = store.lock()?;
//! store.set_many(&guard, &[("upgrade_available", Some("0")), ("bootcount", None)])?;
//! # Ok(())
//! # }
//! ```
//!
//! The formats are U-Boot's (`env/common.c`, `tools/env/fw_env.c`); the tools `fw_printenv` and
//! `fw_setenv` ([`command`]) answer as those of libubootenv 0.3.2 do. Where they differ on purpose
//! the place says `DIFFERS:`.

mod access;
pub mod command;
mod config;
mod env;
mod error;
mod getopt;
pub mod image;
mod lock;
pub mod medium;
mod newest;
mod placement;
mod script;
mod snapshot;
mod store;

pub use config::{Config, Lock, Place};
pub use env::Env;
pub use error::Error;
pub use lock::{Guard, ReadGuard};
pub use script::Change;
pub use snapshot::{Damage, Health, Snapshot, Warning};
pub use store::{Store, Written};
