//! The pages, as a browser without scripts meets them.

mod browser;
mod guard;
mod hostile;
mod live;
mod speed;
mod stories;
