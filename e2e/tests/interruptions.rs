//! The real agent, killed at every system call that writes, syncs, renames, removes or executes,
//! and given an error there: the device always ends on a whole system, the record stays readable,
//! and what is said to be installed is what runs.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may fail loudly, and its files are its own"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::thread;

use tandem_e2e::{Device, Setup, boot, installed, make_image, program};

/// What changes the world.
const CALLS: &str = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,\
                     link,linkat,mkdir,mkdirat,symlink,symlinkat,ftruncate,rmdir,execve,mknodat,mknod";

const IMAGE: u64 = 2 << 20;

/// What is interrupted.
#[derive(Clone, Copy, Debug)]
enum Scene {
    /// `install` on a device that runs release 1.
    Install,
    /// `commit` on trial.
    Commit,
    /// `rollback` before the reboot.
    Rollback,
}

impl Scene {
    fn arguments(self, lab: &Lab) -> Vec<String> {
        let artifact = lab.dir.join("release-2.mender").display().to_string();
        match self {
            Scene::Install => vec!["install".into(), artifact],
            Scene::Commit => vec!["commit".into()],
            Scene::Rollback => vec!["rollback".into()],
        }
    }
}

/// One workplace: a device that can be put back to where a scene begins.
struct Lab {
    dir: PathBuf,
    device: Device,
}

impl Lab {
    fn new(dir: &Path) -> Lab {
        fs::create_dir_all(dir).unwrap();
        let tree = dir.join("tree");
        for sub in ["boot", "sbin", "etc"] {
            fs::create_dir_all(tree.join(sub)).unwrap();
        }
        for file in ["boot/vmlinuz", "sbin/init"] {
            fs::write(tree.join(file), "present").unwrap();
        }
        for release in ["release-1", "release-2"] {
            fs::write(tree.join("etc/release"), release).unwrap();
            let image = dir.join(format!("{release}.ext4"));
            make_image(&image, &tree, IMAGE).unwrap();
            let artifact = dir.join(format!("{release}.mender"));
            run(Command::new(program("tandem-artifact").unwrap())
                .args([
                    "write",
                    "rootfs-image",
                    "-t",
                    "virtual",
                    "-n",
                    release,
                    "-f",
                ])
                .arg(&image)
                .arg("-o")
                .arg(&artifact));
        }
        let bootstrap = dir.join("bootstrap.mender");
        run(Command::new(program("tandem-artifact").unwrap())
            .args([
                "write",
                "bootstrap-artifact",
                "-t",
                "virtual",
                "-n",
                "release-1",
                "-o",
            ])
            .arg(&bootstrap));
        fs::write(tree.join("etc/release"), "release-1").unwrap();
        let setup = Setup {
            tree,
            part_size: IMAGE + (1 << 20),
            device_type: "virtual".into(),
            configuration: "allow_unsigned = true".into(),
            bootstrap: Some(bootstrap),
        };
        let device = Device::create(&dir.join("device"), &setup).unwrap();
        // The very bytes of the image, so that a whole slot can be told by comparing.
        fs::write(
            device.part(2),
            padded(&dir.join("release-1.ext4"), setup.part_size),
        )
        .unwrap();
        let lab = Lab {
            dir: dir.to_owned(),
            device,
        };
        assert_eq!(lab.installed(), "release-1");
        lab.keep("Install");
        assert!(lab.tandem(&["install", lab.artifact()]).status.success());
        lab.keep("Rollback");
        boot(&lab.device).unwrap();
        lab.keep("Commit");
        lab
    }

    fn artifact(&self) -> &str {
        // Leaked once per lab: the arguments of a test.
        Box::leak(
            self.dir
                .join("release-2.mender")
                .display()
                .to_string()
                .into_boxed_str(),
        )
    }

    fn keep(&self, name: &str) {
        let to = self.dir.join(format!("at-{name}"));
        run(Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(self.device.path(""))
            .arg(to));
    }

    fn put_back(&self, scene: Scene) {
        fs::remove_dir_all(self.device.path("")).unwrap();
        let from = self.dir.join(format!("at-{scene:?}"));
        run(Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(from)
            .arg(self.dir.join("device")));
    }

    fn tandem(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command
            .arg("60")
            .arg(program("tandem").unwrap())
            .arg("--config");
        command.arg(self.device.path("etc/tandem.toml"));
        command
    }

    /// Runs a scene under strace with this injection; its exit code and what it wrote to the log.
    fn inject(&self, scene: Scene, injection: &str) -> Output {
        let mut command = Command::new("timeout");
        command.args(["60", "strace", "-f", "-qq", "-o", "/dev/null", "-e"]);
        command
            .arg(format!("trace={CALLS}"))
            .arg("-e")
            .arg(injection);
        command.arg(program("tandem").unwrap()).arg("--config");
        command
            .arg(self.device.path("etc/tandem.toml"))
            .args(scene.arguments(self));
        command.output().unwrap()
    }

    fn installed(&self) -> String {
        let shown = self.tandem(&["show-artifact"]);
        assert!(
            shown.status.success(),
            "the record cannot be read: {shown:?}"
        );
        String::from_utf8(shown.stdout).unwrap().trim().to_owned()
    }

    /// Brings the device to rest, as people would, and checks that all is well with it.
    #[track_caller]
    fn settle(&self, context: &str) -> String {
        let name = self.settle_somehow(context);
        let running = fs::read_to_string(self.device.path("running/etc/release")).unwrap();
        assert_eq!(running, name, "{context}: runs one thing, says another");
        name
    }

    /// Like [`Lab::settle`], but what runs may be called a mixture.
    #[track_caller]
    fn settle_somehow(&self, context: &str) -> String {
        for _ in 0..4 {
            boot(&self.device).unwrap_or_else(|err| panic!("{context}: {err:#}"));
            self.installed();
            let resumed = self.tandem(&["resume"]);
            if resumed.status.code() == Some(2) {
                break;
            }
        }
        assert_eq!(
            self.tandem(&["resume"]).status.code(),
            Some(2),
            "{context}: never at rest"
        );
        let booted = boot(&self.device).unwrap_or_else(|err| panic!("{context}: {err:#}"));
        let part = fs::read(self.device.part(booted.part)).unwrap();
        let running = fs::read_to_string(self.device.path("running/etc/release")).unwrap();
        let image = fs::read(self.dir.join(format!("{running}.ext4"))).unwrap();
        assert!(
            part[..image.len()] == image[..],
            "{context}: the running root part is not whole"
        );
        assert!(
            booted
                .console
                .last()
                .unwrap()
                .contains("upgrade_available=0"),
            "{context}: still on trial"
        );
        self.installed()
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn padded(image: &Path, size: u64) -> Vec<u8> {
    let mut bytes = fs::read(image).unwrap();
    bytes.resize(size.try_into().unwrap(), 0);
    bytes
}

/// The system calls of a scene, each with how often one thread makes it.
fn calls(lab: &Lab, scene: Scene) -> BTreeMap<String, usize> {
    lab.put_back(scene);
    let trace = lab.dir.join("trace");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .arg("-e")
        .arg(format!("trace={CALLS}"));
    command.arg(program("tandem").unwrap()).arg("--config");
    command
        .arg(lab.device.path("etc/tandem.toml"))
        .args(scene.arguments(lab));
    assert!(command.output().unwrap().status.success());
    let mut counts = BTreeMap::<(String, String), usize>::new();
    for line in fs::read_to_string(trace).unwrap().lines() {
        let (thread, call) = line.split_once(' ').unwrap();
        if let Some((call, _)) = call.trim_start().split_once('(') {
            *counts
                .entry((call.to_owned(), thread.to_owned()))
                .or_default() += 1;
        }
    }
    let mut most = BTreeMap::<String, usize>::new();
    for ((call, _), count) in counts {
        let most = most.entry(call).or_default();
        *most = count.max(*most);
    }
    most
}

/// What is done to a scene at one of its system calls.
#[derive(Clone, Debug)]
struct Fault {
    scene: Scene,
    call: String,
    number: usize,
    how: &'static str,
}

/// Does every fault to every scene, once or (`+`) from then on, on two devices side by side, and hands the outcome to
/// `judge`. Where a call can fail in several ways these take turns, unless all are asked for by `TANDEM_EVERY_CUT`.
fn each_fault(hows: &[&'static str], lasting: &str, judge: impl Fn(&Lab, &Fault, Output) + Sync) {
    if !installed("strace").unwrap() {
        eprintln!("SKIPPED: strace is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let labs = [
        Lab::new(&dir.path().join("1")),
        Lab::new(&dir.path().join("2")),
    ];
    let all = std::env::var_os("TANDEM_EVERY_CUT").is_some();
    let mut faults = Vec::new();
    for scene in [Scene::Install, Scene::Commit, Scene::Rollback] {
        for (call, count) in calls(&labs[0], scene) {
            // The first execve is the one that starts the agent.
            let first = if call == "execve" { 2 } else { 1 };
            for number in first..=count {
                let turn = number % hows.len();
                let chosen = if all { hows } else { &hows[turn..=turn] };
                for how in chosen {
                    faults.push(Fault {
                        scene,
                        call: call.clone(),
                        number,
                        how,
                    });
                }
            }
        }
    }
    println!("{} faults", faults.len());
    assert!(faults.len() > 100, "the faults have gone missing");
    let faults = Mutex::new(faults);
    thread::scope(|scope| {
        for lab in &labs {
            let (faults, judge) = (&faults, &judge);
            scope.spawn(move || {
                loop {
                    let Some(fault) = faults.lock().unwrap().pop() else {
                        break;
                    };
                    lab.put_back(fault.scene);
                    let injection = format!(
                        "inject={}:{}:when={}{lasting}",
                        fault.call, fault.how, fault.number
                    );
                    let output = lab.inject(fault.scene, &injection);
                    judge(lab, &fault, output);
                }
            });
        }
    });
}

#[test]
fn killed_at_any_system_call_the_device_ends_on_a_whole_system() {
    each_fault(&["signal=KILL"], "", |lab, fault, output| {
        let context = format!("{fault:?}");
        assert_ne!(output.status.code(), Some(124), "{context}: hangs");
        // Without a reboot first: the process has died, the system has not.
        if fault.number % 2 == 0 {
            lab.tandem(&["resume"]);
        }
        let name = lab.settle(&context);
        if matches!(fault.scene, Scene::Rollback) {
            // The person wanted out: the new system may only stay if the wish was never recorded.
            assert!(["release-1", "release-2"].contains(&name.as_str()));
        }
    });
}

#[test]
fn an_error_at_any_system_call_is_told_and_harms_nothing() {
    each_fault(&["error=EIO", "error=ENOSPC"], "", |lab, fault, output| {
        let context = format!("{fault:?}");
        let log = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            // Some failures do not matter, such as that of a line of the log.
            Some(0) => {}
            Some(1) => assert!(
                log.contains("error: ") || fault.call == "write" || fault.call == "execve",
                "{context}: fails without a reason:\n{log}"
            ),
            other => panic!("{context}: ends with {other:?}:\n{log}"),
        }
        lab.settle(&context);
    });
}

#[test]
fn a_device_whose_storage_fails_for_good_still_starts() {
    each_fault(&["error=EIO", "error=ENOSPC"], "+", |lab, fault, output| {
        let context = format!("{fault:?}");
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{context}: {output:?}"
        );
        // What cannot be undone, because nothing can be written, is said to be a mixture.
        lab.settle_somehow(&context);
    });
}
