//! The agent installs over the line.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tandem_artifact::{Digest, ROOTFS_CHECKSUM};
use tandem_e2e::faulty::certificate;
use tandem_e2e::{Device, Setup, program};
use tempfile::TempDir;

use crate::wire::{Line, Nginx};

/// What an installation came to.
pub(crate) struct Done {
    /// Bytes on the line, both ways, TLS included.
    pub(crate) wire: u64,
    pub(crate) requests: u64,
    pub(crate) connections: u64,
    pub(crate) seconds: f64,
    /// The most that the agent had in memory, MiB.
    pub(crate) resident: f64,
}

/// How an artifact is made.
#[derive(Clone, Copy)]
pub(crate) enum Form<'a> {
    /// In frames, with this image as a hint.
    Hinted(&'a Path),
    /// In frames of one size.
    Plain,
    /// In one stream.
    Whole,
}

/// The artifact `name` with the image `new`, made once and kept in `folder`.
pub(crate) fn artifact(folder: &Path, name: &str, new: &Path, form: Form) -> Result<PathBuf> {
    let (made, part) = (folder.join(name), folder.join(format!("part.{name}")));
    if made.exists() {
        return Ok(made);
    }
    let mut write = Command::new(program("tandem-artifact")?);
    write
        .args(["-q", "write", "rootfs-image", "-t", "board", "-n"])
        .args(["release-2", "-f"])
        .arg(new)
        .arg("-o")
        .arg(&part);
    match form {
        Form::Hinted(hint) => write.args(["--framed", "--previous"]).arg(hint),
        Form::Plain => write.arg("--framed"),
        Form::Whole => write.args(["--compression", "zstd_best"]),
    };
    ensure!(write.status()?.success(), "{write:?} failed");
    fs::rename(part, &made)?;
    Ok(made)
}

/// What makes a device know that it runs `image`, in `folder`.
pub(crate) fn bootstrap(folder: &Path, image: &Path) -> Result<PathBuf> {
    let made = folder.join("bootstrap.mender");
    let sum = Digest::of(&fs::read(image)?);
    let mut write = Command::new(program("tandem-artifact")?);
    write
        .args(["-q", "write", "bootstrap-artifact", "-t", "board", "-n"])
        .args(["release-1", "-p", &format!("{ROOTFS_CHECKSUM}:{sum}"), "-o"])
        .arg(&made);
    ensure!(write.status()?.success(), "{write:?} failed");
    Ok(made)
}

/// Installs `artifact`, which has `new` in it, on a device that runs `old`, and knows of it what `bootstrap` says.
pub(crate) fn install(
    tandem: &Path,
    old: &Path,
    new: &Path,
    artifact: &Path,
    bootstrap: Option<&Path>,
    work: &TempDir,
) -> Result<Done> {
    let dir = tempfile::tempdir_in(work)?;
    let path = |name: &str| dir.path().join(name);
    for sub in ["tree/boot", "tree/sbin", "www"] {
        fs::create_dir_all(path(sub))?;
    }
    for file in ["boot/vmlinuz", "sbin/init"] {
        fs::write(path("tree").join(file), "present")?;
    }
    certificate(&path("server"))?;
    symlink(fs::canonicalize(artifact)?, path("www/a.mender"))?;

    let size = fs::metadata(new)?.len();
    let setup = Setup {
        tree: path("tree"),
        part_size: size,
        device_type: "board".into(),
        configuration: format!(
            "allow_unsigned = true\nserver_certificate = \"{}\"",
            path("server.crt").display()
        ),
        bootstrap: bootstrap.map(Path::to_owned),
    };
    let device = Device::create(&path("device"), &setup)?;
    let running = File::options().write(true).open(device.part(2))?;
    running.write_all_at(&fs::read(old)?, 0)?;

    let nginx = Nginx::start(dir.path(), &path("www"), &path("server"))?;
    let line = Line::start(nginx.port())?;
    let begun = Instant::now();
    let log = path("log");
    let mut child = Command::new(tandem)
        .arg("--config")
        .arg(device.path("etc/tandem.toml"))
        .arg("install")
        .arg(format!("https://localhost:{}/a.mender", line.port()))
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()?;
    let mut most: u64 = 0;
    let status = loop {
        most = resident(child.id()).unwrap_or(0).max(most);
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    let log = fs::read_to_string(&log)?;
    ensure!(status.success(), "the agent did not install: {log}");
    ensure!(
        fs::read(device.part(3))? == fs::read(new)?,
        "the slot does not hold the image"
    );
    let (wire, connections) = line.end();
    let requests = nginx.requests().context("cannot read what nginx logs")?;
    Ok(Done {
        wire,
        requests,
        connections,
        seconds,
        resident: f64::from(u32::try_from(most)?) / 1024.0,
    })
}

/// The most that a process has had in memory so far, KiB.
fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}
