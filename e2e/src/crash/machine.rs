//! A device on which one of the peers installs: how it is made, booted and used.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail, ensure};
use tandem_e2e::boot_loader::other_part;
use tandem_e2e::peers::{Keys, plant};
use tandem_e2e::{Device, LoopDevice, make_image, program, texts};
use tandem_uboot_env::{Config, Env, Store};

use crate::entry::{Entry, PLACES, REFUSED};
use crate::log::{Media, Medium};
use crate::peer::{Materials, Peer, Words};
use crate::scene::{Data, MOUNT_OPTIONS, keep, make_data, noise, root_part};
use crate::tool::{output, run};

const MIB: u64 = 1 << 20;
const IMAGE: u64 = 3 * MIB;
/// The environment: two copies, apart from each other.
const ENV_SIZE: usize = 0x4000;
const ENV_DISTANCE: usize = 0x10000;

/// How often a boot loader may reset the device before that counts as dead.
pub(crate) const RESETS: usize = 4;

/// What runs before the update that is recorded, and after it.
pub(crate) const OLD: &str = "release-1";
pub(crate) const NEW: &str = "release-2";
/// The releases; the first is what was there before the old one.
const RELEASES: [&str; 3] = ["release-0", OLD, NEW];

/// A kind of device: what one of the peers needs, and a device that has been updated before.
pub(crate) struct Model {
    peer: Peer,
    dir: PathBuf,
    program: PathBuf,
    /// Name, root file system, artifact.
    releases: Vec<(&'static str, Vec<u8>, PathBuf)>,
    /// The media of a device at rest that runs the old release on root part A.
    pub(crate) before: Media,
}

/// A device of that kind.
pub(crate) struct Machine<'a> {
    model: &'a Model,
    device: Device,
}

/// How the power coming back ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Power {
    /// Not a copy of the environment is good.
    Lost,
    /// The boot loader starts this root part.
    Starts(u32),
}

impl Model {
    /// Makes it in `dir`.
    pub(crate) fn create(peer: Peer, dir: &Path, agent: Option<&Path>) -> Result<Model> {
        fs::create_dir_all(dir)?;
        let keys = make_keys(dir)?;
        let program = match agent {
            Some(agent) => fs::canonicalize(agent)?,
            None => program("tandem")?,
        };
        let program = program.parent().context("a program has a directory")?;
        let (tree, data) = (dir.join("tree"), dir.join("data"));
        fs::create_dir_all(&data)?;
        plant(&tree, &PLACES, run)?;
        keep(
            &tree.join("etc/fw_env.config"),
            environment_lines(Path::new("/disk/environment")).as_bytes(),
        )?;
        peer.configure(&tree, &data, &keys)?;
        let mut model = Model {
            peer,
            dir: dir.to_owned(),
            program: program.to_owned(),
            releases: Vec::new(),
            before: Default::default(),
        };
        for (number, release) in (0..).zip(RELEASES) {
            // No block of one release is the same in another.
            peer.label(&tree, release)?;
            keep(&tree.join("content"), &noise(number, 3 * MIB / 2))?;
            let image = dir.join(format!("{release}.ext4"));
            make_image(&image, &tree, IMAGE)?;
            let artifact = peer.artifact(&Materials {
                dir,
                keys: &keys,
                release,
                image: &image,
            })?;
            let artifact = Path::new("/artifacts").join(artifact);
            model.releases.push((release, fs::read(&image)?, artifact));
        }
        let data_image = dir.join("data.ext4");
        make_data(&data_image, &data)?;
        let old = model.release(OLD).map(|(_, image, _)| image.clone());
        model.before = [
            vec![0; ENV_DISTANCE.saturating_add(ENV_SIZE)],
            old.context("a release")?,
            vec![0; usize::try_from(IMAGE)?],
            fs::read(&data_image)?,
        ];
        model.before = model.updated_twice()?;
        Ok(model)
    }

    /// The media after two updates, so that every record that the peer keeps has something in it.
    fn updated_twice(&self) -> Result<Media> {
        let (machine, mut media) = Attached::new(self, &self.dir.join("first"))?;
        media.fill(&self.before)?;
        machine.set_factory_environment()?;
        let [option, ..] = MOUNT_OPTIONS;
        let mut running = 2;
        for release in ["release-0", OLD] {
            let data = machine.mount(media.block(Medium::Data)?, option)?;
            machine.must(running, &self.install(release, running)?)?;
            data.unmount()?;
            ensure!(
                machine.power_up()? == Power::Starts(other_part(running)),
                "{release} is not started"
            );
            running = other_part(running);
            let data = machine.mount(media.block(Medium::Data)?, option)?;
            machine.must(running, &self.peer.keep(running))?;
            data.unmount()?;
        }
        media.content()
    }

    /// The command that installs a release.
    pub(crate) fn install(&self, release: &str, running: u32) -> Result<Words> {
        let (.., artifact) = self.release(release).context("a release")?;
        Ok(self.peer.install(&artifact.display().to_string(), running))
    }

    fn release(&self, name: &str) -> Option<&(&'static str, Vec<u8>, PathBuf)> {
        self.releases.iter().find(|(release, ..)| *release == name)
    }

    /// The release that a root part holds, all of it.
    pub(crate) fn whole(&self, part: &[u8]) -> Option<&'static str> {
        let found = self.releases.iter().find(|(_, image, _)| image == part);
        found.map(|(name, ..)| *name)
    }

    /// Which program it is.
    pub(crate) fn peer(&self) -> Peer {
        self.peer
    }
}

impl<'a> Machine<'a> {
    /// One in `dir`, which is created, whose media somebody else attaches.
    pub(crate) fn new(model: &'a Model, dir: &Path) -> Result<Machine<'a>> {
        for sub in ["disk", "media", "data", "etc"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let device = Device::open(dir)?;
        let lines = environment_lines(&device.path("disk/environment"));
        keep(&device.path("etc/fw_env.config"), lines.as_bytes())?;
        Ok(Machine { model, device })
    }

    fn store(&self) -> Result<Store> {
        let config = Config::load(&self.device.path("etc/fw_env.config"))?;
        Ok(Store::new(config))
    }

    /// A path in its directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.device.path(name)
    }

    /// Mounts the data partition.
    pub(crate) fn mount(&self, block: &Path, option: &str) -> Result<Data> {
        Data::mount(block, &self.device, option)
    }

    /// What the factory does.
    fn set_factory_environment(&self) -> Result<()> {
        let mut env = Env::new();
        // As real ones have: checksum and last variables lie in different sectors.
        env.set("altbootcmd", "run fallback; run bootcmd; ".repeat(80))?;
        for (name, value) in self.model.peer.factory() {
            env.set(name, value)?;
        }
        let store = self.store()?;
        let guard = store.lock()?;
        // Both copies, as two saves leave them.
        store.write(&guard, &env)?;
        store.write(&guard, &env)?;
        Ok(())
    }

    /// The boot loader takes over.
    pub(crate) fn power_up(&self) -> Result<Power> {
        let store = self.store()?;
        let save = |env: &Env| -> Result<()> {
            let guard = store.lock()?;
            store.write(&guard, env)?;
            Ok(())
        };
        for _ in 0..RESETS {
            let Some(mut env) = store.read()?.env else {
                return Ok(Power::Lost);
            };
            if let Some(part) = self.model.peer.boot(&mut env, save)? {
                return Ok(Power::Starts(part));
            }
        }
        bail!("the boot loader finds nothing to start");
    }

    /// Runs a command while root part `running` runs.
    pub(crate) fn run(&self, running: u32, command: &Words) -> Result<Output> {
        let entry = Entry {
            dir: self.device.path(""),
            part: running,
            artifacts: self.model.dir.clone(),
            program: self.model.program.clone(),
            command: command.iter().map(Into::into).collect(),
        };
        let output = output(&mut entry.outside())?;
        let (_, log) = texts(&output);
        // timeout(1) and unshare(1) have exit codes of their own.
        let was_run = !matches!(output.status.code(), None | Some(124..=127));
        ensure!(
            was_run && !log.contains(REFUSED),
            "{command:?} could not be run: {}\n{log}",
            output.status
        );
        Ok(output)
    }

    /// The same, and it must go well.
    pub(crate) fn must(&self, running: u32, command: &Words) -> Result<()> {
        let output = self.run(running, command)?;
        let (words, log) = texts(&output);
        ensure!(
            output.status.success(),
            "{command:?}: {}\n{words}{log}",
            output.status
        );
        Ok(())
    }
}

/// Media in memory, as block devices, that are filled again and again.
pub(crate) struct Attached {
    devices: Vec<LoopDevice>,
    files: Vec<PathBuf>,
}

impl Attached {
    /// A device in `dir` and its media.
    pub(crate) fn new<'a>(model: &'a Model, dir: &Path) -> Result<(Machine<'a>, Attached)> {
        let machine = Machine::new(model, dir)?;
        let mut media = Attached {
            devices: Vec::new(),
            files: Vec::new(),
        };
        for medium in Medium::ALL {
            let file = machine.path("media").join(medium.file());
            let content = model.before.get(medium.index()).context("a medium")?;
            keep(&file, content)?;
            let device = LoopDevice::attach(&file, run)?;
            symlink(device.path(), machine.path("disk").join(medium.file()))?;
            media.devices.push(device);
            media.files.push(file);
        }
        Ok((machine, media))
    }

    /// The block device of a medium.
    pub(crate) fn block(&self, medium: Medium) -> Result<&Path> {
        let device = self.devices.get(medium.index()).context("a medium")?;
        Ok(device.path())
    }

    /// Gives them all this content.
    pub(crate) fn fill(&mut self, content: &Media) -> Result<()> {
        use std::os::unix::fs::FileExt;
        for (device, content) in self.devices.iter().zip(content) {
            device.file().write_all_at(content, 0)?;
            device.file().sync_all()?;
        }
        Ok(())
    }

    /// What they hold.
    fn content(&self) -> Result<Media> {
        let mut media = Media::default();
        for ((device, file), content) in self.devices.iter().zip(&self.files).zip(&mut media) {
            device.file().sync_all()?;
            *content = fs::read(file)?;
        }
        Ok(media)
    }

    /// The root part with this number.
    pub(crate) fn root(&self, number: u32) -> Result<Vec<u8>> {
        let file = self.files.get(root_part(number).index());
        Ok(fs::read(file.context("a medium")?)?)
    }
}

fn environment_lines(path: &Path) -> String {
    let path = path.display();
    format!("{path} 0x0 {ENV_SIZE:#x}\n{path} {ENV_DISTANCE:#x} {ENV_SIZE:#x}\n")
}

fn make_keys(dir: &Path) -> Result<Keys> {
    let keys = Keys {
        private: dir.join("private.pem"),
        public: dir.join("public.pem"),
        certificate: dir.join("certificate.pem"),
    };
    run(&mut Keys::make_private(&keys.private))?;
    run(&mut Keys::make_public(&keys.private, &keys.public))?;
    run(&mut Keys::make_certificate(
        &keys.private,
        &keys.certificate,
    ))?;
    Ok(keys)
}
