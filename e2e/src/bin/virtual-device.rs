//! Makes and boots virtual devices; see the library for what they are.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tandem_e2e::{Device, Powered, Setup, boot, make_image};

/// A device in a directory: two root parts, a boot environment, a boot loader
#[derive(Parser)]
#[command(name = "virtual-device", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make a device and start it for the first time
    Create {
        /// The directory to make it in
        dir: PathBuf,
        /// The files of its first root file system
        #[arg(long)]
        tree: PathBuf,
        /// Its device type
        #[arg(long, default_value = "virtual")]
        device_type: String,
        /// The size of each root part in MiB
        #[arg(long, default_value_t = 32)]
        part_size: u64,
        /// A line for its tandem.toml; may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE")]
        settings: Vec<String>,
        /// The artifact that says what its first root file system is
        #[arg(long)]
        bootstrap: Option<PathBuf>,
    },
    /// Power it up: boot loader, kernel, root file system
    Boot {
        /// Its directory
        dir: PathBuf,
    },
    /// Switch it on: its daemon runs, and when it reboots it starts again. TERM switches it off.
    Run {
        /// Its directory
        dir: PathBuf,
    },
    /// Make an ext4 image of a directory
    Image {
        /// The image to make
        image: PathBuf,
        /// The files
        #[arg(long)]
        tree: PathBuf,
        /// Its size in MiB
        #[arg(long, default_value_t = 24)]
        size: u64,
    },
}

const EXAMPLES: &str = "\
Examples:
  virtual-device create /tmp/device --tree rootfs --set 'allow_unsigned = true'
  tandem --config /tmp/device/etc/tandem.toml install release-2.mender
  virtual-device boot /tmp/device";

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let _ = writeln!(std::io::stderr(), "virtual-device: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    match cli.verb {
        Verb::Create {
            dir,
            tree,
            device_type,
            part_size,
            settings,
            bootstrap,
        } => {
            let setup = Setup {
                tree,
                part_size: part_size << 20,
                device_type,
                configuration: settings.join("\n"),
                bootstrap,
            };
            Device::create(&dir, &setup)?;
        }
        Verb::Boot { dir } => {
            let booted = boot(&Device::open(&dir)?)?;
            let mut out = stdout().lock();
            for line in booted.console {
                writeln!(out, "{line}")?;
            }
            writeln!(out, "running root part {}", booted.part)?;
        }
        Verb::Run { dir } => {
            let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
            signals.thread_block()?;
            let off = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK)?;
            let mut device = Powered::on(Device::open(&dir)?, &[])?;
            while off.read_signal()?.is_none() {
                device.live()?;
            }
            device.go_down()?;
        }
        Verb::Image { image, tree, size } => make_image(&image, &tree, size << 20)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_manual_page_is_what_help_says() {
        tandem_manual::hold(super::Cli::command(), env!("CARGO_MANIFEST_DIR"));
    }
}
