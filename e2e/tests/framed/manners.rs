//! What an installation leaves to the others.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use tandem_e2e::faulty::Fault;
use tandem_e2e::program;

use crate::site::Site;
use crate::{nothing, pieces};

#[test]
fn a_download_keeps_to_its_limit() {
    // Once as a whole, once in pieces. What comes is noise, which does not get smaller.
    for options in [&["--compression", "none"][..], &["--framed"]] {
        let site = Site::new(options);
        let bytes = match options.contains(&"none") {
            true => site.size(),
            false => 100 * 4096,
        };
        site.configure(&format!("download_rate_limit = {}", bytes * 2 / 3));
        let server = site.serve(nothing);
        let begun = Instant::now();
        site.installed(&site.install(&server.url("a.mender")));
        let taken = begun.elapsed();
        // What has come last is not waited for.
        assert!(
            taken >= Duration::from_millis(1300),
            "{options:?}: {taken:?}"
        );
    }
}

#[test]
fn who_pays_for_each_byte_can_forbid_to_fetch_everything() {
    let site = Site::new(&["--framed"]);
    site.configure("whole_artifact_fallback = false");
    let server = site.serve(pieces(|_| true, Fault::NoRange));
    let output = site.install(&server.url("a.mender"));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && log.contains("whole_artifact_fallback"),
        "{log}"
    );
    assert!(!log.contains("fetching the whole artifact"), "{log}");
    // Nothing else is forbidden.
    let server = site.serve(nothing);
    site.installed(&site.install(&server.url("a.mender")));
}

#[test]
fn a_limit_of_nothing_is_refused() {
    let site = Site::new(&["--framed"]);
    site.configure("download_rate_limit = 0");
    let output = site.install("www/a.mender");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && log.contains("download_rate_limit"),
        "{log}"
    );
}

#[test]
fn an_installation_steps_back_while_it_fetches_and_no_longer() {
    for (word, nice, io) in [
        ("low", "PRIO_PROCESS, 0, 10)", "IOPRIO_CLASS_BE, 7)"),
        ("idle", "PRIO_PROCESS, 0, 19)", "IOPRIO_CLASS_IDLE, 0)"),
    ] {
        let site = Site::new(&["--framed"]);
        site.configure(&format!("install_priority = \"{word}\""));
        let trace = site.path("trace");
        let output = Command::new("strace")
            .args(["-f", "-qq", "-y", "-s0", "-e"])
            .arg("trace=setpriority,ioprio_set,pwrite64,write,renameat,rename")
            .arg("-o")
            .arg(&trace)
            .arg(program("tandem").unwrap())
            .arg("--config")
            .arg(site.device.path("etc/tandem.toml"))
            .arg("install")
            .arg(site.path("www/a.mender"))
            .output()
            .unwrap();
        site.installed(&output);
        let trace = fs::read_to_string(&trace).unwrap();
        let lines: Vec<&str> = trace.lines().collect();
        let first = |what: &str| lines.iter().position(|line| line.contains(what));
        let last = |what: &str| lines.iter().rposition(|line| line.contains(what));
        let (nice, io) = (first(nice).unwrap(), first(io).unwrap());
        let written = (
            first("/disk/root3>").unwrap(),
            last("/disk/root3>").unwrap(),
        );
        assert!(nice < written.0 && io < written.0, "{trace}");
        // Back again before the boot environment is written.
        let (nice, io) = (last("setpriority(").unwrap(), last("ioprio_set(").unwrap());
        assert!(written.1 < nice && written.1 < io, "{trace}");
        assert!(io < last("uboot").unwrap_or(usize::MAX), "{trace}");
        assert!(
            !lines[nice].contains("= -1") && !lines[io].contains("= -1"),
            "{trace}"
        );
    }
}
