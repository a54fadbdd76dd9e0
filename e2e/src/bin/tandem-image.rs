//! Makes the disk image of a device with two root parts, and the artifact that updates to it.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, ValueEnum};
use tandem_artifact::Compressor;
use tandem_e2e::disk_image::{
    Chain, MIB, Plan, Processor, Release, Settings, Sizes, Table, Taken, build,
};

/// Make a disk image for devices that Tandem updates, out of a root file system
///
/// The image has a boot partition, two root parts of the same size (the second one empty), a data
/// partition that no update touches, and, for U-Boot, two copies of the boot environment. Into the
/// root file system go the agent's configuration, fw_env.config and what to mount. Nothing needs
/// root, and the same input gives the same bytes.
#[derive(Parser)]
#[command(name = "tandem-image", version, after_long_help = EXAMPLES)]
struct Cli {
    /// The root file system: a directory, a tar archive, an ext4 image, or the image of a disk that
    /// has one; archives and images may be compressed (gz, xz, zst)
    #[arg(long, value_name = "PATH")]
    rootfs: PathBuf,
    /// What this root file system is called
    #[arg(long, value_name = "NAME")]
    release: String,
    /// The type of the devices that it is for
    #[arg(short = 't', long, value_name = "TYPE")]
    device_type: String,
    /// The disk image to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    artifact: ArtifactArgs,
    #[command(flatten)]
    knowledge: KnowledgeArgs,
    #[command(flatten)]
    boot: BootArgs,
    #[command(flatten)]
    content: ContentArgs,
    #[command(flatten)]
    sizes: SizeArgs,
}

#[derive(Args)]
#[command(next_help_heading = "Artifact")]
struct ArtifactArgs {
    /// Also write the artifact that updates devices to this root file system
    #[arg(long, value_name = "FILE")]
    artifact: Option<PathBuf>,
    /// Sign the artifact with this private key
    #[arg(short = 'k', long, value_name = "PEM", requires = "artifact")]
    key: Option<PathBuf>,
    /// Add a state script to the artifact; may be repeated
    #[arg(short, long, value_name = "FILE", requires = "artifact")]
    script: Vec<PathBuf>,
    /// How to compress the artifact: none, gzip, lzma, zstd_fastest, zstd_fast, zstd_better, zstd_best
    #[arg(long, value_name = "NAME", default_value = "gzip", value_parser = compressor)]
    compression: Compressor,
    /// Also write the root file system alone
    #[arg(long, value_name = "FILE")]
    rootfs_output: Option<PathBuf>,
}

#[derive(Args)]
#[command(next_help_heading = "What the device knows")]
struct KnowledgeArgs {
    /// The server's address, https://...
    #[arg(long, value_name = "URL")]
    server_url: Option<String>,
    /// Certificates to trust instead of the system's: the server's own or its CA's
    #[arg(long, value_name = "PEM")]
    server_certificate: Option<PathBuf>,
    /// The public key of whoever may sign artifacts
    #[arg(long, value_name = "PEM")]
    verify_key: Option<PathBuf>,
    /// Another line for tandem.toml; may be repeated
    #[arg(long = "set", value_name = "KEY = VALUE")]
    settings: Vec<String>,
}

#[derive(Args)]
#[command(next_help_heading = "Boot")]
struct BootArgs {
    /// The boot loader
    #[arg(long, value_enum, default_value_t = BootLoader::Uboot)]
    boot: BootLoader,
    /// The disk as the device calls it
    #[arg(long, value_name = "DEVICE", default_value = "/dev/mmcblk0")]
    disk: String,
    /// A kernel to put into the root file system
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Where the root file system has its kernel
    #[arg(long, value_name = "PATH", default_value = "/boot/vmlinuz", value_parser = absolute)]
    kernel_path: String,
    /// Where it has its initial RAM disk, if the kernel needs one (not with uboot)
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    initrd_path: Option<String>,
    /// Where the root file system has its device tree; the boot loader's own if not said
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    device_tree: Option<String>,
    /// What else to tell the kernel; unless it says so itself, panic=1 is added
    #[arg(
        long,
        value_name = "WORDS",
        default_value = "",
        allow_hyphen_values = true
    )]
    kernel_args: String,
    /// Commands of the boot loader that its script runs first
    #[arg(long, value_name = "FILE")]
    boot_hook: Option<PathBuf>,
    /// Another variable of the boot environment; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
}

#[derive(Args)]
#[command(next_help_heading = "Content")]
struct ContentArgs {
    /// Install the agent: this program, with its scripts, modules and, where there is systemd, its unit
    #[arg(long, value_name = "PROGRAM")]
    agent: Option<PathBuf>,
    /// Another file for the root file system; may be repeated
    #[arg(long = "add", value_name = "FILE:PATH", value_parser = taken)]
    files: Vec<Taken>,
    /// Another file for the boot partition; may be repeated
    #[arg(long = "boot-file", value_name = "FILE:PATH", value_parser = taken)]
    boot_files: Vec<Taken>,
    /// A file for a place without a partition, such as a board's boot loader; may be repeated
    #[arg(long = "raw", value_name = "FILE@OFFSET", value_parser = blob)]
    blobs: Vec<(PathBuf, u64)>,
    /// The system writes to its root: mount it so, and give it a journal
    #[arg(long)]
    writable_root: bool,
    /// Of a disk image: which partition is the root file system, if several could be
    #[arg(long, value_name = "NUMBER")]
    root_partition: Option<u32>,
    /// Of a disk image: keep the files of its boot partition (a board's firmware may be there)
    #[arg(long)]
    keep_boot_files: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Sizes")]
struct SizeArgs {
    /// Each root part, in MiB; what the files need and some room if not said
    #[arg(long, value_name = "MIB")]
    root_size: Option<u64>,
    /// The data partition, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    data_size: u64,
    /// The boot partition, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16)]
    boot_size: u64,
    /// The whole disk, in MiB; the data partition takes what is left
    #[arg(long, value_name = "MIB")]
    disk_size: Option<u64>,
    /// Everything begins at a multiple of this, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 8)]
    alignment: u64,
    /// One copy of U-Boot's environment, in bytes (CONFIG_ENV_SIZE)
    #[arg(long, value_name = "BYTES", default_value = "0x20000", value_parser = number)]
    env_size: u64,
    /// The kind of partition table
    #[arg(long, value_enum, default_value_t = Kind::Gpt)]
    table: Kind,
    /// The time of what has none of its own, in seconds since 1970
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SOURCE_DATE_EPOCH",
        default_value_t = 1_704_067_200
    )]
    time: u64,
}

const EXAMPLES: &str = "\
Examples:
  A board whose U-Boot is set up for two root parts (see the boot loader's chapter in README.md):
    tandem-image --rootfs rootfs.tar.xz --release 2024.1 --device-type my-board \\
        --server-url https://updates.example.com --verify-key signer.pub \\
        --raw u-boot.bin@0x2000 --root-size 512 --data-size 1024 \\
        --artifact 2024.1.mender --key signer.pem -o my-board.img

  An arm64 board with any U-Boot that runs boot.scr:
    ... --boot uboot-script-arm64 --kernel Image --disk /dev/mmcblk0

  A PC with UEFI:
    ... --boot grub --disk /dev/nvme0n1

  A distribution's own image, with the agent put into it:
    tandem-image --rootfs debian.img.xz --agent tandem --writable-root --release 2024.1 \\
        --device-type my-pc --verify-key signer.pub --boot grub --disk /dev/nvme0n1 \\
        --kernel-path /vmlinuz --initrd-path /initrd.img --artifact 2024.1.mender -o my-pc.img

The device mounts partition 4 on /data. Its file tandem/device_type says what it is.";

#[derive(Clone, Copy, ValueEnum)]
enum BootLoader {
    /// U-Boot with a redundant environment, boot counter and boot commands for two root parts
    Uboot,
    /// Any U-Boot for arm64 that runs boot.scr: the script does all of that
    UbootScriptArm64,
    /// The same for x86
    UbootScriptX86,
    /// GRUB on UEFI (x86-64)
    Grub,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// GUID partition table
    Gpt,
    /// The older one
    Dos,
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            #[expect(clippy::print_stderr, reason = "this is where a program says why")]
            {
                eprintln!("tandem-image: {err:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let output = cli.output.clone();
    let artifact = cli.artifact.artifact.clone();
    let built = build(&plan(cli)?)?;
    let mut out = stdout().lock();
    writeln!(out, "{}: {} MiB", output.display(), built.layout.disk / MIB)?;
    for copy in built.layout.environment.into_iter().flatten() {
        writeln!(
            out,
            "  {:#11x}  environment, {:#x} bytes",
            copy.start, copy.size
        )?;
    }
    for (number, (name, part)) in (1..).zip(built.layout.partitions()) {
        writeln!(
            out,
            "  {:#11x}  partition {number}, {name}, {} MiB",
            part.start,
            part.size / MIB
        )?;
    }
    writeln!(
        out,
        "root file system: {} sha256 {}",
        built.root_length, built.root_sha256
    )?;
    if let Some(artifact) = artifact {
        writeln!(out, "artifact: {}", artifact.display())?;
    }
    Ok(())
}

/// What is to be made.
fn plan(cli: Cli) -> Result<Plan> {
    let Cli {
        artifact,
        knowledge,
        boot,
        content,
        sizes,
        ..
    } = cli;
    let mib = |size: u64| {
        size.checked_mul(MIB)
            .with_context(|| format!("{size} MiB is more than there can be"))
    };
    let chain = match boot.boot {
        BootLoader::Uboot => Chain::Uboot,
        BootLoader::UbootScriptArm64 => Chain::UbootScript(Processor::Arm64),
        BootLoader::UbootScriptX86 => Chain::UbootScript(Processor::X86),
        BootLoader::Grub => Chain::Grub,
    };
    ensure!(
        boot.initrd_path.is_none() || chain != Chain::Uboot,
        "--initrd-path is for boot scripts; with --boot uboot it is U-Boot's own commands that load the kernel"
    );
    Ok(Plan {
        root: cli.rootfs,
        root_partition: content.root_partition,
        keep_boot_files: content.keep_boot_files,
        agent: content.agent,
        output: cli.output,
        root_output: artifact.rootfs_output,
        artifact: artifact.artifact,
        release: Release {
            name: cli.release,
            device_type: cli.device_type,
            signing_key: artifact.key,
            compressor: artifact.compression,
            scripts: artifact.script,
        },
        chain,
        disk: boot.disk,
        table: match sizes.table {
            Kind::Gpt => Table::Gpt,
            Kind::Dos => Table::Dos,
        },
        sizes: Sizes {
            alignment: mib(sizes.alignment)?,
            environment: Some(sizes.env_size),
            boot: mib(sizes.boot_size)?,
            root: 0,
            data: mib(sizes.data_size)?,
            disk: sizes.disk_size.map(mib).transpose()?,
        },
        root_size: sizes.root_size.map(mib).transpose()?,
        kernel: boot.kernel,
        kernel_path: boot.kernel_path,
        device_tree: boot.device_tree,
        initrd: boot.initrd_path,
        kernel_arguments: boot.kernel_args,
        writable_root: content.writable_root,
        settings: Settings {
            server_url: knowledge.server_url,
            server_certificate: knowledge.server_certificate,
            verify_key: knowledge.verify_key,
            lines: knowledge.settings,
        },
        files: content.files,
        boot_files: content.boot_files,
        blobs: content.blobs,
        boot_hook: boot.boot_hook,
        variables: boot.variables,
        time: sizes.time,
    })
}

fn compressor(name: &str) -> Result<Compressor> {
    let found = Compressor::ALL.into_iter().find(|one| one.name() == name);
    found.with_context(|| {
        let names = Compressor::ALL.map(Compressor::name);
        format!("it must be one of {}", names.join(", "))
    })
}

fn absolute(text: &str) -> Result<String> {
    ensure!(text.starts_with('/'), "it must begin with /");
    Ok(text.to_owned())
}

fn variable(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').context("it must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn taken(text: &str) -> Result<Taken> {
    let (from, to) = text.rsplit_once(':').context("it must be FILE:PATH")?;
    Ok((from.into(), to.into()))
}

fn blob(text: &str) -> Result<(PathBuf, u64)> {
    let (file, offset) = text.rsplit_once('@').context("it must be FILE@OFFSET")?;
    Ok((file.into(), number(offset)?))
}

/// A number, hexadecimal behind 0x.
fn number(text: &str) -> Result<u64> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.context("it must be a number of bytes")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_manual_page_is_what_help_says() {
        tandem_manual::hold(super::Cli::command(), env!("CARGO_MANIFEST_DIR"));
    }
}
