//! A virtual device in a directory: two partition files with real file systems, a redundant boot
//! environment, a persistent data directory, and a stand-in for the boot loader that decides as
//! the real one does. It needs no root, and the agent on it is the real one.

pub mod boot_loader;
mod device;
pub mod disk_image;
pub mod faulty;
mod fleet_server;
mod image;
mod loop_device;
mod mounts;
pub mod peers;
mod power;
mod programs;
pub mod vm;
mod workshop;

pub use boot_loader::{Booted, boot};
pub use device::{Device, Setup};
pub use fleet_server::FleetServer;
pub use image::make_image;
pub use loop_device::{LoopDevice, Traffic};
pub use mounts::leave_mounts;
pub use power::Powered;
pub use programs::{installed, patience, program};
pub use workshop::{Workshop, said, texts, write_artifact};
