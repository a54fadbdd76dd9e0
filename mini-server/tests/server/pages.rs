//! The pages, as a browser without scripts meets them.

pub mod browser;
mod guard;
mod hostile;
mod live;
mod speed;
mod stories;
