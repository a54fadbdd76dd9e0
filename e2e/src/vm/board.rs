//! The kinds of machine that QEMU plays.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::disk_image::{Chain, MIB, Processor};

/// A kind of machine. All of them have one disk, NVMe, because that is what the kernels have built
/// in; one serial port; a network card; and a watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Board {
    /// `virt` with Debian's U-Boot for arm64: the fastest to boot.
    Arm64,
    /// A PC with Debian's U-Boot for x86.
    X86,
    /// A PC with UEFI and GRUB.
    Uefi,
}

/// Where the guest finds the server.
pub(crate) const SERVER_ADDRESS: &str = "10.0.2.100";
/// What it is called.
pub(crate) const SERVER_NAME: &str = "updates.device.test";

/// The slot of the watchdog on the PCI bus.
const WATCHDOG_SLOT: &str = "1d";

const UBOOT_ARM64: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
/// The 32-bit build. It starts 64-bit kernels; the stack of the other one lies where the kernel goes.
const UBOOT_X86: &str = "/usr/lib/u-boot/qemu-x86/u-boot.rom";
const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

impl Board {
    /// All kinds.
    pub const ALL: [Board; 3] = [Board::Arm64, Board::X86, Board::Uefi];

    /// How people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Board::Arm64 => "arm64",
            Board::X86 => "x86",
            Board::Uefi => "uefi",
        }
    }

    /// Its processor, as Debian calls it.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Board::Arm64 => "arm64",
            Board::X86 | Board::Uefi => "amd64",
        }
    }

    /// Its processor and system, as Rust calls them.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Board::Arm64 => "aarch64-unknown-linux-gnu",
            Board::X86 | Board::Uefi => "x86_64-unknown-linux-gnu",
        }
    }

    /// Its boot loader.
    pub(crate) const fn chain(self) -> Chain {
        match self {
            Board::Arm64 => Chain::UbootScript(Processor::Arm64),
            Board::X86 => Chain::UbootScript(Processor::X86),
            Board::Uefi => Chain::Grub,
        }
    }

    /// What the kernel is told.
    pub(crate) const fn kernel_arguments(self) -> &'static str {
        match self {
            Board::Arm64 => "console=ttyAMA0 quiet mitigations=off",
            Board::X86 | Board::Uefi => "console=ttyS0 quiet mitigations=off no_timer_check",
        }
    }

    /// The size of a root part, in bytes: the kernel for arm64 is not compressed.
    pub(crate) const fn root_size(self) -> u64 {
        match self {
            Board::Arm64 => 40 * MIB,
            Board::X86 | Board::Uefi => 24 * MIB,
        }
    }

    /// How long a boot may take. Emulated processors share real ones with whatever else runs.
    pub(crate) const fn boot_limit(self) -> Duration {
        Duration::from_secs(match self {
            Board::Arm64 => 120,
            Board::X86 | Board::Uefi => 180,
        })
    }

    /// Commands of the boot loader that start the watchdog.
    pub(crate) fn watchdog_hook(self) -> String {
        let uboot = include_str!("../../vm/watchdog.cmd");
        // Any place that nothing else uses; Linux moves it as it likes.
        let (script, base) = match self {
            Board::Arm64 => (uboot, "3e00000"),
            Board::X86 => (uboot, "fe80000"),
            Board::Uefi => (include_str!("../../vm/watchdog.grub"), ""),
        };
        script
            .replace("@SLOT@", WATCHDOG_SLOT)
            .replace("@BASE@", base)
    }

    /// The machine's program and its arguments, for a machine whose own files are in `dir`.
    ///
    /// # Errors
    /// When the firmware is not installed.
    pub(crate) fn command(
        self,
        disk: &Path,
        dir: &Path,
        server: Option<u16>,
    ) -> Result<Vec<String>> {
        let mut words: Vec<String> = Vec::new();
        let mut say = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
        let firmware = |path: &'static str, package: &str| -> Result<&'static str> {
            match Path::new(path).exists() {
                true => Ok(path),
                false => bail!("there is no {path}: install the package {package}"),
            }
        };
        match self {
            Board::Arm64 => say(&[
                "qemu-system-aarch64",
                "-machine",
                "virt",
                "-cpu",
                "cortex-a57",
                "-bios",
                firmware(UBOOT_ARM64, "u-boot-qemu")?,
            ]),
            Board::X86 => say(&[
                "qemu-system-x86_64",
                "-cpu",
                "max",
                "-bios",
                firmware(UBOOT_X86, "u-boot-qemu")?,
                "-drive",
                &format!(
                    "if=virtio,format=raw,readonly=on,file={}",
                    dir.join("firmware.img").display()
                ),
            ]),
            Board::Uefi => {
                let variables = dir.join("variables.fd");
                if !variables.exists() {
                    std::fs::copy(firmware(OVMF_VARS, "ovmf")?, &variables)
                        .context("cannot copy the firmware's variables")?;
                }
                say(&[
                    "qemu-system-x86_64",
                    "-machine",
                    "q35",
                    "-cpu",
                    "max",
                    "-vga",
                    "none",
                    "-drive",
                    &format!(
                        "if=pflash,format=raw,readonly=on,file={}",
                        firmware(OVMF_CODE, "ovmf")?
                    ),
                    "-drive",
                    &format!("if=pflash,format=raw,file={}", variables.display()),
                ]);
            }
        }
        // The emulated processor, always: what a nested one can do differs from host to host.
        say(&["-accel", "tcg", "-smp", "1", "-m", "512"]);
        say(&["-nodefaults", "-display", "none", "-serial", "stdio"]);
        say(&[
            "-drive",
            &format!("if=none,id=disk,format=raw,file={}", disk.display()),
            "-device",
            "nvme,drive=disk,serial=tandem,bootindex=0",
        ]);
        // The guest reaches nothing but the server.
        let forward = server.map(|port| {
            format!(",guestfwd=tcp:{SERVER_ADDRESS}:443-cmd:busybox nc 127.0.0.1 {port}")
        });
        say(&[
            "-netdev",
            &format!(
                "user,id=net,restrict=on,ipv6=off{}",
                forward.unwrap_or_default()
            ),
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
            "-device",
            &format!("i6300esb,addr=0x{WATCHDOG_SLOT}"),
            "-action",
            "watchdog=reset",
        ]);
        Ok(words)
    }

    /// Where the repository's files are that belong to virtual machines.
    pub(crate) fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Board {
    type Err = String;

    fn from_str(text: &str) -> Result<Board, String> {
        let found = Board::ALL.into_iter().find(|board| board.name() == text);
        found.ok_or_else(|| {
            let names = Board::ALL.map(Board::name);
            format!("it must be one of {}", names.join(", "))
        })
    }
}
