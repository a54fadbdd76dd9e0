//! Where everything begins: a device that runs release 1, artifacts with releases 2 and 3, and how
//! the device is laid out in a directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollTimeout, poll};
use tandem_e2e::{Device, Setup, make_image, write_artifact};
use tandem_uboot_env::{Config, Env, Store};

use crate::log::{Media, Medium};
use crate::phase::Facts;
use crate::random::Random;
use crate::tool::{output, run};

const MIB: u64 = 1 << 20;
const IMAGE: u64 = 2 * MIB;
const PART: u64 = IMAGE + MIB / 2;
/// The journal of an ext4 file system has at least 4 MiB.
const DATA_BLOCKS: &str = "2560";

/// How long a file system may be in use after its last user.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a person keeps on the data partition: it is none of an update's business.
const PHOTOS: &str = "photos";

/// The options under which the data partition is tried.
pub(crate) const MOUNT_OPTIONS: [&str; 2] = ["auto_da_alloc", "noauto_da_alloc"];

/// The beginning.
pub(crate) struct Scene {
    dir: PathBuf,
    program: PathBuf,
    /// The media of a device that runs release 1.
    pub(crate) before: Media,
    releases: Vec<(String, Vec<u8>)>,
    photos: Vec<u8>,
}

impl Scene {
    /// Makes it in `dir`, with this agent.
    pub(crate) fn create(dir: &Path, program: &Path) -> Result<Scene> {
        let tree = dir.join("tree");
        for sub in ["boot", "sbin", "etc"] {
            fs::create_dir_all(tree.join(sub))?;
        }
        let mut releases = Vec::new();
        for number in [3, 2, 1] {
            let name = format!("release-{number}");
            for file in ["boot/vmlinuz", "sbin/init", "etc/release"] {
                keep(&tree.join(file), name.as_bytes())?;
            }
            // No block of one release is the same in another.
            keep(&tree.join("boot/content"), &noise(number, 3 * MIB / 2))?;
            let image = dir.join(format!("{name}.ext4"));
            make_image(&image, &tree, IMAGE)?;
            let image_name = image.display().to_string();
            write_artifact(
                &[
                    "rootfs-image",
                    "-t",
                    "virtual",
                    "-n",
                    &name,
                    "-f",
                    &image_name,
                ],
                &dir.join(format!("{name}.mender")),
            );
            releases.push((name, fs::read(&image)?));
        }
        let bootstrap = dir.join("bootstrap.mender");
        write_artifact(
            &["bootstrap-artifact", "-t", "virtual", "-n", "release-1"],
            &bootstrap,
        );
        let device = Device::create(
            &dir.join("base"),
            &Setup {
                tree,
                part_size: PART,
                device_type: "virtual".into(),
                configuration: "allow_unsigned = true".into(),
                bootstrap: Some(bootstrap),
            },
        )?;
        spread(&device)?;
        let photos = noise(4, 64 << 10);
        keep(&device.path("data").join(PHOTOS), &photos)?;
        let mut scene = Scene {
            dir: dir.to_owned(),
            program: program.to_owned(),
            before: Default::default(),
            releases,
            photos,
        };
        let shown = scene.tandem(&device, &["show-artifact"])?;
        ensure!(
            shown.status.success(),
            "the device does not work: {shown:?}"
        );
        let mut root = scene.image("release-1").to_vec();
        root.resize(usize::try_from(PART)?, 0);
        let data = dir.join("data.ext4");
        make_data(&data, &device.path("data"))?;
        scene.before = [
            fs::read(device.path("disk/environment"))?,
            root,
            vec![0; usize::try_from(PART)?],
            fs::read(&data)?,
        ];
        Ok(scene)
    }

    /// A device in `dir`, which is created, with no media yet.
    pub(crate) fn device(&self, dir: &Path) -> Result<Device> {
        for sub in ["disk", "data", "etc/scripts"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        let base = self.dir.join("base").display().to_string();
        for file in ["etc/tandem.toml", "etc/fw_env.config"] {
            let text = fs::read_to_string(self.dir.join("base").join(file))?;
            let text = text.replace(&base, &dir.display().to_string());
            keep(&dir.join(file), text.as_bytes())?;
        }
        Device::open(dir)
    }

    /// Runs the agent.
    pub(crate) fn tandem(&self, device: &Device, arguments: &[&str]) -> Result<Output> {
        output(
            Command::new("timeout")
                .arg("60")
                .arg(&self.program)
                .arg("--config")
                .arg(device.path("etc/tandem.toml"))
                .args(arguments),
        )
    }

    /// The artifact of a release.
    pub(crate) fn artifact(&self, release: &str) -> String {
        self.dir
            .join(format!("{release}.mender"))
            .display()
            .to_string()
    }

    /// The root file system of a release.
    fn image(&self, release: &str) -> &[u8] {
        let found = self.releases.iter().find(|(name, _)| name == release);
        found.map_or(&[], |(_, image)| image)
    }

    /// The release that a root part holds, all of it.
    pub(crate) fn whole(&self, part: &[u8]) -> Option<&str> {
        let holds = |image: &[u8]| part.get(..image.len()) == Some(image);
        let found = self.releases.iter().find(|(_, image)| holds(image));
        found.map(|(name, _)| name.as_str())
    }

    /// What people keep on the data partition is there.
    pub(crate) fn check_photos(&self, device: &Device) -> Result<()> {
        let found = fs::read(device.path("data").join(PHOTOS)).context("a file of the user")?;
        ensure!(found == self.photos, "a file of the user has changed");
        Ok(())
    }
}

/// Makes the file system of a data partition, with these files.
pub(crate) fn make_data(image: &Path, files: &Path) -> Result<()> {
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-J", "size=4"]);
    make.args([
        "-E",
        "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0",
        "-d",
    ]);
    run(make.arg(files).arg(image).arg(DATA_BLOCKS)).map(drop)
}

/// A mounted data partition.
#[derive(Debug)]
pub(crate) struct Data(PathBuf);

impl Data {
    /// Mounts it where the device wants it.
    pub(crate) fn mount(block: &Path, device: &Device, option: &str) -> Result<Data> {
        let place = device.path("data");
        mount(
            Some(block),
            &place,
            Some("ext4"),
            MsFlags::empty(),
            Some(option),
        )
        .context("the data partition cannot be mounted")?;
        Ok(Data(place))
    }

    /// Unmounts it.
    pub(crate) fn unmount(self) -> Result<()> {
        // A process that another thread is about to start holds what this one had open, until it
        // becomes the program.
        let begun = Instant::now();
        loop {
            match umount2(&self.0, MntFlags::empty()) {
                Ok(()) => break,
                Err(Errno::EBUSY) if begun.elapsed() < PATIENCE => {}
                Err(errno) => {
                    return Err(errno).context("the data partition cannot be unmounted");
                }
            }
            poll(&mut [], PollTimeout::from(5_u8))?;
        }
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// What the boot environment says.
pub(crate) fn facts(device: &Device) -> Result<Facts> {
    let store = Store::new(Config::load(&device.path("etc/fw_env.config"))?);
    let Some(env) = store.read()?.env else {
        bail!("both copies of the boot environment are lost");
    };
    let number = |name| -> Result<u32> {
        let value = env
            .get(name)
            .with_context(|| format!("{name} is missing"))?;
        Ok(std::str::from_utf8(value)?.parse()?)
    };
    let part = number("mender_boot_part")?;
    ensure!(
        part == number("mender_boot_part_hex")?,
        "the two forms of the selected root part differ"
    );
    Ok(Facts {
        part,
        trial: number("upgrade_available")? == 1,
        count: number("bootcount")?,
    })
}

/// Gives the boot environment the scripts that a real one has, so that its checksum and its last
/// variables lie in different sectors.
fn spread(device: &Device) -> Result<()> {
    let store = Store::new(Config::load(&device.path("etc/fw_env.config"))?);
    let mut env = Env::new();
    env.set(
        "altbootcmd",
        "run mender_altbootcmd; run bootcmd; ".repeat(80),
    )?;
    let found = store.read()?.env.context("the device has an environment")?;
    for (name, value) in found.iter() {
        env.set(name, value)?;
    }
    let guard = store.lock()?;
    // Both copies, as two saves leave them.
    store.write(&guard, &env)?;
    store.write(&guard, &env)?;
    Ok(())
}

/// The medium that holds the root part with this number.
pub(crate) const fn root_part(number: u32) -> Medium {
    match number {
        2 => Medium::RootA,
        _ => Medium::RootB,
    }
}

/// Writes a file that nobody misses.
pub(crate) fn keep(path: &Path, content: &[u8]) -> Result<()> {
    #[expect(clippy::disallowed_methods, reason = "nobody misses it")]
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Bytes that cannot be guessed.
pub(crate) fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let words = (0..length.div_ceil(8)).map(|_| random.next().to_le_bytes());
    words.flatten().collect()
}
