//! The root file system of a virtual machine: busybox as init and shell, Tandem, a kernel.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tar::{Builder, EntryType, Header};

use super::board::{Board, SERVER_ADDRESS, SERVER_NAME};

/// What virtual machines of one kind are made of.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    /// The kernel.
    pub(crate) kernel: PathBuf,
    /// The root file system without what differs from release to release: a tar archive.
    pub(crate) base: PathBuf,
    /// The scripts that a release may have more.
    pub(crate) scripts: PathBuf,
}

impl Guest {
    /// Fetches and builds what a guest on this board needs; the archive goes into `dir`.
    ///
    /// # Errors
    /// When a package cannot be had, or a program cannot be built.
    pub(crate) fn prepare(board: Board, dir: &Path) -> Result<Guest> {
        let tools = Board::repository().join("e2e/vm");
        let parts = printed(&tools.join("guest-parts.sh"), board.debian())?;
        let programs = printed(&tools.join("cross-build.sh"), board.target())?;
        let guest = Guest {
            kernel: parts.join("kernel"),
            base: dir.join("base.tar"),
            scripts: tools.join("guest"),
        };
        guest.write_base(&parts, &programs)?;
        Ok(guest)
    }

    fn write_base(&self, parts: &Path, programs: &Path) -> Result<()> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&self.base)
            .with_context(|| format!("cannot write {}", self.base.display()))?;
        let mut tree = Archive(Builder::new(file));
        for dir in DIRECTORIES {
            tree.entry(dir, EntryType::Directory, 0o755, &[])?;
        }
        tree.device("dev/console", 5, 1)?;
        tree.device("dev/null", 1, 3)?;
        tree.file("bin/busybox", &parts.join("busybox"), 0o755)?;
        let applets = fs::read_to_string(parts.join("applets"))?;
        for applet in applets.lines().filter(|&name| name != "busybox") {
            tree.link(&format!("bin/{applet}"), "busybox")?;
        }
        for (link, to) in LINKS {
            tree.link(link, to)?;
        }
        for program in ["tandem", "fw_printenv"] {
            let path = format!("usr/bin/{program}");
            tree.file(&path, &programs.join(program), 0o755)?;
        }
        for script in ["start", "stop", "shell", "tandem", "watchdog"] {
            let path = format!("etc/init.d/{script}");
            tree.file(&path, &self.scripts.join(script), 0o755)?;
        }
        tree.file("etc/tandem/identity", &self.scripts.join("identity"), 0o755)?;
        tree.file("etc/inittab", &self.scripts.join("inittab"), 0o644)?;
        let mut modules: Vec<PathBuf> = fs::read_dir(parts.join("modules"))?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        modules.sort();
        let mut list = String::new();
        for module in &modules {
            let name = module.file_stem().and_then(|name| name.to_str());
            let name = name.context("a module has a name")?;
            tree.file(&format!("lib/modules/{name}.ko"), module, 0o644)?;
            list.push_str(&format!("{name}\n"));
        }
        let hosts = format!("127.0.0.1 localhost\n{SERVER_ADDRESS} {SERVER_NAME}\n");
        for (path, text) in [
            ("etc/modules", &*list),
            ("etc/hosts", &*hosts),
            ("etc/passwd", "root::0:0:root:/run:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
            ("etc/fstab", ""),
        ] {
            tree.entry(path, EntryType::Regular, 0o644, text.as_bytes())?;
        }
        tree.0.finish().context("cannot finish the archive")
    }
}

const DIRECTORIES: [&str; 18] = [
    "bin",
    "boot",
    "data",
    "dev",
    "etc",
    "etc/init.d",
    "etc/tandem",
    "lib",
    "lib/modules",
    "proc",
    "run",
    "sbin",
    "sys",
    "usr",
    "usr/bin",
    "usr/share",
    "usr/share/tandem",
    "var",
];

/// The root is read-only: what is written there goes to memory.
const LINKS: [(&str, &str); 4] = [
    ("sbin/init", "../bin/busybox"),
    ("tmp", "run/tmp"),
    ("usr/bin/fw_setenv", "fw_printenv"),
    ("var/lock", "../run/lock"),
];

/// What a script of the repository prints: the name of a directory.
fn printed(script: &Path, argument: &str) -> Result<PathBuf> {
    let attempt = || format!("cannot run {} {argument}", script.display());
    let output = Command::new(script)
        .arg(argument)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(attempt)?;
    ensure!(output.status.success(), attempt());
    Ok(PathBuf::from(
        String::from_utf8(output.stdout)
            .with_context(attempt)?
            .trim(),
    ))
}

/// An archive of files that all belong to root and are equally old.
struct Archive(Builder<File>);

impl Archive {
    fn entry(&mut self, path: &str, kind: EntryType, mode: u32, content: &[u8]) -> Result<()> {
        let mut header = header(kind, mode);
        header.set_size(content.len() as u64);
        self.0
            .append_data(&mut header, path, content)
            .with_context(|| format!("cannot archive {path}"))
    }

    fn file(&mut self, path: &str, from: &Path, mode: u32) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot take {}", from.display()))?;
        self.entry(path, EntryType::Regular, mode, &content)
    }

    fn link(&mut self, path: &str, to: &str) -> Result<()> {
        let mut header = header(EntryType::Symlink, 0o777);
        self.0
            .append_link(&mut header, path, to)
            .with_context(|| format!("cannot archive {path}"))
    }

    fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        let mut header = header(EntryType::Char, 0o600);
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
        self.0
            .append_data(&mut header, path, &[][..])
            .with_context(|| format!("cannot archive {path}"))
    }
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}
