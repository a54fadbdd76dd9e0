//! Virtual machines: QEMU, Debian's boot loaders and kernel, busybox, and Tandem on top.
//!
//! A [`Lab`] makes disk images with `tandem-image`'s functions and serves artifacts over HTTPS; a
//! [`Machine`] runs from a copy of such an image and is driven by its serial port. [`SCENARIOS`]
//! are what the boot tests play. Nothing needs root or hardware virtualisation.

mod board;
mod console;
mod cuts;
mod dice;
mod disk;
mod guest;
mod lab;
mod machine;
mod scenario;
mod stage;

pub use board::Board;
pub use cuts::{Phase, Tally, Victim};
pub use dice::Dice;
pub use disk::{Disk, EnvironmentCopy};
pub use lab::{Kind, Lab, Release};
pub use machine::{Machine, Up};
pub use scenario::{SCENARIOS, Scenario};
pub use stage::Stage;
