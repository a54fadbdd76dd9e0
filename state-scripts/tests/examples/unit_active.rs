//! The example that looks after a systemd unit, with a real systemd: the manager of a user, in
//! namespaces and a cgroup of its own, with nothing to manage but the units of the test.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::device::has_tool;
use crate::userland::{Installed, Userland, Verdict};

/// Prepares the namespace and starts the manager. It is told about one unit directory only, so it
/// cannot touch anything of this machine.
const SETUP: &str = r#"set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
for root in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -e "$root/cgroup.procs" ] || continue
    mkdir "$root/$GROUP"
    echo $$ > "$root/$GROUP/cgroup.procs"
done
export HOME="$DIR" XDG_RUNTIME_DIR="$DIR" SYSTEMD_UNIT_PATH="$DIR/units"
"$MANAGER" --user --unit=nothing.target --log-target=console > "$DIR/log" 2>&1 &
tries=0
until systemctl --user is-active --quiet nothing.target; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat "$DIR/log"; exit 1; }
    sleep 0.1
done
"$@"
"#;

const MANAGERS: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

const STEADY: &str = "ExecStart=/bin/sleep 1000";
const LOOPING: &str = "Restart=always\nRestartSec=0\nExecStart=/bin/sleep 0.7";

const UNITS: [(&str, &str); 10] = [
    ("nothing.target", ""),
    ("steady.service", STEADY),
    ("also-steady.service", STEADY),
    ("steady-too.service", STEADY),
    ("looping.service", LOOPING),
    ("looping-too.service", LOOPING),
    (
        "task.service",
        "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true",
    ),
    (
        "late.service",
        "ExecStartPre=/bin/sleep 1\nExecStart=/bin/sleep 1000",
    ),
    ("dying.service", "ExecStart=/bin/sleep 1"),
    ("broken.service", "ExecStart=/bin/false"),
];

#[test]
fn a_unit_must_be_active_and_stay_so() {
    if !has_tool("systemctl") || !has_tool("unshare") {
        return;
    }
    if !geteuid().is_root() {
        eprintln!("SKIPPED: needs root, for namespaces and a cgroup");
        return;
    }
    let manager = MANAGERS
        .into_iter()
        .find(|path| Path::new(path).exists())
        .unwrap();
    let dir = TempDir::new().unwrap();
    let units = dir.path().join("units");
    fs::create_dir(&units).unwrap();
    for (name, service) in UNITS {
        let unit = "[Unit]\nDefaultDependencies=no\nStartLimitIntervalSec=0\n";
        let service = if service.is_empty() {
            "".into()
        } else {
            format!("[Service]\n{service}\n")
        };
        fs::write(units.join(name), format!("{unit}{service}")).unwrap();
    }
    let group = format!("tandem-test-{}", std::process::id());
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", SETUP, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "unit_active::inside"])
        .envs([
            ("DIR", dir.path().to_str().unwrap()),
            ("GROUP", &group),
            ("MANAGER", manager),
        ])
        .output()
        .unwrap();
    for root in [
        "/sys/fs/cgroup",
        "/sys/fs/cgroup/systemd",
        "/sys/fs/cgroup/unified",
    ] {
        let ours = Path::new(root).join(&group);
        let _ = Command::new("find")
            .arg(ours)
            .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"])
            .output();
    }
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:#?}"
    );
}

#[test]
#[ignore = "runs beside a systemd that the test above starts"]
fn inside() {
    use Userland::{Busybox, Debian};
    use Verdict::{Passed, Refused};
    // One thread each, because they mostly wait. A looping unit is "started anew", or it is looked
    // at just between two starts.
    let cases = [
        (
            Debian,
            "steady.service",
            Passed,
            "active for 2 seconds: steady.service\n",
        ),
        (Debian, "looping.service", Refused, ""),
        (
            Debian,
            "task.service late.service",
            Passed,
            "active for 2 seconds: task.service late",
        ),
        (
            Debian,
            "also-steady.service dying.service",
            Refused,
            "dying.service did not stay active",
        ),
        (
            Debian,
            "broken.service",
            Refused,
            // Never active, or caught at the one moment at which it seemed to be.
            "broken.service ",
        ),
        (
            Debian,
            "no-such.service",
            Refused,
            "no-such.service is not active after 3 seconds\n",
        ),
        (
            Busybox,
            "steady-too.service",
            Passed,
            "active for 2 seconds: steady-too.service\n",
        ),
        (Busybox, "looping-too.service", Refused, ""),
    ];
    let there = Userland::all();
    std::thread::scope(|scope| {
        for (userland, units, expected, said) in cases {
            if there.contains(&userland) {
                scope.spawn(move || check(userland, units, expected, said));
            }
        }
    });
}

#[track_caller]
fn check(userland: Userland, units: &str, expected: Verdict, said: &str) {
    let conf = format!("UNITS='{units}'\nSTART_SECONDS=3\nSTABLE_SECONDS=2\nSYSTEMCTL=@D/ctl");
    let name = "ArtifactCommit_Enter_10_unit-active";
    let check = Installed::new(userland, "unit-active", name, &conf);
    // The real systemctl, which busybox does not have.
    let path = std::env::var("PATH").unwrap();
    check.device.script(
        "ctl",
        &format!("PATH='{path}'; exec systemctl --user \"$@\""),
    );
    let systemctl = |verb| {
        let mut command = Command::new("systemctl");
        command
            .args(["--user", "--no-block", verb])
            .args(units.split(' '));
        command.output().unwrap();
    };
    systemctl("restart");
    let (verdict, text) = check.run(&check.runner());
    systemctl("stop");
    assert_eq!(verdict, expected, "{userland:?}: {text}");
    assert!(text.starts_with(said), "{userland:?}: {text}");
}
