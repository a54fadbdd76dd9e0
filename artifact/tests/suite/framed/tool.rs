//! What the program says of framed artifacts: what an update costs, and images that depend on their files alone.

use super::*;

#[track_caller]
fn says(folder: &Path, args: &[&str], code: i32, words: &str) -> String {
    let output = std::process::Command::new(peers::ours())
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.contains(words), "{args:?}: {text}");
    text
}

#[test]
fn delta_tells_what_is_fetched_and_holds_a_budget() {
    let folder = tempfile::tempdir().unwrap();
    let old = letters(200, 200);
    let new = old.replace(&letters(250, 3), &letters(900, 3));
    fs::write(folder.path().join("old.ext4"), image(&old)).unwrap();
    fs::write(folder.path().join("new.ext4"), image(&new)).unwrap();
    let write = [
        "write",
        "rootfs-image",
        "-t",
        "board",
        "-n",
        "r",
        "-f",
        "new.ext4",
        "--framed",
    ];
    let previous = ["--previous", "old.ext4", "-o", "new.mender"];
    says(folder.path(), &[&write[..], &previous].concat(), 0, "");
    let text = says(
        folder.path(),
        &["delta", "old.ext4", "new.mender"],
        0,
        "as it is",
    );
    assert_eq!(text.lines().count(), 2, "{text}");
    let text = says(
        folder.path(),
        &["delta", "old.ext4", "new.ext4"],
        0,
        "cut where OLD differs",
    );
    assert!(text.contains("content: cut where OLD differs"), "{text}");
    assert_eq!(text.lines().count(), 7, "{text}");
    let delta = ["delta", "old.ext4", "new.mender", "--budget"];
    says(
        folder.path(),
        &[&delta[..], &["100"]].concat(),
        1,
        "100 are the budget",
    );
    says(
        folder.path(),
        &[&delta[..], &["100000"]].concat(),
        0,
        "as it is",
    );
    says(
        folder.path(),
        &["delta", "nowhere", "new.ext4"],
        3,
        "nowhere",
    );
    // The old one as an artifact, and a hint that is none.
    says(
        folder.path(),
        &["delta", "new.mender", "new.ext4", "--all"],
        0,
        "no help",
    );
    says(
        folder.path(),
        &[&write[..], &["--previous", "new.mender"]].concat(),
        0,
        "new.mender is no help",
    );
    says(
        folder.path(),
        &[&write[..], &["--compression", "gzip"]].concat(),
        2,
        "zstd",
    );
    says(
        folder.path(),
        &[&write[..8], &["--previous", "old.ext4"]].concat(),
        2,
        "--framed",
    );
}

#[test]
fn equal_files_make_equal_images() {
    if !have("mke2fs") || !have("e2fsck") {
        return;
    }
    for features in [
        "^metadata_csum,^64bit",
        "metadata_csum,64bit",
        "metadata_csum,metadata_csum_seed",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir_all(path.join("tree/etc")).unwrap();
        fs::write(path.join("tree/etc/file"), "content").unwrap();
        for number in 0..100 {
            fs::write(path.join(format!("tree/{number}")), [number; 5000]).unwrap();
        }
        let uuid = "11111111-2222-3333-4444-555555555555";
        let seed = format!("hash_seed={uuid},lazy_itable_init=0");
        let make = |name: &str, time: &str| {
            let mut command = std::process::Command::new("mke2fs");
            command.current_dir(path).env("E2FSPROGS_FAKE_TIME", time);
            command.args([
                "-q", "-F", "-t", "ext4", "-b", "4096", "-U", uuid, "-E", &seed,
            ]);
            command.args([
                "-O", features, "-g", "8192", "-N", "2048", "-d", "tree", name, "70M",
            ]);
            assert!(command.status().unwrap().success());
        };
        make("a.ext4", "1600000000");
        // Other times of reading, and another time of making.
        let file = File::open(path.join("tree/etc/file")).unwrap();
        let times = fs::FileTimes::new().set_accessed(std::time::SystemTime::UNIX_EPOCH);
        file.set_times(times).unwrap();
        make("b.ext4", "1600009999");
        let different = |name: &str, other: &str| {
            let content = |name: &str| fs::read(path.join(name)).unwrap();
            content(name) != content(other)
        };
        assert!(different("a.ext4", "b.ext4"), "{features}");
        for name in ["a.ext4", "b.ext4"] {
            says(path, &["normalise", "--time", "1500000000", name], 0, "");
            run(path, "e2fsck", &["-fn", name]);
        }
        assert!(!different("a.ext4", "b.ext4"), "{features}");
        let mut superblock = File::open(path.join("a.ext4")).unwrap();
        superblock.seek(SeekFrom::Start(1024 + 48)).unwrap();
        let mut time = [0; 4];
        superblock.read_exact(&mut time).unwrap();
        assert_eq!(u32::from_le_bytes(time), 1_500_000_000);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("x"), [0; 4096]).unwrap();
    says(
        folder.path(),
        &["normalise", "--time", "1", "x"],
        3,
        "not an ext4",
    );
}
