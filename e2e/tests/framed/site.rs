//! A device and a server, and two releases.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use tandem_artifact::framed::{BLOCK, Framed};
use tandem_artifact::{Artifact, Verification};
use tandem_e2e::faulty::{Fault, FaultyServer, Files, Request, certificate};
use tandem_e2e::{Device, Setup, program};

/// Blocks of an image.
pub(crate) const BLOCKS: usize = 2048;

/// How many of them are new, zero and moved.
pub(crate) const NEW: usize = 100;
pub(crate) const ZERO: usize = 500;
pub(crate) const MOVED: usize = 300;

/// A device that runs `old.img`, and a server that has `a.mender` with `new.img`.
pub(crate) struct Site {
    dir: tempfile::TempDir,
    pub(crate) device: Device,
}

pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let random = File::open("/dev/urandom").unwrap();
    random.take(len as u64).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Two releases: most blocks are the same, some stand elsewhere, some are new, some are zeros.
fn releases() -> (Vec<u8>, Vec<u8>) {
    let old = noise(BLOCKS * BLOCK);
    let mut new = old.clone();
    new[..ZERO * BLOCK].fill(0);
    let at = |block: usize| block * BLOCK;
    // New ones in five places.
    for place in 0..5 {
        let start = 700 + 200 * place;
        new[at(start)..at(start + NEW / 5)].copy_from_slice(&noise(at(NEW / 5)));
    }
    new[at(1700)..at(1700 + MOVED)].copy_from_slice(&old[at(100)..at(100 + MOVED)]);
    (old, new)
}

impl Site {
    pub(crate) fn new(options: &[&str]) -> Site {
        let (old, new) = releases();
        Site::with(&old, &new, options)
    }

    pub(crate) fn with(old: &[u8], new: &[u8], options: &[&str]) -> Site {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for sub in ["tree/boot", "tree/sbin", "www"] {
            fs::create_dir_all(path(sub)).unwrap();
        }
        for file in ["boot/vmlinuz", "sbin/init"] {
            fs::write(path("tree").join(file), "present").unwrap();
        }
        certificate(&path("server")).unwrap();
        let setup = Setup {
            tree: path("tree"),
            part_size: new.len() as u64 + (1 << 20),
            device_type: "board".into(),
            configuration: format!(
                "allow_unsigned = true\nserver_certificate = \"{}\"\nretry_poll_interval_seconds = 1\n\
                 retry_download_count = 3\nstall_timeout_seconds = 2\n",
                path("server.crt").display()
            ),
            bootstrap: None,
        };
        let device = Device::create(&path("device"), &setup).unwrap();
        let running = File::options().write(true).open(device.part(2)).unwrap();
        running.write_all_at(old, 0).unwrap();
        fs::write(path("old.img"), old).unwrap();
        fs::write(path("new.img"), new).unwrap();
        let site = Site { dir, device };
        let words = "-q write rootfs-image -t board -n release-2 -f new.img -o www/a.mender";
        let args: Vec<&str> = words.split(' ').chain(options.iter().copied()).collect();
        site.tool(&args);
        site
    }

    /// Adds lines to the configuration of the device.
    pub(crate) fn configure(&self, lines: &str) {
        let path = self.device.path("etc/tandem.toml");
        let configuration = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{lines}\n{configuration}")).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn tool(&self, args: &[&str]) {
        let made = Command::new(program("tandem-artifact").unwrap())
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    pub(crate) fn serve(
        &self,
        script: impl Fn(&Request, usize) -> Fault + Send + Sync + 'static,
    ) -> FaultyServer {
        FaultyServer::start(
            &self.path("server.crt"),
            &self.path("server.key"),
            Arc::new(Files(self.path("www"))),
            Arc::new(script),
        )
        .unwrap()
    }

    pub(crate) fn install(&self, from: &str) -> Output {
        self.tandem(&["install", from])
    }

    pub(crate) fn tandem(&self, args: &[&str]) -> Output {
        Command::new(program("tandem").unwrap())
            .arg("--config")
            .arg(self.device.path("etc/tandem.toml"))
            .args(args)
            .output()
            .unwrap()
    }

    /// It was installed, and the slot holds the image; the log.
    #[track_caller]
    pub(crate) fn installed(&self, output: &Output) -> String {
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        let image = fs::read(self.path("new.img")).unwrap();
        let part = fs::read(self.device.part(3)).unwrap();
        assert!(part[..image.len()] == image[..], "not the image: {log}");
        assert!(log.contains("it is what was signed for"), "{log}");
        log
    }

    pub(crate) fn size(&self) -> u64 {
        fs::metadata(self.path("www/a.mender")).unwrap().len()
    }

    /// What the device says about the payload.
    pub(crate) fn framed(&self) -> Framed {
        let file = File::open(self.path("www/a.mender")).unwrap();
        let mut artifact = Artifact::open(file, &Verification::off()).unwrap();
        artifact.framed().unwrap().unwrap()
    }

    /// Lets a test lie in the index, whose content begins at byte 0 of what it is given.
    pub(crate) fn change_index(&self, change: impl FnOnce(&mut [u8])) {
        let framed = self.framed();
        let path = self.path("www/a.mender");
        let mut bytes = fs::read(&path).unwrap();
        let (start, end) = (framed.index.at, framed.index.frames_at());
        change(&mut bytes[start as usize..end as usize]);
        fs::write(path, bytes).unwrap();
    }
}
