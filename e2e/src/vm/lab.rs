//! Where virtual machines come from: a disk image with the first release, artifacts with others,
//! and a server that has them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tandem_artifact::Compressor;

use super::board::{Board, SERVER_NAME};
use super::disk::Disk;
use super::fleet::Fleet;
use super::guest::Guest;
use super::machine::Machine;
use crate::disk_image::{self, Chain, Layout, MIB, Plan, Settings, Sizes, Table, Taken, build};
use crate::faulty::{Fault, FaultyServer, Files, Request};

/// What the virtual machines' device type is.
const DEVICE_TYPE: &str = "virtual";

/// The time that every image is given: 2024-01-01.
const TIME: u64 = 1_704_067_200;

/// Where updates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updates {
    /// Whoever is at the console gives the address; a server has the files.
    ByHand,
    /// From the real server.
    FromServer,
}

/// What a device of the real server is told: nobody wants to wait in a test.
const MANAGED: [&str; 5] = [
    "identity_script = \"/etc/tandem/identity\"",
    "update_poll_interval_seconds = 5",
    "inventory_poll_interval_seconds = 60",
    "retry_poll_interval_seconds = 3",
    "retry_poll_count = 3",
];

/// The release that machines come with.
pub(crate) const FIRST: &str = "release-1";

/// What becomes of a release that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// All is well.
    Whole,
    /// Its init does nothing, for ever.
    Hangs,
    /// Its init crashes the kernel.
    Panics,
    /// It has no kernel.
    NoKernel,
    /// Its health check says no.
    Unwell,
    /// It has no network.
    Alone,
    /// Its state scripts stand still where `/data/hold` says.
    Holds,
}

/// A release that the server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its name.
    pub name: String,
    /// The file of its artifact.
    pub artifact: String,
    /// The length of its root file system.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: String,
}

impl Release {
    /// Its address, as machines see it.
    #[must_use]
    pub fn address(&self) -> String {
        format!("https://{SERVER_NAME}/{}", self.artifact)
    }
}

/// The states whose scripts can stand still.
const HOLDS: [&str; 8] = [
    "ArtifactInstall_Enter",
    "ArtifactInstall_Leave",
    "ArtifactCommit_Enter",
    "ArtifactCommit_Leave",
    "ArtifactRollback_Enter",
    "ArtifactRollback_Leave",
    "ArtifactFailure_Enter",
    "ArtifactFailure_Leave",
];

/// What goes wrong with the next download of an artifact.
type Wrong = Arc<Mutex<BTreeMap<String, Fault>>>;

/// The means to make and update machines of one kind.
pub struct Lab {
    board: Board,
    dir: PathBuf,
    guest: Guest,
    server: FaultyServer,
    fleet: Option<Fleet>,
    wrong: Wrong,
    layout: Layout,
    releases: Mutex<BTreeMap<(String, Kind), Release>>,
}

impl Lab {
    /// Sets everything up in `dir`, which is created.
    ///
    /// # Errors
    /// When something cannot be fetched, built or made.
    pub fn new(board: Board, dir: &Path, updates: Updates) -> Result<Lab> {
        let www = dir.join("www");
        fs::create_dir_all(&www).with_context(|| format!("cannot make {}", www.display()))?;
        let guest = Guest::prepare(board, dir)?;
        make_keys(dir)?;
        let wrong = Wrong::default();
        let decides = Arc::clone(&wrong);
        let server = FaultyServer::start(
            &dir.join("server.crt"),
            &dir.join("server.key"),
            Arc::new(Files(www)),
            Arc::new(move |request: &Request, _| {
                let mut wrong = decides.lock().unwrap_or_else(PoisonError::into_inner);
                wrong.remove(&request.path).unwrap_or(Fault::None)
            }),
        )?;
        let mut lab = Lab {
            board,
            dir: dir.to_owned(),
            guest,
            server,
            fleet: None,
            wrong,
            layout: Layout::new(&sizes(board))?,
            releases: Mutex::default(),
        };
        if updates == Updates::FromServer {
            lab.fleet = Some(Fleet::start(dir)?);
        }
        disk_image::one_root::make(
            &lab.guest.base,
            &lab.one_root(),
            (board.root_size() / 4).saturating_mul(3),
            TIME,
        )?;
        lab.first_release()?;
        Ok(lab)
    }

    /// The kind of machine.
    #[must_use]
    pub fn board(&self) -> Board {
        self.board
    }

    /// A new machine, off, with the first release; its files go into the directory `name`.
    ///
    /// # Errors
    /// When its disk cannot be made.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir)?;
        let disk = Disk::new(&self.dir.join("disk.img"), self.layout);
        let disk = disk.copy_to(&dir.join("disk.img"))?;
        if self.board == Board::X86 {
            disk_image::boot_disk::make(&dir.join("firmware.img"), TIME)?;
        }
        let port = match &self.fleet {
            Some(fleet) => fleet.port,
            None => self.server.port(),
        };
        Ok(Machine::new(self.board, disk, &dir, Some(port)))
    }

    /// A release, made if need be.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn release(&self, name: &str, kind: Kind) -> Result<Release> {
        // Held while it is made: another machine may want the same.
        let mut releases = self.releases.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), kind);
        if let Some(release) = releases.get(&key) {
            return Ok(release.clone());
        }
        let work = tempfile::tempdir_in(&self.dir)?;
        let (release, _) = self.make(name, kind, work.path())?;
        releases.insert(key, release.clone());
        Ok(release)
    }

    /// The real server, if updates come from there.
    #[must_use]
    pub fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    /// Where the artifact of a release is.
    #[must_use]
    pub fn artifact_path(&self, release: &Release) -> PathBuf {
        self.dir.join("www").join(&release.artifact)
    }

    /// The release of this name that has been made.
    #[must_use]
    pub fn made(&self, name: &str) -> Option<Release> {
        let releases = self.releases.lock().unwrap_or_else(PoisonError::into_inner);
        let mut releases = releases.values();
        releases.find(|release| release.name == name).cloned()
    }

    /// The next download of this release goes wrong like this.
    pub fn spoil_download(&self, release: &Release, fault: Fault) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.insert(format!("/{}", release.artifact), fault);
    }

    /// A disk with the same files and one root: the first release is converted from it, the others
    /// are made of an archive.
    fn one_root(&self) -> PathBuf {
        self.dir.join("one-root.img")
    }

    fn first_release(&mut self) -> Result<()> {
        let (release, layout) = self.make(FIRST, Kind::Whole, &self.dir)?;
        self.layout = layout;
        let releases = self.releases.get_mut();
        let releases = releases.unwrap_or_else(PoisonError::into_inner);
        releases.insert((FIRST.to_owned(), Kind::Whole), release);
        Ok(())
    }

    fn make(&self, name: &str, kind: Kind, work: &Path) -> Result<(Release, Layout)> {
        let artifact = format!("{name}-{kind:?}.mender").to_lowercase();
        let mut plan = self.plan(name, kind, work)?;
        plan.artifact = Some(self.dir.join("www").join(&artifact));
        let built =
            build(&plan).with_context(|| format!("cannot make the release {name} ({kind:?})"))?;
        let release = Release {
            name: name.to_owned(),
            artifact,
            length: built.root_length,
            sha256: built.root_sha256,
        };
        Ok((release, built.layout))
    }

    /// How a release is made; the disk image goes into `work`.
    fn plan(&self, name: &str, kind: Kind, work: &Path) -> Result<Plan> {
        let said = |file: &str, text: &str| -> Result<PathBuf> {
            let path = work.join(file);
            #[expect(clippy::disallowed_methods, reason = "a file of a test")]
            fs::write(&path, text)?;
            Ok(path)
        };
        let mut files: Vec<Taken> = vec![(
            said("release", &format!("{name}\n"))?,
            "/etc/release".into(),
        )];
        let script = |name: &str| self.guest.scripts.join(name);
        let mut scripts = Vec::new();
        match kind {
            Kind::Whole | Kind::NoKernel => {}
            Kind::Alone => files.push((said("no-network", "")?, "/etc/no-network".into())),
            Kind::Hangs => files.push((script("hang"), "/etc/init.d/start".into())),
            Kind::Panics => files.push((script("panic"), "/etc/init.d/start".into())),
            Kind::Unwell => {
                scripts.push(copied(&script("health"), work, "ArtifactCommit_Enter_10")?)
            }
            Kind::Holds => {
                for state in HOLDS {
                    scripts.push(copied(&script("hold"), work, &format!("{state}_10"))?);
                }
            }
        }
        let managed = self.fleet.is_some();
        let hook = said("hook", &self.board.watchdog_hook())?;
        // Only a boot loader that needs no kernel from the root part does without one.
        let (chain, kernel) = match kind {
            Kind::NoKernel => (Chain::Uboot, None),
            Kind::Whole | Kind::Hangs | Kind::Panics | Kind::Unwell | Kind::Alone | Kind::Holds => {
                (self.board.chain(), Some(self.guest.kernel.clone()))
            }
        };
        Ok(Plan {
            root: match name {
                FIRST => self.one_root(),
                _ => self.guest.base.clone(),
            },
            root_partition: None,
            keep_boot_files: false,
            agent: None,
            output: work.join("disk.img"),
            root_output: None,
            artifact: None,
            release: disk_image::Release {
                name: name.to_owned(),
                device_type: DEVICE_TYPE.to_owned(),
                signing_key: Some(self.dir.join("signer.key")),
                compressor: Compressor::ALL
                    .into_iter()
                    .find(|compressor| compressor.name() == "zstd_fastest")
                    .context("no zstd")?,
                scripts,
            },
            chain,
            disk: "/dev/nvme0n1".to_owned(),
            table: Table::Gpt,
            sizes: sizes(self.board),
            root_size: Some(self.board.root_size()),
            kernel,
            kernel_path: "/boot/kernel".to_owned(),
            device_tree: None,
            initrd: None,
            kernel_arguments: self.board.kernel_arguments().to_owned(),
            writable_root: false,
            settings: Settings {
                server_url: managed.then(|| format!("https://{SERVER_NAME}")),
                server_certificate: Some(self.dir.join("server.crt")),
                verify_key: Some(self.dir.join("signer.pub")),
                lines: match managed {
                    true => MANAGED.map(str::to_owned).to_vec(),
                    false => Vec::new(),
                },
            },
            files,
            boot_files: Vec::new(),
            blobs: Vec::new(),
            boot_hook: Some(hook),
            variables: Vec::new(),
            time: TIME,
        })
    }
}

fn sizes(board: Board) -> Sizes {
    Sizes {
        alignment: 8 * MIB,
        environment: Some(0x20000),
        boot: 16 * MIB,
        root: board.root_size(),
        data: 24 * MIB,
        disk: None,
    }
}

/// A script under the name that says when it runs.
fn copied(script: &Path, dir: &Path, name: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::copy(script, &path).with_context(|| format!("cannot copy {}", script.display()))?;
    Ok(path)
}

/// The server's key and certificate, and the keys that artifacts are signed and checked with.
fn make_keys(dir: &Path) -> Result<()> {
    let make = |words: &[&str]| -> Result<()> {
        let made = Command::new("openssl")
            .current_dir(dir)
            .args(words)
            .output()
            .context("cannot run openssl")?;
        let complaint = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "openssl fails: {complaint}");
        Ok(())
    };
    let alternative = format!("subjectAltName=DNS:{SERVER_NAME},DNS:localhost");
    let subject = format!("/CN={SERVER_NAME}");
    make(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "3650",
        "-subj",
        &subject,
        "-addext",
        &alternative,
        "-keyout",
        "server.key",
        "-out",
        "server.crt",
    ])?;
    make(&[
        "ecparam",
        "-genkey",
        "-name",
        "prime256v1",
        "-noout",
        "-out",
        "signer.key",
    ])?;
    make(&["ec", "-in", "signer.key", "-pubout", "-out", "signer.pub"])
}
