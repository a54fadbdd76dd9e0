//! RAUC: a squashfs with a signature behind it. The command only asks; a service on D-Bus works.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tandem_e2e::peers::{rauc_bundle, rauc_manifest};

use crate::active_root::PASSIVE;
use crate::compression::Compression;
use crate::contender::Contender;
use crate::inside::BENCH;
use crate::interrupt::Daemon;
use crate::lab::Lab;
use crate::measure::{Cost, cpu_of, peak_of};
use crate::sample::Image;
use crate::workplace::{remove_if_there, write};

pub(super) const INSTALL: &[&str] = &["rauc", "install"];

/// The socket of the bus, in the workplace.
const BUS: &str = "bus";

/// How often, and how long in all, to look whether a service has come up.
const STEP: Duration = Duration::from_millis(20);
const STEPS: usize = 500;

/// The environment in which command and service find each other.
pub(super) fn env() -> Vec<String> {
    vec![format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={BENCH}/{BUS}")]
}

/// A plain bundle: the form that needs nothing of the kernel but loop devices and squashfs.
pub(super) fn bundle(lab: &Lab, image: &Image, compression: Compression) -> Result<PathBuf> {
    lab.workplace.once(
        &format!("rootfs-{}.{compression}.raucb", image.mib),
        |path| {
            let content = lab.workplace.path("bundle");
            if content.exists() {
                fs::remove_dir_all(&content)?;
            }
            fs::create_dir(&content)?;
            fs::hard_link(&image.path, content.join("rootfs.img"))?;
            write(&content.join("manifest.raucm"), rauc_manifest("1"))?;
            let squashfs = match compression {
                Compression::None => "-quiet -noI -noD -noF -noX",
                Compression::Gzip => "-quiet -comp gzip -Xcompression-level 5",
                Compression::Xz => "-quiet -comp xz",
                Compression::Zstd => "-quiet -comp zstd -Xcompression-level 8",
            };
            let mut bundle = rauc_bundle(&content, path, &lab.keys, squashfs);
            lab.interrupt.run(&mut bundle)?;
            Ok(fs::remove_dir_all(&content)?)
        },
    )
}

pub(super) fn reset(lab: &Lab) -> Result<()> {
    lab.root.forget("var/lib/rauc")?;
    let certificate = fs::read_to_string(&lab.keys.certificate)?;
    lab.root.write("etc/rauc/keyring.pem", &certificate)?;
    fs::create_dir_all(lab.root.place().join("mnt/rauc"))?;
    let configuration = format!(
        "[system]\ncompatible=bench\nbootloader=noop\n\
         statusfile=/var/lib/rauc/status\nmountprefix=/mnt/rauc\n\
         [keyring]\npath=/etc/rauc/keyring.pem\n\
         [slot.rootfs.0]\ndevice={}\ntype=raw\nbootname=A\n\
         [slot.rootfs.1]\ndevice={PASSIVE}\ntype=raw\nbootname=B\n",
        lab.root.device().path().display()
    );
    lab.root.write("var/lib/rauc/status", "")?;
    lab.root.write("etc/rauc/system.conf", &configuration)
}

/// The service and its bus.
#[derive(Debug)]
pub(crate) struct Service {
    service: Daemon,
    /// What starting up has cost, which is nobody's installation.
    started: f64,
    _bus: Daemon,
}

impl Service {
    /// Starts both, and waits until the service answers.
    pub(super) fn start(contender: &Contender, lab: &Lab) -> Result<Service> {
        let socket = lab.workplace.path(BUS);
        remove_if_there(&socket)?;
        let address = format!("unix:path={}", socket.display());
        let mut bus = Command::new("dbus-daemon");
        bus.args([
            "--session",
            "--nofork",
            "--nopidfile",
            "--address",
            &address,
        ]);
        let bus = Daemon::start(bus.stderr(Stdio::null()))?;
        until(lab, "the bus", || Ok(UnixStream::connect(&socket).is_ok()))?;

        let command = ["rauc", "service", "--override-boot-slot=A"];
        let command = command.map(Into::into).into();
        let mut command = lab.enter(contender, command, env()).outside()?;
        let mut service = Daemon::start(command.stdout(Stdio::null()).stderr(Stdio::piped()))?;
        until(lab, "the RAUC service", || {
            service.check()?;
            let mut ask = Command::new("dbus-send");
            ask.args([&format!("--bus={address}"), "--print-reply=literal"]);
            ask.args(["--dest=org.freedesktop.DBus", "/org/freedesktop/DBus"]);
            ask.arg("org.freedesktop.DBus.NameHasOwner");
            ask.arg("string:de.pengutronix.rauc");
            let answer = lab.interrupt.run(&mut ask)?;
            Ok(String::from_utf8_lossy(&answer).contains("true"))
        })?;
        let started = cpu_of(service.id())?;
        Ok(Service {
            service,
            started,
            _bus: bus,
        })
    }

    /// Adds what the service has used to what the command has.
    pub(crate) fn add_to(&mut self, cost: &mut Cost) -> Result<()> {
        self.service.check()?;
        cost.cpu += cpu_of(self.service.id())? - self.started;
        cost.peak = cost.peak.max(peak_of(self.service.id())?);
        Ok(())
    }
}

/// Waits until `ready`.
fn until(lab: &Lab, what: &str, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
    for _ in 0..STEPS {
        if ready().with_context(|| format!("cannot start {what}"))? {
            return Ok(());
        }
        lab.interrupt.pause(STEP)?;
    }
    ensure!(false, "{what} does not come up");
    Ok(())
}
