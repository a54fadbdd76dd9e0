//! Virtual machines: QEMU, Debian's boot loaders and kernel, busybox, and Tandem on top.
//!
//! A [`Lab`] makes disk images with `tandem-image`'s functions and serves artifacts over HTTPS; a
//! [`Machine`] runs from a copy of such an image and is driven by its serial port. [`scenarios`]
//! are what the boot tests play. Nothing needs root or hardware virtualisation.

mod board;
mod console;
mod cuts;
mod dice;
mod disk;
mod fleet;
mod guest;
mod lab;
mod machine;
mod managed;
mod scenario;
mod stage;

pub use board::Board;
pub use cuts::{Phase, Tally, Victim};
pub use dice::Dice;
pub use disk::{Disk, EnvironmentCopy};
pub use fleet::Fleet;
pub use lab::{Kind, Lab, Release, Updates};
pub use machine::{Machine, Up};
pub use managed::{await_end, deploy, enrol};
pub use scenario::{Scenario, scenarios};
pub use stage::Stage;
