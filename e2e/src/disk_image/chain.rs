//! The boot loader's part of an image: what it finds on the boot partition, and the state that it
//! shares with the running system.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use tandem_uboot_env::{Env, image};

use super::ext4::{Addition, Content};
use super::layout::{Layout, Part};
use super::tool::Tool;

/// Which boot loader starts the device, and how it comes to its decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// A U-Boot that is set up for two root parts: it needs its environment and nothing more.
    Uboot,
    /// Any U-Boot of this processor that runs `boot.scr` from the boot partition.
    UbootScript(Processor),
    /// GRUB on UEFI, x86-64.
    Grub,
}

/// A processor, as far as a boot script differs by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// 64-bit ARM.
    Arm64,
    /// x86, 32 or 64 bits.
    X86,
}

/// What a boot script needs to know.
#[derive(Clone, Debug)]
pub(crate) struct Boot<'a> {
    /// The boot loader.
    pub(crate) chain: Chain,
    /// The disk as Linux calls it.
    pub(crate) disk: &'a str,
    /// Where a root part has its kernel.
    pub(crate) kernel: &'a str,
    /// Where it has its device tree, if not the boot loader's own is to be used.
    pub(crate) device_tree: Option<&'a str>,
    /// Where it has its initial RAM disk, if there is one.
    pub(crate) initrd: Option<&'a str>,
    /// What the kernel is told beside its root.
    pub(crate) kernel_arguments: &'a str,
    /// Commands of the boot loader to be run first.
    pub(crate) hook: &'a str,
    /// Variables that the environment has at first, beside those that every device has.
    pub(crate) variables: &'a [(String, String)],
    /// What it takes for now, in seconds since 1970.
    pub(crate) time: u64,
}

/// The variables with which a device leaves the factory. U-Boot itself sets the canary when it
/// saves for the first time; until then nothing is installed.
const VARIABLES: [(&str, &str); 6] = [
    ("bootcount", "0"),
    ("bootlimit", "1"),
    ("mender_boot_part", "2"),
    ("mender_boot_part_hex", "2"),
    ("mender_check_saveenv_canary", "1"),
    ("upgrade_available", "0"),
];

/// Where GRUB's state lies on its partition.
pub(crate) const GRUB_STORE: &str = "grub-mender-grubenv";

/// The size of one file of GRUB's state, in bytes.
const GRUB_BLOCK: usize = 1024;

impl Boot<'_> {
    /// The name of a partition of a disk.
    pub(crate) fn partition(&self, number: u32) -> String {
        format!("{}{number}", self.partition_prefix())
    }

    /// The name of a partition without its number: a disk that ends with a digit gets a `p`.
    fn partition_prefix(&self) -> String {
        match self.disk.ends_with(|last: char| last.is_ascii_digit()) {
            true => format!("{}p", self.disk),
            false => self.disk.to_owned(),
        }
    }

    /// One copy of U-Boot's environment; both are the same at first but for their number.
    ///
    /// # Errors
    /// When the variables do not fit.
    pub(crate) fn environment(&self, size: u64, number: u8) -> Result<Vec<u8>> {
        let mut env = Env::new();
        let more = self.variables.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        for (name, value) in VARIABLES.into_iter().chain(more) {
            env.set(name, value)
                .with_context(|| format!("cannot set the boot variable {name:?}"))?;
        }
        Ok(image::build(&env, usize::try_from(size)?, Some(number))?)
    }

    /// What lies on the boot partition.
    ///
    /// # Errors
    /// When a script cannot be made.
    pub(crate) fn files(&self, layout: &Layout, work: &Path) -> Result<Vec<Addition>> {
        match self.chain {
            Chain::Uboot => Ok(Vec::new()),
            Chain::UbootScript(processor) => self.boot_script(processor, layout, work),
            Chain::Grub => self.grub(work),
        }
    }

    fn boot_script(
        &self,
        processor: Processor,
        layout: &Layout,
        work: &Path,
    ) -> Result<Vec<Addition>> {
        let [first, second] = layout
            .environment
            .context("a U-Boot needs room for its environment")?;
        let size = first.size;
        let (interface, number) = uboot_device(self.disk)?;
        let block = |copy: Part| format!("{:x}", copy.start / 512);
        let names: Vec<&str> = self.variables.iter().map(|(name, _)| &**name).collect();
        let mut hex_list: Vec<String> = (0..=255).map(|flag| format!("{flag:x}")).collect();
        hex_list.push("0".to_owned());
        let scan = match interface {
            "mmc" => format!("mmc dev {number}"),
            interface => format!("{interface} scan"),
        };
        let load = |place: &str, path: &str| {
            format!("load {interface} {number}:${{mender_boot_part_hex}} {place} {path}")
        };
        let device_tree = match self.device_tree {
            None => "setenv tree ${fdtcontroladdr}".to_owned(),
            Some(path) => format!(
                "{}; setenv tree ${{fdt_addr_r}}",
                load("${fdt_addr_r}", path)
            ),
        };
        let (template, architecture, start) = match (processor, self.initrd) {
            (Processor::Arm64, initrd) => (
                include_str!("boot/arm64.cmd"),
                "arm64",
                match initrd {
                    None => "booti ${kernel_addr_r} - ${tree}".to_owned(),
                    // Where the copies of the environment were looked at is free by now.
                    Some(path) => format!(
                        "if {}; then booti ${{kernel_addr_r}} ${{ramdisk_addr_r}}:${{filesize}} ${{tree}}; fi",
                        load("${ramdisk_addr_r}", path)
                    ),
                },
            ),
            (Processor::X86, initrd) => (
                include_str!("boot/x86.cmd"),
                "x86",
                match initrd {
                    None => "zboot 1000000 ${filesize}".to_owned(),
                    Some(path) => format!(
                        "setenv size ${{filesize}}; if {}; then zboot 1000000 ${{size}} 4000000 ${{filesize}}; fi",
                        load("4000000", path)
                    ),
                },
            ),
        };
        let script = filled(
            template,
            &[
                ("ARGS", self.kernel_arguments),
                ("BLOCKS", &format!("{:x}", size / 512)),
                ("BLOCK_0", &block(first)),
                ("BLOCK_1", &block(second)),
                ("DATA_SIZE", &format!("{:x}", size.saturating_sub(5))),
                ("DEVICE", &format!("{interface} {number}")),
                ("DEVICE_TREE", &device_tree),
                ("HEX_LIST", &hex_list.join(" ")),
                ("HOOK", self.hook.trim()),
                ("KEEP", &names.join(" ")),
                ("KERNEL", self.kernel),
                ("PARTITION", &self.partition_prefix()),
                ("READ", &format!("{interface} read")),
                ("SCAN", &scan),
                ("SIZE", &format!("{size:x}")),
                ("START", &start),
                ("WRITE", &format!("{interface} write")),
            ],
        )?;
        Ok(vec![Addition {
            path: "boot.scr".into(),
            mode: 0o644,
            content: Content::File(compile(&script, architecture, work, self.time)?),
        }])
    }

    fn grub(&self, work: &Path) -> Result<Vec<Addition>> {
        let start = match self.initrd {
            None => "boot".to_owned(),
            Some(path) => format!("if initrd {path}; then boot; fi"),
        };
        let config = filled(
            include_str!("boot/grub.cfg"),
            &[
                ("ARGS", self.kernel_arguments),
                ("HOOK", self.hook.trim()),
                ("KERNEL", self.kernel),
                ("PARTITION", &self.partition_prefix()),
                ("START", &start),
            ],
        )?;
        let program = work.join("bootx64.efi");
        // The prefix has no device in it: GRUB looks on the partition that it was started from.
        Tool::new(
            "grub-mkimage",
            "grub-common and grub-efi-amd64-bin",
            self.time,
        )
        .args(["-O", "x86_64-efi", "-p", "/EFI/BOOT", "-o"])
        .arg(&program)
        .args([
            "boot",
            "cat",
            "configfile",
            "echo",
            "ext2",
            "fat",
            "halt",
            "linux",
            "loadenv",
            "ls",
            "memrw",
            "minicmd",
            "normal",
            "part_gpt",
            "part_msdos",
            "reboot",
            "regexp",
            "serial",
            "setpci",
            "sleep",
            "terminal",
            "test",
            "true",
        ])
        .run()
        .context("cannot make GRUB's program")?;
        let variables = self.variables.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let known = ["bootcount", "mender_boot_part", "upgrade_available"];
        let known = VARIABLES
            .into_iter()
            .filter(|(name, _)| known.contains(name));
        let state = grub_block(known.chain(variables))?;
        let lock = grub_block([("editing", "0")])?;
        let sum: String = Sha256::digest(&lock)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut files = vec![
            Addition::copy("EFI/BOOT/BOOTX64.EFI", &program, 0o644),
            Addition::text("EFI/BOOT/grub.cfg", config),
        ];
        for copy in 1..=2 {
            let dir = Path::new(GRUB_STORE).join(format!("mender_grubenv{copy}"));
            files.push(Addition::text(dir.join("env"), state.clone()));
            files.push(Addition::text(dir.join("lock"), lock.clone()));
            files.push(Addition::text(
                dir.join("lock.sha256sum"),
                format!("{sum}  lock\n"),
            ));
        }
        Ok(files)
    }
}

/// A template without its comments, and with its words filled in.
fn filled(template: &str, words: &[(&str, &str)]) -> Result<String> {
    let lines = template
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut text = lines.collect::<Vec<_>>().join("\n");
    for (word, value) in words {
        ensure!(
            !value.contains('@'),
            "{value:?} cannot be part of a boot script: it has an @"
        );
        text = text.replace(&format!("@{word}@"), value);
    }
    text.push('\n');
    if let Some(left) = text.split('@').nth(1) {
        bail!("nothing fills in {left:?} in the boot script");
    }
    Ok(text)
}

/// The script in the form that U-Boot runs: the file that holds it.
///
/// # Errors
/// When `mkimage` fails.
pub(crate) fn compile(script: &str, architecture: &str, work: &Path, time: u64) -> Result<PathBuf> {
    let (source, compiled) = (work.join("boot.cmd"), work.join("boot.scr"));
    #[expect(clippy::disallowed_methods, reason = "a temporary file")]
    fs::write(&source, script).context("cannot write a temporary file")?;
    Tool::new("mkimage", "u-boot-tools", time)
        .args(["-q", "-A", architecture, "-T", "script", "-C", "none"])
        .args(["-n", "tandem", "-d"])
        .arg(&source)
        .arg(&compiled)
        .run()
        .context("cannot make the boot script")?;
    Ok(compiled)
}

/// How U-Boot calls the disk that Linux calls `disk`: interface and number.
fn uboot_device(disk: &str) -> Result<(&'static str, u32)> {
    let name = disk.trim_start_matches("/dev/");
    let found = [
        ("nvme", "nvme"),
        ("mmcblk", "mmc"),
        ("vd", "virtio"),
        ("sd", "scsi"),
    ]
    .into_iter()
    .find_map(|(linux, uboot)| Some((uboot, name.strip_prefix(linux)?)));
    let (interface, rest) = found.with_context(|| {
        format!("cannot tell how U-Boot calls {disk}; a boot script can use /dev/nvme*, /dev/mmcblk*, /dev/vd* and /dev/sd*")
    })?;
    let digits = |text: &str| {
        text.split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    let letter = |text: &str| u32::from(*text.as_bytes().first()?).checked_sub(u32::from(b'a'));
    let number = match interface {
        "nvme" | "mmc" => digits(rest),
        _ => letter(rest),
    };
    Ok((
        interface,
        number.with_context(|| format!("{disk} has no number"))?,
    ))
}

/// A GRUB environment block. GRUB can overwrite it but never repair it, and a sector is written
/// wholly or not at all, so everything must lie in the first one.
pub(crate) fn grub_block<'a>(
    variables: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<u8>> {
    let mut block = String::from("# GRUB Environment Block\n");
    for (name, value) in variables {
        ensure!(
            !name.is_empty() && !name.contains(['=', '\n']) && !value.contains(['\\', '\n']),
            "{name:?} cannot be a variable of GRUB with the value {value:?}"
        );
        block.push_str(&format!("{name}={value}\n"));
    }
    ensure!(
        block.len() <= 480,
        "GRUB's variables take {} bytes; 480 is the limit",
        block.len()
    );
    let mut block = block.into_bytes();
    block.resize(GRUB_BLOCK, b'#');
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_two_names() {
        for (linux, uboot) in [
            ("/dev/nvme0n1", Some(("nvme", 0))),
            ("/dev/mmcblk1", Some(("mmc", 1))),
            ("/dev/vda", Some(("virtio", 0))),
            ("/dev/sdb", Some(("scsi", 1))),
            ("/dev/loop0", None),
            ("/dev/mmcblk", None),
        ] {
            assert_eq!(uboot_device(linux).ok(), uboot, "{linux}");
        }
    }

    #[test]
    fn no_word_of_a_script_is_left_open() {
        assert_eq!(
            filled("# why\na @B@ c\n\n", &[("B", "b")]).unwrap(),
            "a b c\n"
        );
        assert!(filled("a @B@ c", &[]).is_err());
        assert!(filled("a @B@ c", &[("B", "x@y")]).is_err());
    }

    #[test]
    fn a_grub_block_is_as_grub_makes_it() {
        let block = grub_block([("editing", "0")]).unwrap();
        assert!(block.starts_with(b"# GRUB Environment Block\nediting=0\n####"));
        assert_eq!(block.len(), 1024);
        assert!(grub_block([("a", &*"x".repeat(500))]).is_err());
        assert!(grub_block([("a=b", "c")]).is_err());
    }
}
