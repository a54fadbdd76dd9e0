//! `tandem install https://...` from a server that does wrong: every case ends with the new system
//! installed or with one failure that is told, in bounded time, and the running system untouched.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tandem_e2e::faulty::{Fault, FaultyServer, Files, certificate};
use tandem_e2e::{Device, Setup, boot, make_image, patience, program};

const MIB: u64 = 1 << 20;

/// What a case comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Installed,
    Refused,
}

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        Site::with(8 * MIB)
    }

    /// With a root file system of this size, half of it noise.
    fn with(size: u64) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let site = Site { dir };
        for sub in ["tree/boot", "tree/sbin", "www"] {
            fs::create_dir_all(site.path(sub)).unwrap();
        }
        for file in ["boot/vmlinuz", "sbin/init"] {
            fs::write(site.path("tree").join(file), "present").unwrap();
        }
        // Content that does not compress, so that every byte of the artifact counts.
        let mut noise = fs::File::open("/dev/urandom").unwrap().take(size / 2);
        let mut file = fs::File::create(site.path("tree/sbin/noise")).unwrap();
        std::io::copy(&mut noise, &mut file).unwrap();
        make_image(&site.path("image.ext4"), &site.path("tree"), size).unwrap();
        let made = Command::new(program("tandem-artifact").unwrap())
            .args([
                "-q",
                "write",
                "rootfs-image",
                "-t",
                "board",
                "-n",
                "release-2",
            ])
            .args(["--compression", "none", "-f"])
            .arg(site.path("image.ext4"))
            .arg("-o")
            .arg(site.path("www/a.mender"))
            .status()
            .unwrap();
        assert!(made.success());
        certificate(&site.path("server")).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn device(&self, name: &str, more: &str) -> Device {
        let setup = Setup {
            tree: self.path("tree"),
            part_size: fs::metadata(self.path("image.ext4")).unwrap().len() + MIB,
            device_type: "board".into(),
            configuration: format!(
                "allow_unsigned = true\nserver_certificate = \"{}\"\nretry_poll_interval_seconds = 1\n\
                 retry_download_count = 3\nstall_timeout_seconds = 2\n{more}",
                self.path("server.crt").display()
            ),
            bootstrap: None,
        };
        Device::create(&self.path(name), &setup).unwrap()
    }

    fn serve(&self, script: impl Fn(usize) -> Fault + Send + Sync + 'static) -> FaultyServer {
        FaultyServer::start(
            &self.path("server.crt"),
            &self.path("server.key"),
            Arc::new(Files(self.path("www"))),
            Arc::new(move |_: &_, number| script(number)),
        )
        .unwrap()
    }
}

#[track_caller]
fn check(
    what: &str,
    end: End,
    within: Duration,
    script: impl Fn(usize) -> Fault + Send + Sync + 'static,
) {
    let site = Site::new();
    let device = site.device("device", "");
    let server = site.serve(script);
    let begun = Instant::now();
    let output = Command::new(program("tandem").unwrap())
        .arg("--config")
        .arg(device.path("etc/tandem.toml"))
        .args(["install", &server.url("a.mender")])
        .output()
        .unwrap();
    let taken = begun.elapsed();
    let log = String::from_utf8_lossy(&output.stderr);
    let found = if output.status.success() {
        End::Installed
    } else {
        End::Refused
    };
    assert_eq!(found, end, "{what}: {log}");
    let within = within * patience();
    assert!(taken <= within, "{what}: takes {taken:?}: {log}");
    let booted = boot(&device).unwrap().part;
    match end {
        End::Installed => {
            assert_eq!(booted, 3, "{what}");
            let image = fs::read(site.path("image.ext4")).unwrap();
            let part = fs::read(device.part(3)).unwrap();
            assert!(part[..image.len()] == image[..], "{what}: not the image");
        }
        End::Refused => {
            assert_eq!(booted, 2, "{what}");
            assert!(log.contains("error: "), "{what}: {log}");
        }
    }
}

const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(15);
const LONG: Duration = Duration::from_secs(600);

/// The fault for the first `count` requests.
fn first(count: usize, fault: Fault) -> impl Fn(usize) -> Fault + Send + Sync {
    move |number| {
        if number < count {
            fault.clone()
        } else {
            Fault::None
        }
    }
}

/// The fault for every request.
fn always(fault: Fault) -> impl Fn(usize) -> Fault + Send + Sync {
    move |_| fault.clone()
}

#[test]
fn a_connection_that_breaks_is_taken_up_again() {
    check("no fault", End::Installed, SOON, always(Fault::None));
    check("cut once", End::Installed, SOON, first(1, Fault::Cut(MIB)));
    check(
        "cut in the header",
        End::Installed,
        SOON,
        first(1, Fault::Cut(700)),
    );
    check(
        "cut every 2 MiB",
        End::Installed,
        LATER,
        always(Fault::Cut(2 * MIB)),
    );
    check(
        "cut at once, for ever",
        End::Refused,
        LATER,
        always(Fault::Cut(0)),
    );
    check(
        "stalls once",
        End::Installed,
        LATER,
        first(1, Fault::Stall(MIB, LONG)),
    );
    check(
        "never a byte",
        End::Refused,
        Duration::from_secs(30),
        always(Fault::Silence(LONG)),
    );
}

#[test]
fn false_answers_are_seen_through() {
    let then = |fault: Fault| {
        move |number: usize| match number {
            0 => Fault::Cut(MIB),
            1 => fault.clone(),
            _ => Fault::None,
        }
    };
    check(
        "wrong range once",
        End::Installed,
        LATER,
        then(Fault::WrongRange(1000)),
    );
    check("wrong range for ever", End::Refused, LATER, |number| {
        if number == 0 {
            Fault::Cut(MIB)
        } else {
            Fault::WrongRange(1000)
        }
    });
    check("no ranges", End::Installed, LATER, then(Fault::NoRange));
    check("416", End::Refused, LATER, then(Fault::Status(416, None)));
    check(
        "503 twice",
        End::Installed,
        LATER,
        first(2, Fault::Status(503, None)),
    );
    check(
        "503 for ever",
        End::Refused,
        LATER,
        always(Fault::Status(503, None)),
    );
    check(
        "429",
        End::Installed,
        LATER,
        first(1, Fault::Status(429, Some(1))),
    );
    check("404", End::Refused, SOON, always(Fault::Status(404, None)));
    check(
        "redirect",
        End::Installed,
        SOON,
        first(1, Fault::Redirect("/a.mender?moved".into())),
    );
    check(
        "redirect for ever",
        End::Refused,
        LATER,
        always(Fault::Redirect("/a.mender".into())),
    );
    check(
        "to http",
        End::Refused,
        LATER,
        always(Fault::Redirect("http://localhost/".into())),
    );
    check(
        "garbage once",
        End::Installed,
        LATER,
        first(1, Fault::Garbage),
    );
    check(
        "garbage for ever",
        End::Refused,
        LATER,
        always(Fault::Garbage),
    );
    check(
        "headers for ever",
        End::Refused,
        LATER,
        always(Fault::HeaderFlood),
    );
}

#[test]
fn changed_bytes_are_never_accepted() {
    check("one bit", End::Refused, SOON, always(Fault::Flip(5 * MIB)));
    check(
        "one bit of the header",
        End::Refused,
        SOON,
        always(Fault::Flip(600)),
    );
    check(
        "blocks swapped",
        End::Refused,
        SOON,
        always(Fault::Swap(3 * MIB)),
    );
    check(
        "too short",
        End::Refused,
        LATER,
        always(Fault::Shorten(5 * MIB)),
    );
    check(
        "too long",
        End::Refused,
        LATER,
        always(Fault::Promise(1000)),
    );
}

#[test]
fn only_the_configured_server_is_trusted() {
    let site = Site::new();
    certificate(&site.path("other")).unwrap();
    let server = site.serve(always(Fault::None));
    for (configuration, words) in [
        (
            format!(
                "server_certificate = \"{}\"",
                site.path("other.crt").display()
            ),
            "certificate",
        ),
        (
            "server_certificate = \"/nowhere.crt\"".to_owned(),
            "/nowhere.crt",
        ),
    ] {
        let device = site.device(&format!("device-{}", words.len()), "");
        let path = device.path("etc/tandem.toml");
        let mut lines: Vec<String> = fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.retain(|line| !line.starts_with("server_certificate"));
        lines.push(configuration);
        fs::write(&path, lines.join("\n")).unwrap();
        let output = Command::new(program("tandem").unwrap())
            .arg("--config")
            .arg(path)
            .args(["install", &server.url("a.mender")])
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(words), "{log}");
        assert!(server.seen().is_empty(), "something was sent");
    }
}

#[test]
fn no_byte_is_asked_for_twice_over_a_line_that_keeps_breaking() {
    breaking_line(&Site::new(), MIB);
}

/// `./check long`
#[test]
#[ignore = "takes a minute and 3 GiB"]
fn a_gib_comes_over_a_line_that_drops_every_20_mb() {
    breaking_line(&Site::with(1024 * MIB), 20_000_000);
}

#[track_caller]
fn breaking_line(site: &Site, every: u64) {
    let image = fs::metadata(site.path("image.ext4")).unwrap().len();
    let device = site.device("device", "");
    let server = site.serve(always(Fault::Cut(every)));
    let trace = site.path("trace");
    let output = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-y",
            "-e",
            "trace=write,pwrite64",
            "-e",
            "write=none",
            "-s0",
            "-o",
        ])
        .arg(&trace)
        .arg(program("tandem").unwrap())
        .arg("--config")
        .arg(device.path("etc/tandem.toml"))
        .args(["install", &server.url("a.mender")])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let size = fs::metadata(site.path("www/a.mender")).unwrap().len();
    let mut next = 0;
    for seen in server.seen() {
        // What was sent and what arrived differ by what the broken connection swallowed.
        let first = seen.range.unwrap_or(0);
        assert!(first <= next, "a gap: {first} after {next}");
        let again = next - first;
        assert!(again <= 256 << 10, "{again} bytes were fetched again");
        next = first + seen.sent;
    }
    assert_eq!(next, size);
    // Each byte of the root part is written once, if it is not there already.
    let trace = fs::read_to_string(trace).unwrap();
    let written: u64 = trace
        .lines()
        .filter(|line| line.contains("/disk/root3>"))
        .filter_map(|line| line.rsplit_once("= ")?.1.parse::<u64>().ok())
        .sum();
    assert!(written > image / 4, "{written} of {image}");
    assert!(written <= image, "{written} of {image}");
}
