//! Makes the disk image of a device with two root parts, and the artifact that updates to it.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
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
    /// The root file system: a directory, a tar archive (gz, xz, zst), or an ext4 image
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
    /// Also write the artifact that updates devices to this root file system
    #[arg(long, value_name = "FILE", help_heading = "Artifact")]
    artifact: Option<PathBuf>,
    /// Sign the artifact with this private key
    #[arg(
        short = 'k',
        long,
        value_name = "PEM",
        help_heading = "Artifact",
        requires = "artifact"
    )]
    key: Option<PathBuf>,
    /// Add a state script to the artifact; may be repeated
    #[arg(
        short,
        long,
        value_name = "FILE",
        help_heading = "Artifact",
        requires = "artifact"
    )]
    script: Vec<PathBuf>,
    /// How to compress the artifact: none, gzip, lzma, zstd_fastest, zstd_fast, zstd_better, zstd_best
    #[arg(long, value_name = "NAME", default_value = "gzip", value_parser = compressor,
          help_heading = "Artifact")]
    compression: Compressor,
    /// Also write the root file system alone
    #[arg(long, value_name = "FILE", help_heading = "Artifact")]
    rootfs_output: Option<PathBuf>,

    /// The server's address, https://...
    #[arg(long, value_name = "URL", help_heading = "What the device knows")]
    server_url: Option<String>,
    /// Certificates to trust instead of the system's: the server's own or its CA's
    #[arg(long, value_name = "PEM", help_heading = "What the device knows")]
    server_certificate: Option<PathBuf>,
    /// The public key of whoever may sign artifacts
    #[arg(long, value_name = "PEM", help_heading = "What the device knows")]
    verify_key: Option<PathBuf>,
    /// Another line for tandem.toml; may be repeated
    #[arg(
        long = "set",
        value_name = "KEY = VALUE",
        help_heading = "What the device knows"
    )]
    settings: Vec<String>,

    /// The boot loader
    #[arg(long, value_enum, default_value_t = BootLoader::Uboot, help_heading = "Boot")]
    boot: BootLoader,
    /// The disk as the device calls it
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "/dev/mmcblk0",
        help_heading = "Boot"
    )]
    disk: String,
    /// A kernel to put into the root file system
    #[arg(long, value_name = "FILE", help_heading = "Boot")]
    kernel: Option<PathBuf>,
    /// Where the root file system has its kernel
    #[arg(
        long,
        value_name = "PATH",
        default_value = "/boot/vmlinuz",
        help_heading = "Boot"
    )]
    kernel_path: String,
    /// Where the root file system has its device tree; the boot loader's own if not said
    #[arg(long, value_name = "PATH", help_heading = "Boot")]
    device_tree: Option<String>,
    /// What else to tell the kernel; unless it says so itself, panic=1 is added
    #[arg(
        long,
        value_name = "WORDS",
        default_value = "",
        allow_hyphen_values = true,
        help_heading = "Boot"
    )]
    kernel_args: String,
    /// Commands of the boot loader that its script runs first
    #[arg(long, value_name = "FILE", help_heading = "Boot")]
    boot_hook: Option<PathBuf>,
    /// Another variable of the boot environment; may be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable, help_heading = "Boot")]
    variables: Vec<(String, String)>,

    /// Another file for the root file system; may be repeated
    #[arg(long = "add", value_name = "FILE:PATH", value_parser = taken, help_heading = "Content")]
    files: Vec<Taken>,
    /// Another file for the boot partition; may be repeated
    #[arg(long = "boot-file", value_name = "FILE:PATH", value_parser = taken,
          help_heading = "Content")]
    boot_files: Vec<Taken>,
    /// A file for a place without a partition, such as a board's boot loader; may be repeated
    #[arg(long = "raw", value_name = "FILE@OFFSET", value_parser = blob, help_heading = "Content")]
    blobs: Vec<(PathBuf, u64)>,
    /// The system writes to its root: mount it so, and give it a journal
    #[arg(long, help_heading = "Content")]
    writable_root: bool,

    /// Each root part, in MiB; what the files need and some room if not said
    #[arg(long, value_name = "MIB", help_heading = "Sizes")]
    root_size: Option<u64>,
    /// The data partition, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64, help_heading = "Sizes")]
    data_size: u64,
    /// The boot partition, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 16, help_heading = "Sizes")]
    boot_size: u64,
    /// The whole disk, in MiB; the data partition takes what is left
    #[arg(long, value_name = "MIB", help_heading = "Sizes")]
    disk_size: Option<u64>,
    /// Everything begins at a multiple of this, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 8, help_heading = "Sizes")]
    alignment: u64,
    /// One copy of U-Boot's environment, in bytes (CONFIG_ENV_SIZE)
    #[arg(long, value_name = "BYTES", default_value = "0x20000", value_parser = number,
          help_heading = "Sizes")]
    env_size: u64,
    /// The kind of partition table
    #[arg(long, value_enum, default_value_t = Kind::Gpt, help_heading = "Sizes")]
    table: Kind,
    /// The time of what has none of its own, in seconds since 1970
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SOURCE_DATE_EPOCH",
        default_value_t = 1_704_067_200,
        help_heading = "Sizes"
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
    let mib = |size: u64| {
        size.checked_mul(MIB)
            .with_context(|| format!("{size} MiB is more than there can be"))
    };
    ensure!(
        cli.kernel_path.starts_with('/'),
        "--kernel-path must begin with /"
    );
    let chain = match cli.boot {
        BootLoader::Uboot => Chain::Uboot,
        BootLoader::UbootScriptArm64 => Chain::UbootScript(Processor::Arm64),
        BootLoader::UbootScriptX86 => Chain::UbootScript(Processor::X86),
        BootLoader::Grub => Chain::Grub,
    };
    let plan = Plan {
        root: cli.rootfs,
        output: cli.output.clone(),
        root_output: cli.rootfs_output,
        artifact: cli.artifact.clone(),
        release: Release {
            name: cli.release,
            device_type: cli.device_type,
            signing_key: cli.key,
            compressor: cli.compression,
            scripts: cli.script,
        },
        chain,
        disk: cli.disk,
        table: match cli.table {
            Kind::Gpt => Table::Gpt,
            Kind::Dos => Table::Dos,
        },
        sizes: Sizes {
            alignment: mib(cli.alignment)?,
            environment: Some(cli.env_size),
            boot: mib(cli.boot_size)?,
            root: 0,
            data: mib(cli.data_size)?,
            disk: cli.disk_size.map(mib).transpose()?,
        },
        root_size: cli.root_size.map(mib).transpose()?,
        kernel: cli.kernel,
        kernel_path: cli.kernel_path,
        device_tree: cli.device_tree,
        kernel_arguments: cli.kernel_args,
        writable_root: cli.writable_root,
        settings: Settings {
            server_url: cli.server_url,
            server_certificate: cli.server_certificate,
            verify_key: cli.verify_key,
            lines: cli.settings,
        },
        files: cli.files,
        boot_files: cli.boot_files,
        blobs: cli.blobs,
        boot_hook: cli.boot_hook,
        variables: cli.variables,
        time: cli.time,
    };
    let built = build(&plan)?;
    let mut out = stdout().lock();
    writeln!(
        out,
        "{}: {} MiB",
        cli.output.display(),
        built.layout.disk / MIB
    )?;
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
    if let Some(artifact) = cli.artifact {
        writeln!(out, "artifact: {}", artifact.display())?;
    }
    Ok(())
}

fn compressor(name: &str) -> Result<Compressor> {
    let found = Compressor::ALL.into_iter().find(|one| one.name() == name);
    found.with_context(|| {
        let names = Compressor::ALL.map(Compressor::name);
        format!("it must be one of {}", names.join(", "))
    })
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
