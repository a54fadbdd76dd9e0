//! Disk images of devices with two root parts, made of a root file system, without root.
//!
//! `tandem-image` is the program; the tests make their virtual devices with the same functions.
//! The same input gives the same bytes.

mod agent;
pub(crate) mod boot_disk;
mod chain;
mod ext4;
mod layout;
mod old_disk;
pub(crate) mod one_root;
mod parts;
mod release;
mod settings;
mod source;
mod tool;
mod tree;
mod uuid;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

pub use chain::{Chain, Processor};
pub use layout::{Layout, MIB, Part, Sizes};
pub use parts::Table;
pub use release::Release;
pub use settings::Settings;

pub(crate) use chain::GRUB_STORE;
pub(crate) use ext4::read as read_file;
pub(crate) use parts::copy as copy_part;
pub(crate) use tool::Tool;

use chain::Boot;
use ext4::{Addition, Content, Format};
use source::Source;

/// A file to be taken along: where it is, and where it is to be.
pub type Taken = (PathBuf, PathBuf);

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The root file system: a directory, an archive, an ext4 image, or the image of a disk.
    pub root: PathBuf,
    /// The number of its partition, if the disk has several that could be it.
    pub root_partition: Option<u32>,
    /// The files of that disk's boot partition are to be on the new one, too.
    pub keep_boot_files: bool,
    /// The agent's program, if it is not in the root file system.
    pub agent: Option<PathBuf>,
    /// The disk image.
    pub output: PathBuf,
    /// Where the root file system goes beside, alone.
    pub root_output: Option<PathBuf>,
    /// Where the artifact goes that installs it.
    pub artifact: Option<PathBuf>,
    /// What the root file system is called, and for which devices it is.
    pub release: Release,
    /// The boot loader.
    pub chain: Chain,
    /// The disk as the device calls it.
    pub disk: String,
    /// The partition table.
    pub table: Table,
    /// Sizes; that of the root parts does not count without `root_size`.
    pub sizes: Sizes,
    /// The size of each root part in bytes; what the files need, and some room, if not said.
    pub root_size: Option<u64>,
    /// A kernel to put into the root file system.
    pub kernel: Option<PathBuf>,
    /// Where the root file system has its kernel.
    pub kernel_path: String,
    /// Where it has its device tree.
    pub device_tree: Option<String>,
    /// Where it has its initial RAM disk, if the kernel needs one.
    pub initrd: Option<String>,
    /// What else the kernel is told.
    pub kernel_arguments: String,
    /// The system writes to its root.
    pub writable_root: bool,
    /// The agent's configuration.
    pub settings: Settings,
    /// More files for the root file system.
    pub files: Vec<Taken>,
    /// More files for the boot partition.
    pub boot_files: Vec<Taken>,
    /// Files for places where no partition is, by their offset in bytes.
    pub blobs: Vec<(PathBuf, u64)>,
    /// Commands that the boot script runs first.
    pub boot_hook: Option<PathBuf>,
    /// More variables for the boot environment.
    pub variables: Vec<(String, String)>,
    /// What it takes for now, in seconds since 1970.
    pub time: u64,
}

/// What has been made.
#[derive(Clone, Debug)]
pub struct Built {
    /// Where everything lies.
    pub layout: Layout,
    /// The length of the root file system in bytes; the root part may be longer.
    pub root_length: u64,
    /// Its SHA-256, in hexadecimal.
    pub root_sha256: String,
}

/// Makes the image, and what else the plan says.
///
/// # Errors
/// When the plan cannot be carried out; nothing is left behind then but perhaps an artifact.
pub fn build(plan: &Plan) -> Result<Built> {
    let work = tempfile::tempdir().context("cannot make a temporary directory")?;
    let work = work.path();
    let seed = format!("{} {}", plan.release.device_type, plan.release.name);
    let hook = match &plan.boot_hook {
        Some(path) => fs::read_to_string(path)
            .with_context(|| format!("cannot read the boot hook {}", path.display()))?,
        None => String::new(),
    };
    let kernel_arguments = kernel_arguments(plan);
    let boot = Boot {
        chain: plan.chain,
        disk: &plan.disk,
        kernel: &plan.kernel_path,
        device_tree: plan.device_tree.as_deref(),
        initrd: plan.initrd.as_deref(),
        kernel_arguments: &kernel_arguments,
        hook: &hook,
        variables: &plan.variables,
        time: plan.time,
    };

    let source = Source::open(plan)?;
    let mut sizes = plan.sizes;
    sizes.root = match plan.root_size {
        Some(size) => size,
        None => source.room(plan)?.next_multiple_of(plan.sizes.alignment),
    };
    if plan.chain == Chain::Grub {
        sizes.environment = None;
    }
    let layout = Layout::new(&sizes)?;

    let root = work.join("root.ext4");
    source.write(&root, &layout, plan, &seed)?;
    complete_root(&root, &boot, &layout, plan, &source)?;
    let (root_length, root_sha256) = sum(&root)?;

    let bootstrap = work.join("bootstrap.mender");
    plan.release.write_bootstrap(&root, &bootstrap)?;
    let data = work.join("data.ext4");
    let empty = work.join("empty");
    fs::create_dir(&empty)?;
    let format = Format {
        size: layout.data.size,
        label: "data",
        seed: &format!("{seed} data"),
        journal: true,
        time: plan.time,
    };
    ext4::make(&data, &empty, &ext4::Facts::new(), &format)?;
    let device_type = &plan.release.device_type;
    ext4::add(
        &data,
        &settings::data_files(device_type, &bootstrap)?,
        plan.time,
    )?;

    let fat = work.join("boot.vfat");
    let mut files = boot.files(&layout, work)?;
    files.extend(taken(&plan.boot_files)?);
    if plan.keep_boot_files {
        keep(&mut files, source.boot_files(work, plan.time)?);
    }
    parts::make_fat(&fat, layout.boot.size, &files, &seed, plan.time)?;

    let dir = plan.output.parent().filter(|dir| *dir != Path::new(""));
    let dir = dir.unwrap_or(Path::new("."));
    let mut disk =
        NamedTempFile::new_in(dir).with_context(|| format!("cannot write to {}", dir.display()))?;
    disk.as_file().set_len(layout.disk)?;
    let efi = plan.chain == Chain::Grub;
    parts::write_table(disk.path(), &layout, plan.table, &seed, efi, plan.time)?;
    let file = disk.as_file_mut();
    for (number, copy) in (1..).zip(layout.environment.into_iter().flatten()) {
        file.write_all_at(&boot.environment(copy.size, number)?, copy.start)?;
    }
    for (path, offset) in &plan.blobs {
        parts::copy_blob(path, *offset, file, &layout, plan.table)?;
    }
    parts::copy(&fat, file, layout.boot)?;
    parts::copy(&root, file, layout.root_a)?;
    parts::copy(&data, file, layout.data)?;

    if let Some(path) = &plan.artifact {
        plan.release.write(&root, path)?;
    }
    if let Some(path) = &plan.root_output {
        fs::copy(&root, path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    fs::set_permissions(disk.path(), fs::Permissions::from_mode(0o644))?;
    disk.persist(&plan.output)
        .with_context(|| format!("cannot write {}", plan.output.display()))?;
    Ok(Built {
        layout,
        root_length,
        root_sha256,
    })
}

/// What the kernel is told beside where its root is. A kernel that cannot go on must say so by a
/// reset: nothing else tells the boot loader that a trial has failed.
fn kernel_arguments(plan: &Plan) -> String {
    let mut arguments = String::from(if plan.writable_root { "rw" } else { "ro" });
    let said = plan.kernel_arguments.trim();
    if !said
        .split_whitespace()
        .any(|word| word.starts_with("panic="))
    {
        arguments.push_str(" panic=1");
    }
    if !said.is_empty() {
        arguments.push(' ');
        arguments.push_str(said);
    }
    arguments
}

/// Puts into the root file system what the device needs.
fn complete_root(
    image: &Path,
    boot: &Boot,
    layout: &Layout,
    plan: &Plan,
    source: &Source,
) -> Result<()> {
    let mut files = plan.settings.files(boot, layout)?;
    let before = match ext4::exists(image, Path::new("/etc/fstab"), plan.time)? {
        true => ext4::read(image, Path::new("/etc/fstab"))?,
        false => Vec::new(),
    };
    let mut before = String::from_utf8(before).context("/etc/fstab is no text")?;
    if let Source::Disk(_) = source {
        before = old_disk::fstab(&before, &boot.partition(1));
    }
    files.push(settings::fstab(&before, boot));
    if let Some(program) = &plan.agent {
        let has_server = plan.settings.server_url.is_some();
        files.extend(agent::files(program, image, has_server, plan.time)?);
    }
    files.push(Addition::directory(settings::DATA));
    if boot.chain == Chain::Grub {
        files.push(Addition::directory(settings::ESP));
    }
    if let Some(kernel) = &plan.kernel {
        files.push(Addition::copy(&plan.kernel_path, kernel, 0o644));
    }
    files.extend(taken(&plan.files)?);
    ext4::add(image, &files, plan.time)?;
    if boot.chain == Chain::Uboot {
        return Ok(());
    }
    if !ext4::exists(image, Path::new(&plan.kernel_path), plan.time)? {
        bail!(
            "the root file system has no kernel {}: bring one along (--kernel), or say where it is (--kernel-path)",
            plan.kernel_path
        );
    }
    if let Some(initrd) = &plan.initrd {
        ensure!(
            ext4::exists(image, Path::new(initrd), plan.time)?,
            "the root file system has no initial RAM disk {initrd} (--initrd-path)"
        );
    }
    Ok(())
}

/// Adds the files of an old boot partition that are not replaced by new ones. A FAT does not know
/// capitals.
fn keep(files: &mut Vec<Addition>, old: Vec<Addition>) {
    let name = |file: &Addition| {
        let path = file.path.strip_prefix("/").unwrap_or(&file.path);
        path.to_string_lossy().to_lowercase()
    };
    let new: HashSet<String> = files.iter().map(name).collect();
    files.extend(old.into_iter().filter(|file| !new.contains(&name(file))));
}

/// Files to be copied, with the permissions that they have.
fn taken(files: &[Taken]) -> Result<Vec<Addition>> {
    files
        .iter()
        .map(|(from, to)| {
            let metadata =
                fs::metadata(from).with_context(|| format!("cannot take {}", from.display()))?;
            ensure!(metadata.is_file(), "{} is no file", from.display());
            let mode = match metadata.permissions().mode() & 0o111 {
                0 => 0o644,
                _ => 0o755,
            };
            Ok(Addition {
                path: to.clone(),
                mode,
                content: Content::File(from.clone()),
            })
        })
        .collect()
}

/// Puts a file into an ext4 file system; its directory is made if need be.
///
/// # Errors
/// When it cannot be.
pub(crate) fn add_file(image: &Path, path: &str, content: &[u8]) -> Result<()> {
    ext4::add(image, &[Addition::text(path, content)], 0)
}

/// The length and the SHA-256 of a file.
pub(crate) fn sum(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    sum_of(&mut file)
}

/// The length and the SHA-256, in hexadecimal, of what can be read.
pub(crate) fn sum_of(source: &mut dyn Read) -> Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut length = 0_u64;
    let mut block = vec![0; 1 << 16];
    loop {
        let count = source.read(&mut block)?;
        if count == 0 {
            break;
        }
        hash.update(block.get(..count).unwrap_or_default());
        length = length.saturating_add(count as u64);
    }
    let digest = hash.finalize();
    Ok((
        length,
        digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    ))
}
