//! The tests of the crate through its public interface, and of its program.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests run on the developer's machine and stop at the first surprise"
)]

mod bounds;
mod cli;
mod forge;
mod framed;
mod interop;
mod json;
mod large;
mod members;
mod mutations;
mod names;
mod peers;
mod short_reads;
mod signatures;
mod streams;
mod tar;
mod threads;
mod vectors;
mod writing;
