//! Virtual machines: QEMU, Debian's boot loaders and kernel, busybox, and Tandem on top.
//!
//! A [`Lab`] makes disk images with `tandem-image`'s functions and serves artifacts over HTTPS; a
//! [`Machine`] runs from a copy of such an image and is driven by its serial port. Nothing needs
//! root or hardware virtualisation.

mod board;
mod console;
mod disk;
mod guest;
mod lab;
mod machine;

pub use board::Board;
pub use disk::{Disk, EnvironmentCopy};
pub use lab::{Kind, Lab, Release};
pub use machine::{Machine, Up};
