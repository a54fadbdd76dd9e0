//! What a call costs, beside Debian's tools: system calls and time, as ratios measured in one run.
//!
//! ```text
//! cargo test --profile device -p tandem-uboot-env --test cost -- --ignored --nocapture
//! ```
//!
//! `TANDEM_TOOLS=DIR` measures the programs in another directory, a static build for example.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may panic, and what it writes need not be durable"
)]

mod peers;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use peers::{Device, installed, ours};
use tandem_uboot_env::{Env, image};

fn our_program(name: &str) -> PathBuf {
    match std::env::var_os("TANDEM_TOOLS") {
        Some(directory) => Path::new(&directory).join(name),
        None => ours(name),
    }
}

fn command(program: &Path, device: &Device, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(["-c", "fw_env.config"])
        .args(args)
        .current_dir(device.dir.path());
    // With the path that cargo sets, the loader looks everywhere.
    command.env_remove("LD_LIBRARY_PATH").stdout(Stdio::null());
    command
}

fn time(program: &Path, device: &Device, args: &[&str]) -> Duration {
    let mut command = command(program, device, args);
    let start = Instant::now();
    assert!(command.status().unwrap().success());
    start.elapsed()
}

/// All system calls, and those after the configuration has been opened: the work itself.
fn system_calls(program: &Path, device: &Device, args: &[&str]) -> (usize, usize) {
    let traced = command(program, device, args);
    let trace = device.dir.path().join("trace");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .arg(traced.get_program())
        .args(traced.get_args());
    strace
        .current_dir(device.dir.path())
        .env_remove("LD_LIBRARY_PATH")
        .stdout(Stdio::null());
    assert!(strace.status().unwrap().success());
    let text = std::fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> = text.lines().filter(|line| line.contains('(')).collect();
    let start = calls
        .iter()
        .position(|call| call.contains("fw_env.config\", O_"))
        .unwrap();
    (calls.len(), calls.len() - start)
}

#[test]
#[ignore = "a measurement, not a test"]
fn cost_of_a_call_beside_debians_tools() {
    if !installed("fw_setenv") || !installed("strace") {
        return;
    }
    let env = Env::from_text(b"mender_boot_part=2\nupgrade_available=0\nbootcount=0\n").unwrap();
    let copy = image::build(&env, 0x4000, Some(1)).unwrap();
    let mine = Device::new(0x4000, 2, &copy.repeat(2));
    let theirs = mine.twin();

    for (name, program, args) in [
        ("print one", "fw_printenv", &["mender_boot_part"][..]),
        ("set, no change", "fw_setenv", &["bootcount", "0"]),
        ("set one", "fw_setenv", &["upgrade_available", "?"]),
        (
            "set four",
            "fw_setenv",
            &["a", "?", "b", "?", "c", "?", "d", "?"],
        ),
    ] {
        let (ours, debians) = (our_program(program), PathBuf::from(program));
        let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
        for round in 0..RUNS {
            let value = round.to_string();
            let args: Vec<&str> = args
                .iter()
                .map(|arg| if *arg == "?" { &value } else { *arg })
                .collect();
            our_times.push(time(&ours, &mine, &args));
            their_times.push(time(&debians, &theirs, &args));
        }
        let (our_calls, our_work) = system_calls(&ours, &mine, args);
        let (their_calls, their_work) = system_calls(&debians, &theirs, args);
        let (our_time, their_time) = (median(our_times), median(their_times));
        eprintln!(
            "{name:15} system calls {our_calls}/{their_calls} = {:.2}, of which work \
             {our_work}/{their_work} = {:.2}; median {} us/{} us = {:.2}",
            ratio(our_calls, their_calls),
            ratio(our_work, their_work),
            our_time.as_micros(),
            their_time.as_micros(),
            our_time.as_secs_f64() / their_time.as_secs_f64(),
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ratio(ours: usize, theirs: usize) -> f64 {
    ours as f64 / theirs as f64
}

const RUNS: usize = 200;
