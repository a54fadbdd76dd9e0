//! Framed artifacts: only what the device does not have is fetched, and whatever goes wrong with
//! that, the device ends on the right image.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

mod manners;
mod packed;
mod site;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::process::Command;

use tandem_artifact::Digest;
use tandem_artifact::framed::{BLOCK, sections};
use tandem_e2e::faulty::{Fault, FaultyServer, Request};
use tandem_e2e::program;

use site::{BLOCKS, NEW, Site, ZERO, noise};

/// What went over the line, without the first answer, which nobody reads to its end.
fn fetched(server: &FaultyServer) -> u64 {
    let seen = server.seen();
    let pieces = seen.iter().filter(|seen| seen.range.is_some());
    pieces.map(|seen| seen.sent).sum()
}

fn nothing(_: &Request, _: usize) -> Fault {
    Fault::None
}

#[test]
fn only_what_the_device_does_not_have_is_fetched() {
    for options in [
        &["--framed"][..],
        &["--framed", "--previous", "old.img"],
        &["--compression", "gzip"],
    ] {
        let site = Site::new(options);
        if options.contains(&"gzip") {
            site.tool(&["-q", "reframe", "www/a.mender"]);
        }
        let server = site.serve(nothing);
        let log = site.installed(&site.install(&server.url("a.mender")));
        assert!(log.contains("fetching "), "{log}");
        let (new, index) = ((NEW * BLOCK) as u64, u64::from(site.framed().index.length));
        let all = fetched(&server);
        assert!(all >= new, "{all}: {log}");
        // Uniform frames may reach over both ends of the five places.
        assert!(all < new + index + 10 * 16384, "{all}: {log}");
        assert!(
            server.connections() <= 3,
            "{} connections",
            server.connections()
        );
        assert!(server.seen().len() <= 8, "{:?}", server.seen());
    }
}

#[test]
fn a_file_is_installed_in_the_same_way() {
    let site = Site::new(&["--framed", "--previous", "old.img"]);
    let artifact = site.path("www/a.mender");
    let log = site.installed(&site.install(artifact.to_str().unwrap()));
    assert!(log.contains("in 5 requests"), "{log}");
    // And once more, when all of it is there.
    site.tandem(&["rollback"]);
    let log = site.installed(&site.install(artifact.to_str().unwrap()));
    assert!(log.contains("fetching 0 of"), "{log}");
}

#[test]
fn the_image_that_runs_is_not_fetched_once_more() {
    let mut image = noise(BLOCKS * BLOCK);
    image[300 * BLOCK..600 * BLOCK].fill(0);
    for (changes, words) in [(false, "fetching nothing"), (true, "fetching ")] {
        let site = Site::with(&image, &image, &["--framed"]);
        let provides = format!("rootfs-image.checksum:{}", Digest::of(&image));
        let words_of = "-q write bootstrap-artifact -t board -n release-1 -o first.mender -p";
        let args: Vec<&str> = words_of.split(' ').chain([&*provides]).collect();
        site.tool(&args);
        let bootstrap = site.device.path("data/bootstrap.mender");
        fs::copy(site.path("first.mender"), bootstrap).unwrap();
        if changes {
            // The record says so, but somebody has written to it.
            let part = File::options().write(true).open(site.device.part(2));
            part.unwrap().write_all_at(b"x", 5000).unwrap();
        }
        let server = site.serve(nothing);
        let log = site.installed(&site.install(&server.url("a.mender")));
        assert!(log.contains(words), "{log}");
        assert_eq!(log.contains("fetching nothing"), !changes, "{log}");
        assert_eq!(fetched(&server) > 0, changes, "{log}");
    }
}

#[test]
fn blocks_that_are_right_are_not_written_and_zeros_are_not_either() {
    let site = Site::new(&["--framed"]);
    let artifact = site.path("www/a.mender");
    let trace = site.path("trace");
    let traced = |name: &str| {
        let output = Command::new("strace")
            .args([
                "-f",
                "-qq",
                "-y",
                "-e",
                "trace=pwrite64,fallocate,fsync,fdatasync",
            ])
            .args(["-e", "write=none", "-s0", "-o"])
            .arg(&trace)
            .arg(program("tandem").unwrap())
            .arg("--config")
            .arg(site.device.path("etc/tandem.toml"))
            .args(["install", artifact.to_str().unwrap()])
            .output()
            .unwrap();
        site.installed(&output);
        let trace = fs::read_to_string(&trace).unwrap();
        let of_part = trace.lines().filter(|line| line.contains("/disk/root3>"));
        let calls: Vec<String> = of_part.map(str::to_owned).collect();
        let written: u64 = calls
            .iter()
            .filter(|line| line.contains("pwrite64"))
            .filter_map(|line| line.rsplit_once("= ")?.1.parse::<u64>().ok())
            .sum();
        let flushes = calls.iter().filter(|line| line.contains("sync(")).count();
        assert_eq!(flushes, 1, "{name}: {calls:?}");
        assert!(calls.last().unwrap().contains("sync("), "{name}: {calls:?}");
        written
    };
    let part = File::options()
        .write(true)
        .open(site.device.part(3))
        .unwrap();
    // Something stands where zeros are to be, and some of it is right.
    part.write_all_at(&noise(ZERO * BLOCK), 0).unwrap();
    let image = fs::read(site.path("new.img")).unwrap();
    let right = 600 * BLOCK..900 * BLOCK;
    part.write_all_at(&image[right.clone()], right.start as u64)
        .unwrap();
    let expected = image.len() - ZERO * BLOCK - right.len();
    assert_eq!(traced("first"), expected as u64);
    site.tandem(&["rollback"]);
    assert_eq!(traced("again"), 0);
}

/// Whatever the server does, the image is installed.
#[track_caller]
fn check(
    what: &str,
    script: impl Fn(&Request, usize) -> Fault + Send + Sync + 'static,
    words: &str,
) {
    let site = Site::new(&["--framed", "--previous", "old.img"]);
    let server = site.serve(script);
    let log = site.installed(&site.install(&server.url("a.mender")));
    assert!(log.contains(words), "{what}: {words:?} is not in {log}");
}

/// The fault for requests of pieces with these numbers, the first being that of the index.
fn pieces(
    faulty: impl Fn(usize) -> bool + Send + Sync + 'static,
    fault: Fault,
) -> impl Fn(&Request, usize) -> Fault + Send + Sync {
    move |request, number| match request.range_last() {
        Some(_) if faulty(number - 1) => fault.clone(),
        _ => Fault::None,
    }
}

#[test]
fn a_server_without_ranges_gives_the_whole_artifact() {
    let whole = "fetching the whole artifact";
    check("never", pieces(|_| true, Fault::NoRange), whole);
    check(
        "not for frames",
        pieces(|number| number > 0, Fault::NoRange),
        whole,
    );
    check(
        "not in the middle",
        pieces(|number| number == 3, Fault::NoRange),
        whole,
    );
    check("416", pieces(|_| true, Fault::Status(416, None)), whole);
    check(
        "404",
        pieces(|number| number == 2, Fault::Status(404, None)),
        whole,
    );
    check("403", pieces(|_| true, Fault::Status(403, None)), whole);
    check("400", pieces(|_| true, Fault::Status(400, None)), whole);
}

#[test]
fn a_bad_line_does_not_make_it_fetch_everything() {
    let site = Site::new(&["--framed", "--previous", "old.img"]);
    for (what, fault) in [
        ("cut", Fault::Cut(30_000)),
        ("short", Fault::Shorten(30_000)),
        ("wrong range", Fault::WrongRange(100)),
        ("503", Fault::Status(503, None)),
        ("garbage", Fault::Garbage),
        (
            "stall",
            Fault::Stall(20_000, std::time::Duration::from_secs(60)),
        ),
    ] {
        let server = site.serve(pieces(|number| number == 2, fault));
        let log = site.installed(&site.install(&server.url("a.mender")));
        assert!(!log.contains("whole artifact"), "{what}: {log}");
        let all = fetched(&server);
        assert!(all < site.size() / 4, "{what}: {all}: {log}");
        site.tandem(&["rollback"]);
        File::options()
            .write(true)
            .open(site.device.part(3))
            .unwrap()
            .write_all_at(&noise(BLOCKS * BLOCK), 0)
            .unwrap();
    }
}

#[test]
fn wrong_bytes_are_seen_before_they_are_written() {
    let whole = "fetching the whole artifact";
    check(
        "a frame",
        pieces(|number| number == 2, Fault::Flip(9000)),
        whole,
    );
    check(
        "the index",
        pieces(|number| number == 0, Fault::Flip(2000)),
        whole,
    );
}

#[test]
fn a_running_root_part_that_changes_is_only_a_bad_seed() {
    // All blocks are others from the beginning, or from when they have been looked at.
    for changes_at in [0, 2] {
        let site = Site::new(&["--framed"]);
        let running = site.device.part(2);
        let server = site.serve(move |_, number| {
            if number == changes_at {
                let mut file = File::options().write(true).open(&running).unwrap();
                file.write_all(&noise(BLOCKS * BLOCK)).unwrap();
            }
            Fault::None
        });
        let log = site.installed(&site.install(&server.url("a.mender")));
        assert!(!log.contains("whole artifact"), "{log}");
        let (all, size) = (fetched(&server), site.size());
        assert!(all < size + size / 2, "{all} of {size}: {log}");
        if changes_at == 2 {
            assert!(log.contains("looking at it again"), "{log}");
        }
    }
}

#[test]
fn an_index_that_lies_costs_at_most_a_whole_download() {
    // Fingerprints are as long as it says at 11.
    let place = |index: &[u8], from_end: usize| index.len() - usize::from(index[11]) * from_end;
    // The index of a reframed artifact is not signed, so that it can lie.
    let site = || {
        let site = Site::new(&["--compression", "zstd_fast"]);
        site.tool(&[
            "-q",
            "reframe",
            "--compression",
            "zstd_fast",
            "www/a.mender",
        ]);
        site
    };
    let whole = "fetching the whole artifact";
    #[track_caller]
    fn check(site: &Site, words: &str, change: impl FnOnce(&mut [u8])) {
        site.change_index(change);
        let server = site.serve(nothing);
        let log = site.installed(&site.install(&server.url("a.mender")));
        assert!(log.contains(words), "{words:?} is not in {log}");
        let (all, size) = (fetched(&server), site.size());
        assert!(all <= size + size / 10, "{all} of {size}: {log}");
    }
    check(&site(), whole, |index| index[8] = 9);
    check(&site(), whole, |index| index[60..72].fill(0xff));
    check(&site(), whole, |index| index[104..110].fill(0xff));
    // Fingerprints of nothing: everything is fetched, and is not what was said.
    check(&site(), whole, |index| {
        let start = place(index, BLOCKS - ZERO);
        index[start..].fill(0x55);
    });
    // Two blocks that the device has are said to stand in each other's place.
    check(&site(), "not what was signed for", |index| {
        let (one, other) = (place(index, 20), place(index, 10));
        for byte in 0..usize::from(index[11]) {
            index.swap(one + byte, other + byte);
        }
    });
    // A frame is said to be longer: what follows is shifted.
    check(&site(), whole, |index| {
        index[105] = index[105].wrapping_add(1)
    });
}

#[test]
fn a_signed_index_must_be_the_one_that_was_signed() {
    let site = Site::new(&["--framed"]);
    site.change_index(|index| {
        let end = index.len() - 1;
        index[end] ^= 1;
    });
    let server = site.serve(nothing);
    let log = site.installed(&site.install(&server.url("a.mender")));
    assert!(log.contains("does not match"), "{log}");
    assert!(log.contains("fetching the whole artifact"), "{log}");
}

/// How many bytes may be fetched twice for each interruption.
const AGAIN: u64 = 8_000_000;

#[test]
fn killed_at_any_point_it_goes_on_where_it_was() {
    // More new blocks than may be fetched twice: 24 MB of 32.
    let (old, mut new) = (noise(32 << 20), noise(24 << 20));
    new.extend_from_slice(&old[..8 << 20]);
    let options = [
        "--framed",
        "--compression",
        "zstd_fastest",
        "--previous",
        "old.img",
    ];
    let site = Site::with(&old, &new, &options);
    let clean = site.device.path("");
    let kept = site.path("kept");
    copy(&clean, &kept);
    for point in [1, 5, 17, 33, 41, 47, 52, 60] {
        fs::remove_dir_all(&clean).unwrap();
        copy(&kept, &clean);
        let server = site.serve(nothing);
        let url = server.url("a.mender");
        let killed = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e"])
            .arg(format!("inject=pwrite64:signal=SIGKILL:when={point}"))
            .arg(program("tandem").unwrap())
            .arg("--config")
            .arg(site.device.path("etc/tandem.toml"))
            .args(["install", &url])
            .output()
            .unwrap();
        assert!(!killed.status.success(), "{point}: nothing was killed");
        let before = fetched(&server);
        let resumed = site.tandem(&["resume"]);
        let log = String::from_utf8_lossy(&resumed.stderr);
        // What the record says is judged elsewhere; here a second order must be cheap.
        let output = match resumed.status.success() && log.contains("signed for") {
            true => resumed,
            false => site.install(&url),
        };
        site.installed(&output);
        let (all, size) = (fetched(&server), site.size());
        assert!(
            all <= size + AGAIN,
            "{point}: {before}, then {all} of {size}"
        );
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let copied = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success());
}

#[test]
fn the_index_is_small() {
    let site = Site::new(&["--framed"]);
    let framed = site.framed();
    let file = File::open(site.path("www/a.mender")).unwrap();
    let sections = sections(file, &framed).unwrap();
    assert_eq!(sections.len(), 1);
    // Five bytes for each block that is not zero in an image of this size, and a few for each frame.
    let blocks = (BLOCKS - ZERO) as u32;
    let frames = sections[0].frames().len() as u32;
    assert!(framed.index.length <= 104 + 5 * blocks + 5 * frames + 20);
}
