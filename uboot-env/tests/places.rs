//! Real files, block devices and lock files, and configurations that name them well or badly.

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

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use peers::{Device, Whose, finish, installed, ours, run};
use tandem_uboot_env::medium::{Access, Devices};
use tandem_uboot_env::{Config, Env, Error, Lock, Place, Store, image};

fn env_of(text: &str) -> Env {
    Env::from_text(text.as_bytes()).unwrap()
}

fn single(size: usize, text: &str) -> Device {
    Device::new(size, 1, &image::build(&env_of(text), size, None).unwrap())
}

fn redundant(size: usize, text: &str) -> Device {
    Device::new(
        size,
        2,
        &image::build(&env_of(text), size, Some(1))
            .unwrap()
            .repeat(2),
    )
}

/// A loop device on a file; it goes away with this.
struct Loop(PathBuf);

impl Loop {
    /// `None`, said loudly, where there are none.
    fn new(file: &Path, options: &[&str]) -> Option<Self> {
        let mut command = Command::new("losetup");
        command.args(["--find", "--show"]).args(options).arg(file);
        let run = finish(command, b"");
        if run.code != Some(0) {
            eprintln!("SKIPPED: no loop device here: {}", run.err);
            return None;
        }
        Some(Self(PathBuf::from(run.out.trim_end_matches("\\n"))))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let mut command = Command::new("losetup");
        command.arg("--detach").arg(&self.0);
        finish(command, b"");
    }
}

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        eprintln!("SKIPPED: needs root");
    }
    root
}

#[test]
fn a_file_that_is_all_environment_is_replaced_and_keeps_what_it_was() {
    let device = single(0x100, "a=1\n");
    let file = device.dir.path().join("env");
    let real = device.dir.path().join("real");
    fs::rename(&file, &real).unwrap();
    symlink("real", &file).unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&real, Some(12), Some(34)).unwrap();
    }
    let before = fs::metadata(&real).unwrap();
    // What a power cut may have left behind is no obstacle, and a link in its place is no target.
    let victim = device.dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, device.dir.path().join("real.tandem-new")).unwrap();

    assert_eq!(device.set(Whose::Ours, &["a", "2"], b"").code, Some(0));

    assert_eq!(device.print(Whose::Ours, &["-n", "a"]).out, "2\\n");
    assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
    let after = fs::metadata(&real).unwrap();
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    assert_ne!(after.ino(), before.ino(), "it was written in place");
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(fs::read_dir(device.dir.path()).unwrap().count(), 4);
}

#[test]
fn other_files_are_written_in_place_and_keep_what_else_is_in_them() {
    for (copies, more) in [(1, 1), (2, 0), (2, 7)] {
        let device = if copies == 1 {
            single(0x100, "a=1\n")
        } else {
            redundant(0x100, "a=1\n")
        };
        device.set_content(&[device.content(), vec![7; more]].concat());
        let before = fs::metadata(device.dir.path().join("env")).unwrap();
        assert_eq!(device.set(Whose::Ours, &["a", "2"], b"").code, Some(0));
        let after = fs::metadata(device.dir.path().join("env")).unwrap();
        assert_eq!((after.ino(), after.len()), (before.ino(), before.len()));
        assert!(device.content().ends_with(&vec![7; more]));
    }
}

#[test]
fn one_of_two_files_is_written_in_place_for_the_other_one_is_whole() {
    let device = single(0x100, "a=1\n");
    let [first, second] = ["env", "env2"].map(|name| device.dir.path().join(name));
    let copy = image::build(&env_of("a=1\n"), 0x100, Some(1)).unwrap();
    fs::write(&first, &copy).unwrap();
    fs::write(&second, &copy).unwrap();
    let config = "env 0 100\nenv2 0 100\n";
    fs::write(device.dir.path().join("fw_env.config"), config).unwrap();
    let inode = fs::metadata(&second).unwrap().ino();
    assert_eq!(device.set(Whose::Ours, &["a", "2"], b"").code, Some(0));
    assert_eq!(fs::metadata(&second).unwrap().ino(), inode);
    assert_eq!(fs::read(&first).unwrap(), copy);
    assert_ne!(fs::read(&second).unwrap(), copy);
}

#[test]
fn without_the_right_to_make_files_a_single_copy_is_written_in_place() {
    if !is_root() {
        return;
    }
    let device = single(0x100, "a=1\n");
    fs::set_permissions(device.dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let file = device.dir.path().join("env");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    // The build directory need not be open to everybody.
    let program = device.dir.path().join("fw_setenv");
    fs::copy(ours("fw_setenv"), &program).unwrap();
    let before = fs::metadata(&file).unwrap();

    let mut command = Command::new(program);
    command
        .args(["-c", "fw_env.config", "a", "2"])
        .current_dir(device.dir.path());
    command.uid(NOBODY).gid(NOBODY);
    let run = finish(command, b"");

    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(fs::metadata(&file).unwrap().ino(), before.ino());
    assert_eq!(device.print(Whose::Ours, &["-n", "a"]).out, "2\\n");
}

#[test]
fn what_is_no_storage_is_refused_and_never_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("mkfifo");
    command.arg(dir.path().join("fifo"));
    assert_eq!(finish(command, b"").code, Some(0));
    for device in [
        "fifo",
        ".",
        "/dev/null",
        "/dev/zero",
        "/dev/tty",
        "nosuch",
        "nosuch:volume",
    ] {
        fs::write(dir.path().join("config"), format!("{device} 0 100\n")).unwrap();
        for program in ["fw_printenv", "fw_setenv"] {
            let run = run(
                Whose::Ours,
                program,
                dir.path(),
                &["-c", "config", "x", "1"],
                b"",
            );
            assert_eq!(
                (run.code, run.out.as_str()),
                (Some(234), ""),
                "{device} {run:?}"
            );
        }
    }
    for line in [
        "config 0x7fffffffffffffff 100",
        "config -1 100",
        "config 0 100\nconfig 0x80 100",
        "config 0 400001",
        "config 0 ffffffffffffffff",
        "config 0 4",
    ] {
        fs::write(dir.path().join("config"), line).unwrap();
        let run = run(
            Whose::Ours,
            "fw_setenv",
            dir.path(),
            &["-c", "config", "x", "1"],
            b"",
        );
        assert_eq!(run.code, Some(234), "{line} {run:?}");
        assert_eq!(
            fs::read(dir.path().join("config")).unwrap(),
            line.as_bytes()
        );
    }
}

#[test]
fn two_names_of_one_file_are_one_place() {
    let device = redundant(0x100, "a=1\n");
    symlink("env", device.dir.path().join("alias")).unwrap();
    fs::write(
        device.dir.path().join("fw_env.config"),
        "env 0 100\nalias 0x80 100\n",
    )
    .unwrap();
    let run = device.set(Whose::Ours, &["a", "2"], b"");
    assert_eq!(run.code, Some(234));
    assert!(run.err.contains("overlap"), "{run:?}");
}

#[test]
fn every_truncation_of_a_configuration_is_read_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config");
    for text in [
        "# comment\n/dev/mtd0 0x4000 0x4000 0x20000 2 1\n/dev/mtd0 0x44000 0x4000 0x20000 2 1\n",
        "---\nu:\n  size: 0x4000\n  lockfile: \"/l\"\n  writelist:\n    - a:sw\n  devices:\n    - path: /e\n",
    ] {
        for end in 0..=text.len() {
            fs::write(&path, &text[..end]).unwrap();
            match Config::load(&path) {
                Ok(config) => assert!(config.size() > 0),
                Err(err) => assert!(matches!(err, Error::Config { .. }), "{err}"),
            }
        }
    }
    fs::write(&path, vec![b'#'; 1 << 20]).unwrap();
    assert!(matches!(Config::load(&path), Err(Error::ReadConfig { .. })));
}

#[test]
fn namespaces_of_a_yaml_configuration_are_environments_of_their_own() {
    let device = redundant(0x100, "a=1\nr=1\n");
    let lock = device.dir.path().join("lock");
    let config = format!(
        "uboot:\n  size: 0x100\n  lockfile: {}\n  writelist:\n    - a:sw\n    - r:sr\n  devices:\n    \
         - path: env\n    - path: env\n      offset: 0x100\napp:\n  size: 0x100\n  devices:\n    - \
         path: app\n",
        lock.display()
    );
    fs::write(device.dir.path().join("fw_env.config"), config).unwrap();
    let app = image::build(&env_of("b=2\n"), 0x100, None).unwrap();
    fs::write(device.dir.path().join("app"), app).unwrap();

    assert_eq!(device.print::<&str>(Whose::Ours, &[]).out, "a=1\\nr=1\\n");
    assert!(lock.exists());
    assert_eq!(device.print(Whose::Ours, &["-m", "app"]).out, "b=2\\n");
    assert_eq!(
        device
            .set(Whose::Ours, &["--namespace=app", "b", "3"], b"")
            .code,
        Some(0)
    );
    assert_eq!(device.print(Whose::Ours, &["-m", "app", "b"]).out, "b=3\\n");
    assert_eq!(
        device
            .set(Whose::Ours, &["-m", "uboot", "a", "2"], b"")
            .code,
        Some(0)
    );
    for (args, code) in [(["r", "2"], 1), (["other", "2"], 1), (["r", "1"], 0)] {
        assert_eq!(
            device.set(Whose::Ours, &args, b"").code,
            Some(code),
            "{args:?}"
        );
    }
    let run = device.print(Whose::Ours, &["-m", "nosuch"]);
    assert_eq!(
        (run.code, run.err.contains("uboot, app")),
        (Some(1), true),
        "{run:?}"
    );

    let lines = redundant(0x100, "a=1\n");
    assert_eq!(lines.print(Whose::Ours, &["-m", "uboot"]).code, Some(1));
}

#[test]
fn block_devices_are_written_by_offset_from_both_ends() {
    let device = redundant(0x1000, "a=1\n");
    device.set_content(&vec![0x5A; 0x10000]);
    let Some(disk) = Loop::new(&device.dir.path().join("env"), &[]) else {
        return;
    };
    let default = device.dir.path().join("default");
    fs::write(&default, "a=1\nbootcmd=boot\n").unwrap();
    let default = default.to_str().unwrap();
    let path = disk.0.display();
    let config = format!("{path} 0x2000 0x1000\n{path} -0x2000 0x1000\n");
    fs::write(device.dir.path().join("fw_env.config"), config).unwrap();

    assert_eq!(
        device
            .set(Whose::Ours, &["-f", default, "a", "2"], b"")
            .code,
        Some(0)
    );
    for (whose, reader, value) in [
        (Whose::Ours, Whose::Debians, "3"),
        (Whose::Debians, Whose::Ours, "4"),
        (Whose::Ours, Whose::Debians, "5"),
    ] {
        if installed("fw_setenv") {
            assert_eq!(device.set(whose, &["a", value], b"").code, Some(0));
            assert_eq!(
                device.print(reader, &["-n", "a"]).out,
                format!("{value}\\n")
            );
        }
    }
    let content = device.content();
    let changed: Vec<usize> = content
        .chunks(0x1000)
        .enumerate()
        .filter(|(_, at)| at[..] != [0x5A; 0x1000])
        .map(|(at, _)| at)
        .collect();
    assert_eq!(changed, [2, 14]);

    // Nothing behind the end: that copy is missing, the other one carries on.
    let config = format!("{path} 0x2000 0x1000\n{path} 0xf800 0x1000\n");
    fs::write(device.dir.path().join("fw_env.config"), config).unwrap();
    assert_eq!(device.print(Whose::Ours, &["-n", "a"]).code, Some(0));
    let config = format!("{path} -0x20000 0x1000\n");
    fs::write(device.dir.path().join("fw_env.config"), config).unwrap();
    assert_eq!(device.print(Whose::Ours, &["-n", "a"]).code, Some(234));
}

/// A tree like sysfs, with a loop device in the part of an eMMC boot partition.
#[test]
fn a_write_protected_boot_partition_is_opened_for_the_write_only() {
    let device = redundant(0x1000, "a=1\n");
    for (options, writable) in [(&[][..], true), (&["--read-only"], false)] {
        let Some(disk) = Loop::new(&device.dir.path().join("env"), options) else {
            return;
        };
        let number = fs::metadata(&disk.0).unwrap().rdev();
        let sys = tempfile::tempdir().unwrap();
        let described = sys
            .path()
            .join(format!("dev/block/{}:{}", number >> 8, number & 0xFF));
        fs::create_dir_all(&described).unwrap();
        let force_ro = described.join("force_ro");

        for (before, seen) in [("1\n", "0"), ("0\n", "0")] {
            fs::write(&force_ro, before).unwrap();
            let devices = Devices {
                sys: sys.path().to_owned(),
                ..Devices::default()
            };
            let places = [0, 0x1000].map(|offset| Place::new(&disk.0, offset));
            let [first, second] = places;
            let config = Config::new(0x1000, first, Some(second)).unwrap();
            let switch = force_ro.clone();
            let store = Store::on(config, move |path, access| {
                let medium = devices.open(path, access)?;
                Ok(Box::new(Watched {
                    medium,
                    switch: switch.clone(),
                    seen,
                }))
            });
            let guard = store.lock().unwrap();
            let written = store.set_many(&guard, &[("before", Some(before.trim()))]);
            let changed = written.as_ref().is_ok_and(|written| written.copy.is_some());
            assert_eq!(changed, writable, "{written:?}");
            let after = fs::read_to_string(&force_ro).unwrap();
            assert_eq!(after.trim(), before.trim(), "not as it was before");
        }
    }
}

/// Looks at the switch whenever something is written.
struct Watched {
    medium: Box<dyn tandem_uboot_env::medium::Medium>,
    switch: PathBuf,
    seen: &'static str,
}

impl tandem_uboot_env::medium::Medium for Watched {
    fn geometry(&self) -> tandem_uboot_env::medium::Geometry {
        self.medium.geometry()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.medium.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        // A real switch is a number; a file keeps what is behind the digit.
        let state = fs::read_to_string(&self.switch).unwrap();
        assert!(state.starts_with(self.seen), "{state:?}");
        self.medium.write_at(offset, bytes)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        self.medium.sync()
    }

    fn set_protected(&mut self, range: std::ops::Range<u64>, on: bool) -> std::io::Result<bool> {
        self.medium.set_protected(range, on)
    }
}

#[test]
fn a_lock_that_is_never_released_is_given_up() {
    let device = redundant(0x100, "a=1\n");
    let env = device.dir.path().join("env");
    let patience = Duration::from_millis(60);
    let lock = Lock {
        path: device.dir.path().join("lock"),
        patience,
    };
    let config = Config::new(0x100, Place::new(env, 0), None)
        .unwrap()
        .with_lock(lock);
    let (store, other) = (Store::new(config.clone()), Store::new(config));

    let guard = store.lock().unwrap();
    assert_eq!(guard.warning(), None);
    let start = Instant::now();
    assert!(matches!(other.lock(), Err(Error::Locked { .. })));
    assert!(matches!(
        other.lock_for_reading(),
        Err(Error::Locked { .. })
    ));
    assert!(start.elapsed() >= patience * 2);
    other.read().unwrap();
    drop(guard);
    let reading = [
        other.lock_for_reading().unwrap(),
        store.lock_for_reading().unwrap(),
    ];
    assert!(matches!(store.lock(), Err(Error::Locked { .. })));
    drop(reading);
    store.lock().unwrap();
}

#[test]
fn a_lock_file_that_cannot_be_used_is_done_without_and_a_link_is_not_followed() {
    let device = redundant(0x100, "a=1\n");
    let victim = device.dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, device.dir.path().join("link")).unwrap();
    symlink("nowhere", device.dir.path().join("dangling")).unwrap();
    for lock in ["link", "dangling", "missing/lock", "."] {
        let lock = Lock {
            path: device.dir.path().join(lock),
            ..Lock::default()
        };
        let place = Place::new(device.dir.path().join("env"), 0);
        let config = Config::new(0x100, place, None)
            .unwrap()
            .with_lock(lock.clone());
        let store = Store::new(config);
        let guard = store.lock().unwrap();
        let directory = lock.path.is_dir();
        assert_eq!(guard.warning().is_some(), !directory, "{lock:?}");
        store.read().unwrap();
    }
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert!(!device.dir.path().join("nowhere").exists());
}

#[test]
fn our_tools_and_debians_exclude_each_other() {
    if !installed("fw_setenv") {
        return;
    }
    let device = redundant(0x4000, "start=1\n");
    // Whoever reads before another one has written would lose what that one wrote.
    let mut children = Vec::new();
    for number in 0..24 {
        let program = if number % 2 == 0 {
            ours("fw_setenv")
        } else {
            PathBuf::from("fw_setenv")
        };
        let mut command = Command::new(program);
        command.args(["-c", "fw_env.config", &format!("v{number:02}"), "set"]);
        children.push(command.current_dir(device.dir.path()).spawn().unwrap());
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let expected: String = (0..24)
        .map(|number| format!("v{number:02}=set\\n"))
        .collect();
    assert_eq!(
        device.print::<&str>(Whose::Debians, &[]).out,
        format!("start=1\\n{expected}")
    );
}

#[test]
fn the_file_is_found_anew_by_every_call() {
    let device = single(0x100, "a=1\n");
    let place = Place::new(device.dir.path().join("env"), 0);
    let store = Store::new(Config::new(0x100, place, None).unwrap());
    assert_eq!(store.read().unwrap().env, Some(env_of("a=1\n")));
    // Another program replaces the file.
    assert_eq!(device.set(Whose::Ours, &["a", "2"], b"").code, Some(0));
    assert_eq!(store.read().unwrap().env, Some(env_of("a=2\n")));
    let medium = Devices::default().open(&device.dir.path().join("env"), Access::Read);
    assert_eq!(medium.unwrap().geometry().length, 0x100);
}

const NOBODY: u32 = 65534;
