//! Images that are divided where their content says: the same promises as for blocks.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use tandem_artifact::framed::{BLOCK, Division, sections};
use tandem_e2e::faulty::Fault;
use tandem_e2e::program;

use crate::site::{BLOCKS, MOVED, NEW, Site, ZERO, noise};
use crate::{AGAIN, copy, fetched, nothing};

const CONTENT: [&str; 3] = ["--framed", "--index", "content"];

/// An artifact whose index nobody vouches for, so that it can lie.
fn unsigned() -> Site {
    let site = Site::new(&["--compression", "zstd_fast"]);
    let words = "-q reframe --compression zstd_fast --index content www/a.mender";
    site.tool(&words.split(' ').collect::<Vec<_>>());
    site
}

#[track_caller]
fn is_content(site: &Site) {
    let file = File::open(site.path("www/a.mender")).unwrap();
    for section in sections(file, &site.framed()).unwrap() {
        assert!(matches!(section.division(), Division::Chunks(_)));
    }
}

#[test]
fn only_the_chunks_that_the_device_does_not_have_are_fetched() {
    for options in [
        &CONTENT[..],
        &[&CONTENT[..], &["--previous", "old.img"]].concat(),
    ] {
        let site = Site::new(options);
        is_content(&site);
        let server = site.serve(nothing);
        let log = site.installed(&site.install(&server.url("a.mender")));
        let (new, all) = ((NEW * BLOCK) as u64, fetched(&server));
        // A chunk or two more at each end of what is new and of what has moved, and frames around them.
        assert!(all >= new && all < new + 14 * 40_000, "{all}: {log}");
        assert!(server.connections() <= 3, "{}", server.connections());
        // What has been put together is a seed as well.
        site.tandem(&["rollback"]);
        let server = site.serve(nothing);
        let log = site.installed(&site.install(&server.url("a.mender")));
        assert!(log.contains("fetching 0 of"), "{log}");
    }
}

/// What is written to the passive root part, bytes.
fn written(site: &Site) -> u64 {
    let trace = site.path("trace");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-y", "-e", "trace=pwrite64", "-s0", "-o"])
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
    let writes = trace.lines().filter(|line| line.contains("/disk/root3>"));
    let counts = writes.filter_map(|line| line.rsplit_once("= ")?.1.parse::<u64>().ok());
    counts.sum()
}

#[test]
fn chunks_that_are_right_are_not_written_and_zeros_are_not_either() {
    let site = Site::new(&CONTENT);
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
    let least = (image.len() - ZERO * BLOCK - right.len()) as u64;
    let first = written(&site);
    // The chunks at the edges reach into what is neither.
    assert!(
        (least..least + 4 * 65_536).contains(&first),
        "{first}, {least}"
    );
    site.tandem(&["rollback"]);
    assert_eq!(written(&site), 0);
}

#[test]
fn a_running_root_part_that_changes_is_only_a_bad_seed_for_chunks() {
    for changes_at in [0, 2] {
        let site = Site::new(&CONTENT);
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
    }
}

#[test]
fn what_the_passive_root_part_has_elsewhere_is_moved() {
    // The running one is of no help; the passive one has the image, but three bytes further on.
    let (old, new) = (noise(BLOCKS * BLOCK), noise(BLOCKS * BLOCK));
    for shift in [3, 5000] {
        let site = Site::with(&old, &new, &CONTENT);
        let part = File::options()
            .write(true)
            .open(site.device.part(3))
            .unwrap();
        part.write_all_at(&new, shift).unwrap();
        let server = site.serve(nothing);
        let log = site.installed(&site.install(&server.url("a.mender")));
        let all = fetched(&server);
        assert!(all < 300_000, "{shift}: {all}: {log}");
    }
    // What stands before its place has been overwritten when it is needed.
    let site = Site::with(&old, &new, &CONTENT);
    let part = File::options()
        .write(true)
        .open(site.device.part(3))
        .unwrap();
    part.write_all_at(&new[MOVED * BLOCK..], 0).unwrap();
    let server = site.serve(nothing);
    let log = site.installed(&site.install(&server.url("a.mender")));
    assert!(!log.contains("whole artifact"), "{log}");
}

#[test]
fn an_index_of_chunks_that_lies_costs_at_most_a_whole_download() {
    let whole = "fetching the whole artifact";
    #[track_caller]
    fn check(words: &str, change: impl FnOnce(&mut [u8], usize)) {
        let site = unsigned();
        is_content(&site);
        site.change_index(|index| {
            let count = u32::from_le_bytes(index[60..64].try_into().unwrap()) as usize;
            let prints = index.len() - count * usize::from(index[11]);
            change(index, prints);
        });
        let server = site.serve(nothing);
        let log = site.installed(&site.install(&server.url("a.mender")));
        assert!(log.contains(words), "{words:?} is not in {log}");
        let (all, size) = (fetched(&server), site.size());
        assert!(all <= size + size / 10, "{all} of {size}: {log}");
    }
    check(whole, |index, _| index[8] = 9);
    check(whole, |index, _| index[52..60].fill(0x11));
    check(whole, |index, _| index[60..72].fill(0xff));
    check(whole, |index, _| index[104..110].fill(0xff));
    // The chunks are of other lengths: some end behind the image.
    check(whole, |index, prints| index[prints - 40..prints].fill(0x7f));
    // Fingerprints of nothing: everything is fetched, and is not what was said.
    check(whole, |index, prints| index[prints..].fill(0x55));
    // All are said to be zeros.
    check("not what was signed for", |index, prints| {
        index[prints..].fill(0)
    });
    // Two chunks that the device has are said to stand in each other's place.
    check(whole, |index, prints| {
        let width = usize::from(index[11]);
        let (one, other) = (index.len() - 2 * width, index.len() - 9 * width);
        assert!(other > prints);
        for byte in 0..width {
            index.swap(one + byte, other + byte);
        }
    });
}

#[test]
fn killed_at_any_point_it_goes_on_with_the_chunks_that_it_has() {
    // More that is new than may be fetched twice: 24 MB of 32, and what is old is shifted.
    let (old, mut new) = (noise(32 << 20), noise((24 << 20) + 123));
    new.extend_from_slice(&old[..8 << 20]);
    new.resize(new.len().next_multiple_of(BLOCK), 0);
    let options = [
        &CONTENT[..],
        &["--compression", "zstd_fastest", "--previous", "old.img"],
    ]
    .concat();
    let site = Site::with(&old, &new, &options);
    let (clean, kept) = (site.device.path(""), site.path("kept"));
    copy(&clean, &kept);
    for point in [1, 17, 41, 55] {
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

/// A tree of files of which one in front has been replaced by a longer one.
fn trees(folder: &Path) {
    for tree in ["old", "new"] {
        fs::create_dir_all(folder.join(tree)).unwrap();
    }
    for number in 0..60 {
        // Half of it gets smaller, so that the file system has something to do.
        let mut content = noise(40_000 + 1000 * number);
        content.extend(format!("{number:50}").repeat(800).bytes());
        for tree in ["old", "new"] {
            let name = folder.join(tree).join(format!("file{number:02}"));
            match (tree, number) {
                ("new", 7) => fs::write(name, noise(70_001)).unwrap(),
                _ => fs::write(name, &content).unwrap(),
            }
        }
    }
}

#[test]
fn one_file_more_in_a_squashfs_or_an_erofs_does_not_cost_the_rest() {
    for (program, options) in [
        (
            "mksquashfs",
            &[
                "-noappend",
                "-all-root",
                "-comp",
                "zstd",
                "-all-time",
                "1700000000",
                "-mkfs-time",
                "1700000000",
            ][..],
        ),
        (
            "mkfs.erofs",
            &[
                "-zlz4hc",
                "-T1700000000",
                "-U11111111-2222-3333-4444-555555555555",
            ],
        ),
    ] {
        let required = std::env::var_os("TANDEM_REQUIRE_PEERS").is_some();
        if !required && Command::new(program).arg("--help").output().is_err() {
            eprintln!("NOT RUN: {program} is not installed");
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        trees(folder.path());
        let image = |tree: &str| {
            let name = format!("{tree}.img");
            let mut command = Command::new(program);
            command.current_dir(folder.path());
            match program {
                "mksquashfs" => command.args([tree, &name]).args(options),
                _ => command.args(options).args([&name, tree]),
            };
            let made = command.output().unwrap();
            assert!(made.status.success(), "{made:?}");
            fs::read(folder.path().join(name)).unwrap()
        };
        let (old, new) = (image("old"), image("new"));
        let site = Site::with(&old, &new, &["--framed", "--previous", "old.img"]);
        if program == "mksquashfs" {
            is_content(&site);
        }
        let server = site.serve(nothing);
        let log = site.installed(&site.install(&server.url("a.mender")));
        let (all, size) = (fetched(&server), site.size());
        assert!(
            all < 70_001 + size / 12,
            "{program}: {all} of {size}: {log}"
        );
    }
}
