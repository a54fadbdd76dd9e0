//! The example that asks a person.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::pty::openpty;
use nix::unistd::geteuid;

use crate::device::{has_strace, has_tool};
use crate::userland::{Installed, Userland, Verdict};

const DAY: i64 = 24 * 3600;

/// A device with the script installed, a person, and a clock that can be set.
struct Person {
    installed: Installed,
    deployment: &'static str,
    artifact: &'static str,
}

impl Person {
    fn new(userland: Userland, settings: &str) -> Self {
        Self::at(userland, "Download_Enter_50_ask-user", settings)
    }

    fn at(userland: Userland, name: &str, settings: &str) -> Self {
        let conf = format!("DIR=@D/approval\nWAIT=0\n{settings}");
        let mut installed = Installed::new(userland, "ask-user", name, &conf);
        let real = fs::canonicalize("/bin/date").unwrap();
        let real = real.display();
        let clock = installed.device.path("clock");
        fs::create_dir(&clock).unwrap();
        // The time is the real one and as many seconds more as $D/ahead says.
        installed.device.script(
            "clock/date",
            &format!("exec {real} -d \"@$(($({real} +%s) + $(cat \"$D/ahead\")))\" \"$@\""),
        );
        installed.path = format!("{}:{}", clock.display(), installed.path);
        let person = Self {
            installed,
            deployment: "d-1",
            artifact: "release-2",
        };
        person.set_clock(0);
        person
    }

    fn set_clock(&self, ahead: i64) {
        fs::write(self.installed.device.path("ahead"), ahead.to_string()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.installed.device.path("approval").join(name)
    }

    /// The value of a line of the question, if there is a question.
    fn question(&self, key: &str) -> Option<String> {
        let question = fs::read_to_string(self.file("question")).ok()?;
        let mut lines = question.lines().filter_map(|line| line.split_once('='));
        Some(lines.find(|line| line.0 == key).unwrap().1.to_owned())
    }

    fn answer(&self, text: &str) {
        fs::write(self.file("answer"), text).unwrap();
    }

    /// Runs the script once, as after any restart: all it knows is on the disk.
    #[track_caller]
    fn check(&self, expected: Verdict, said: &str) {
        let mut runner = self.installed.runner();
        for (name, value) in [
            ("TANDEM_DEPLOYMENT_ID", self.deployment),
            ("TANDEM_ARTIFACT_NAME", self.artifact),
        ] {
            if !value.is_empty() {
                runner.env.push((name.into(), value.into()));
            }
        }
        let (verdict, text) = self.installed.run(&runner);
        assert_eq!(verdict, expected, "{text}");
        assert!(text.contains(said), "{text}");
    }

    #[track_caller]
    fn is_asked(&self) {
        self.check(Verdict::Later, "waiting for a decision");
    }
}

#[test]
fn a_question_waits_for_an_answer() {
    for userland in Userland::all() {
        let person = Person::new(userland, "");
        person.is_asked();
        let text = "An update (release-2) is available. Go ahead?";
        for (key, value) in [
            ("phase", "download"),
            ("artifact", "release-2"),
            ("deployment", "d-1"),
            ("later", "yes"),
            ("deferrals_left", "3"),
            ("deferred_until", "0"),
            ("text", text),
        ] {
            assert_eq!(person.question(key).unwrap(), value, "{key}");
        }
        let id = person.question("id");
        person.is_asked();
        assert_eq!(person.question("id"), id);
    }
}

#[test]
fn an_answer_is_taken_while_waiting_for_it() {
    for userland in Userland::all() {
        let person = Person::new(userland, "WAIT=40");
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while person.question("id").is_none() {
                    std::thread::sleep(Duration::from_millis(10));
                }
                person.answer("yes\n");
            });
            person.check(Verdict::Passed, "approved");
        });
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(person.question("id").is_none());
        assert!(!person.file("answer").exists());
    }
}

#[test]
fn a_yes_holds_for_its_deployment_and_phase_and_no_other() {
    for userland in Userland::all() {
        let mut person = Person::new(userland, "");
        person.is_asked();
        person.answer("yes\n");
        person.check(Verdict::Passed, "approved\n");
        person.check(Verdict::Passed, "approved before");
        person.set_clock(1000 * DAY);
        person.check(Verdict::Passed, "approved before");
        person.set_clock(0);
        person.deployment = "d-2";
        person.is_asked();
        person.deployment = "";
        person.is_asked();
        person.answer("yes\n");
        person.check(Verdict::Passed, "approved\n");
        person.check(Verdict::Passed, "approved before");
        person.artifact = "release-3";
        person.is_asked();
    }
}

#[test]
fn a_yes_to_an_update_without_a_name_holds_once() {
    for userland in Userland::all() {
        let mut person = Person::new(userland, "");
        (person.deployment, person.artifact) = ("", "");
        person.is_asked();
        assert_eq!(
            person.question("text").unwrap(),
            "An update is available. Go ahead?"
        );
        person.answer("yes\n");
        person.check(Verdict::Passed, "approved\n");
        person.is_asked();
    }
}

#[test]
fn a_no_fails_the_update_once() {
    for userland in Userland::all() {
        let person = Person::new(userland, "");
        person.is_asked();
        person.answer("no\n");
        person.check(Verdict::Refused, "refused");
        assert!(person.question("id").is_none());
        person.is_asked();
    }
}

#[test]
fn the_question_fits_the_moment() {
    for (name, phase, text) in [
        (
            "ArtifactInstall_Enter_50_ask-user",
            "install",
            "(release-2) is ready to be installed.",
        ),
        (
            "ArtifactReboot_Enter_50_ask-user",
            "restart",
            "(release-2) needs a restart.",
        ),
    ] {
        let person = Person::at(Userland::Debian, name, "");
        person.is_asked();
        assert_eq!(person.question("phase").unwrap(), phase);
        assert!(person.question("text").unwrap().contains(text));
        person.answer("yes\n");
        person.check(Verdict::Passed, "approved\n");
    }
}

#[test]
fn a_deferral_lasts_as_long_as_was_asked_for_and_can_be_ended_early() {
    for userland in Userland::all() {
        let person = Person::new(userland, "");
        person.is_asked();
        person.answer("later 30\n");
        person.check(Verdict::Later, "deferred by 30 minutes");
        person.check(Verdict::Later, "deferred for another");
        assert_ne!(person.question("deferred_until").unwrap(), "0");
        person.set_clock(29 * 60);
        person.check(Verdict::Later, "deferred for another");
        person.set_clock(31 * 60);
        person.is_asked();
        person.answer("later\n");
        person.check(Verdict::Later, "deferred by 60 minutes");
        person.answer("yes\n");
        person.check(Verdict::Passed, "approved");
    }
}

#[test]
fn deferrals_run_out() {
    for userland in Userland::all() {
        let person = Person::new(userland, "MAX_DEFERRALS=2");
        for (day, left) in [(0, "1"), (1, "0")] {
            person.set_clock(day * DAY);
            person.is_asked();
            assert_eq!(person.question("later").unwrap(), "yes");
            person.answer("later 60\n");
            person.check(Verdict::Later, "deferred by 60 minutes");
            assert_eq!(person.question("deferrals_left").unwrap(), left);
        }
        person.set_clock(2 * DAY);
        assert_eq!(person.question("later").unwrap(), "no");
        person.answer("later 60\n");
        person.check(Verdict::Later, "asked to wait again");
        person.is_asked();
        person.answer("no\n");
        person.check(Verdict::Refused, "refused");
    }
}

#[test]
fn at_the_deadline_the_setting_decides() {
    for (setting, expected) in [("go", Verdict::Passed), ("refuse", Verdict::Refused)] {
        for userland in Userland::all() {
            let settings = format!("DEADLINE_MINUTES=1440\nAT_DEADLINE={setting}");
            let person = Person::new(userland, &settings);
            person.is_asked();
            person.set_clock(DAY / 2);
            person.answer("later 9999\n");
            person.check(Verdict::Later, "deferred by 9999 minutes");
            person.set_clock(DAY - 60);
            person.check(Verdict::Later, "deferred for another");
            person.set_clock(DAY + 60);
            person.check(expected, "nobody has decided in 1440 minutes");
            assert!(person.question("id").is_none());
        }
    }
}

#[test]
fn an_answer_at_the_deadline_still_counts() {
    let person = Person::new(Userland::Debian, "DEADLINE_MINUTES=10");
    person.is_asked();
    person.answer("no\n");
    person.set_clock(DAY);
    person.check(Verdict::Refused, "refused");
}

#[test]
fn setting_the_clock_ends_neither_deadline_nor_deferral() {
    for userland in Userland::all() {
        let person = Person::new(userland, "DEADLINE_MINUTES=1440");
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs() as i64;
        // Without a battery behind its clock the device starts in 1970.
        person.set_clock(-now + 1000);
        person.is_asked();
        person.answer("later 120\n");
        person.check(Verdict::Later, "deferred by 120 minutes");
        person.set_clock(0);
        person.check(Verdict::Later, "deferred for another 120 minutes");
        // It restarts, and is in 1970 again until it has found the time.
        person.set_clock(-now + 10);
        person.check(Verdict::Later, "deferred for another 120 minutes");
        person.set_clock(DAY - 600);
        person.is_asked();
        person.set_clock(DAY + 600);
        person.check(Verdict::Passed, "nobody has decided");
    }
}

#[test]
fn what_is_no_answer_is_no_answer() {
    for userland in Userland::all() {
        let person = Person::new(userland, "");
        person.is_asked();
        for junk in [
            "",
            "\n",
            "yes",
            "YES\n",
            "yess\n",
            "y\n",
            "-n\n",
            "*\n",
            "\0\n",
            "yes id=1\n",
            "later id=1\n",
            "later 123456\n",
            "later 1;reboot\n",
            " \nyes\n",
            "$(touch $D/evil)\n",
            "`touch $D/evil`\n",
            "later $(touch $D/evil)\n",
            "later a[0`touch$D/evil`]\n",
        ] {
            person.answer(junk);
            person.is_asked();
        }
        person.answer(&format!("{}yes\n", " ".repeat(1 << 20)));
        person.is_asked();
        assert!(!person.installed.device.exists("evil"));

        fs::remove_file(person.file("answer")).unwrap();
        let made = Command::new("mkfifo").arg(person.file("answer")).status();
        assert!(made.unwrap().success());
        person.is_asked();
        fs::remove_file(person.file("answer")).unwrap();
        fs::write(person.file("elsewhere"), "yes\n").unwrap();
        symlink("elsewhere", person.file("answer")).unwrap();
        person.is_asked();

        fs::remove_file(person.file("answer")).unwrap();
        person.answer(&format!("yes id={}\n", person.question("id").unwrap()));
        person.check(Verdict::Passed, "approved");
    }
}

#[test]
fn an_answer_to_an_older_question_is_not_taken() {
    for userland in Userland::all() {
        let mut person = Person::new(userland, "");
        person.is_asked();
        let id = person.question("id").unwrap();
        person.answer("yes\n");
        // The deployment has been replaced before anybody looked.
        person.deployment = "d-2";
        person.is_asked();
        assert!(!person.file("answer").exists());
        person.answer(&format!("yes id={id}\n"));
        person.check(Verdict::Later, "ignoring an answer to another question");
    }
}

#[test]
fn names_from_outside_cannot_forge_a_question() {
    for userland in Userland::all() {
        let mut person = Person::new(userland, "");
        person.artifact = "x\nlater=no\ntext=evil \x1b[2J$(touch $D/evil)";
        person.is_asked();
        let artifact = person.question("artifact").unwrap();
        assert_eq!(artifact, "xlater=notext=evil [2J$(touch $D/evil)");
        assert_eq!(person.question("later").unwrap(), "yes");
        person.answer("yes\n");
        person.check(Verdict::Passed, "approved");
        person.check(Verdict::Passed, "approved before");
        assert!(!person.installed.device.exists("evil"));
    }
}

#[test]
fn a_damaged_record_means_asking_again() {
    for userland in Userland::all() {
        let person = Person::new(userland, "");
        for damaged in [
            &b""[..],
            b"\0\xff\n",
            b"name=download d-1",
            b"name=download d-1\nfirst_asked=08\ndeferrals=x\nnot_before=999999999999999999\n",
            b"name=download d-1\nminutes=$(touch evil)\ndeferrals=`x`\nid=\n",
            b"decision=yes\n",
            b"name=other\ndecision=yes\n",
        ] {
            let _ = fs::create_dir(person.installed.device.path("approval"));
            fs::write(person.file("record"), damaged).unwrap();
            person.is_asked();
        }
    }
}

#[test]
fn the_application_may_be_another_user() {
    if !geteuid().is_root() {
        eprintln!("SKIPPED: needs root, to give a file away");
        return;
    }
    for userland in Userland::all() {
        let person = Person::new(userland, "ANSWER_OWNER=65534");
        person.is_asked();
        assert_eq!(fs::metadata(person.file("answer")).unwrap().uid(), 65534);
        assert_eq!(fs::metadata(person.file("question")).unwrap().uid(), 0);
        person.answer("yes\n");
        person.check(Verdict::Passed, "approved");
    }
}

#[test]
fn a_decision_is_durable_before_it_counts() {
    if !has_strace() {
        return;
    }
    for userland in Userland::all() {
        let person = Person::new(userland, "");
        person.is_asked();
        person.answer("yes\n");
        let name = person.installed.name.as_os_str();
        let traced = Command::new("strace")
            .args([
                "-f",
                "-y",
                "--trace=fsync,rename,renameat,renameat2,sync,syncfs,unlink,unlinkat",
            ])
            .arg("-o")
            .arg(person.installed.device.path("trace"))
            .args(["-E", &format!("PATH={}", person.installed.path)])
            .arg(person.installed.device.path("etc-scripts").join(name))
            .env("D", person.installed.dir())
            .env("TANDEM_CONF_DIR", person.installed.device.path("etc"))
            .env("TANDEM_DEPLOYMENT_ID", person.deployment)
            .env("TANDEM_ARTIFACT_NAME", person.artifact)
            .output();
        assert!(traced.unwrap().status.success());
        let trace = fs::read_to_string(person.installed.device.path("trace")).unwrap();
        let at = |what: &[&str]| {
            let is_it = |line: &str| what.iter().all(|part| line.contains(part));
            trace
                .lines()
                .position(is_it)
                .unwrap_or_else(|| panic!("no {what:?}: {trace}"))
        };
        let written = at(&["sync(", "approval/record.new>"]);
        let counts = at(&["rename", "record.new", "approval/record\""]);
        let kept = at(&["sync(", "approval>"]);
        let forgotten = at(&["unlink", "answer"]);
        assert!(
            written < counts && counts < kept && kept < forgotten,
            "{trace}"
        );
    }
}

/// Runs the script with a terminal at which somebody types `keys` after `prompt` has appeared.
#[track_caller]
fn check_console(
    tool: &str,
    settings: &str,
    prompt: &str,
    keys: &str,
    verdict: Verdict,
    said: &str,
) {
    let terminal = openpty(None, None).unwrap();
    let name = nix::unistd::ttyname(&terminal.slave);
    let settings = format!(
        "WAIT=20\nCONSOLE={}\nCONSOLE_TOOL={tool}\n{settings}",
        name.unwrap().display()
    );
    let person = Person::new(Userland::Debian, &settings);
    let mut master = fs::File::from(terminal.master);
    let typist = std::thread::spawn({
        let (prompt, keys) = (prompt.to_owned(), keys.to_owned());
        move || {
            let mut shown = String::new();
            let mut buffer = [0; 4096];
            while !shown.contains(&prompt) {
                let length = master.read(&mut buffer).unwrap();
                shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            master.write_all(keys.as_bytes()).unwrap();
            // Go on reading, or the other side blocks.
            while master.read(&mut buffer).is_ok_and(|length| length > 0) {}
        }
    });
    person.check(verdict, said);
    drop(terminal.slave);
    typist.join().unwrap();
}

#[test]
fn a_plain_terminal_is_asked() {
    let prompt = "(yes, no or later)";
    check_console("plain", "", prompt, "yes\n", Verdict::Passed, "approved");
    check_console("plain", "", prompt, "no\n", Verdict::Refused, "refused");
    check_console(
        "plain",
        "",
        prompt,
        "later 15\n",
        Verdict::Later,
        "deferred by 15 minutes",
    );
    check_console(
        "plain",
        "MAX_DEFERRALS=0",
        "(yes or no)",
        "yes\n",
        Verdict::Passed,
        "approved",
    );
    // Nobody there.
    let waiting = "waiting for a decision";
    check_console("plain", "WAIT=1", prompt, "", Verdict::Later, waiting);
}

#[test]
fn a_menu_of_whiptail_is_asked() {
    check_menu("whiptail", "\t\t\r");
}

#[test]
fn a_menu_of_dialog_is_asked() {
    check_menu("dialog", "\t\r");
}

/// `cancel` are the keys that leave the menu without a choice.
#[track_caller]
fn check_menu(tool: &str, cancel: &str) {
    const DOWN: &str = "\x1bOB";
    const NOTHING: &str = "waiting for a decision";
    if !has_tool(tool) {
        return;
    }
    let menu = |keys: &str, verdict, said| {
        let settings = if said == NOTHING { "WAIT=2" } else { "" };
        let settings = format!("CONSOLE_TERM=xterm\n{settings}");
        check_console(tool, &settings, "Do not update", keys, verdict, said);
    };
    menu("\r", Verdict::Passed, "approved");
    let down = format!("{DOWN}\r");
    menu(&down, Verdict::Later, "deferred by 60 minutes");
    menu(&format!("{DOWN}{down}"), Verdict::Refused, "refused");
    menu(cancel, Verdict::Later, NOTHING);
    menu("", Verdict::Later, NOTHING);
}
