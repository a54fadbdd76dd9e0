//! The server as devices, operators and strangers meet it: the real process, over TLS on loopback.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test may panic, and says on stderr what it skips"
)]

mod access;
mod audit;
mod backup;
mod command_line;
mod device_api;
mod docs;
mod downloads;
mod framing;
mod from_mender;
mod harness;
mod hostile_output;
mod lost;
mod management_api;
mod mender_cli;
mod mender_client;
mod operations;
mod pages;
mod people;
mod postgres;
mod robustness;
mod roles;
mod rollout_pages;
mod rollout_targets;
mod rollouts;
mod simulate;
mod stores;
mod uploads;
mod webhooks;
