//! What the running system is told about the image that it is in: the configuration of the agent,
//! of the environment's tools, and what to mount.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::chain::{Boot, Chain, GRUB_STORE};
use super::ext4::Addition;
use super::layout::Layout;

/// Where the agent's configuration lies in the root file system.
const DIR: &str = "/etc/tandem";

/// Where the persistent partition is mounted, and the agent's place on it.
pub(crate) const DATA: &str = "/data";
/// Where the EFI system partition is mounted: GRUB's environment is on it.
pub(crate) const ESP: &str = "/boot/efi";
/// The agent's place on the persistent partition.
pub(crate) const DATA_DIR: &str = "tandem";

/// What the device is to know.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The server's address; without one there are updates from the command line only.
    pub server_url: Option<String>,
    /// Certificates to trust instead of the system's.
    pub server_certificate: Option<PathBuf>,
    /// The public key of the one who may sign artifacts.
    pub verify_key: Option<PathBuf>,
    /// More lines for `tandem.toml`.
    pub lines: Vec<String>,
}

impl Settings {
    /// The files of the root file system.
    ///
    /// # Errors
    /// When nobody may sign and that is not said to be wanted.
    pub(crate) fn files(&self, boot: &Boot, layout: &Layout) -> Result<Vec<Addition>> {
        let dir = Path::new(DIR);
        let mut files = Vec::new();
        let mut toml = format!(
            "data_dir = \"{DATA}/{DATA_DIR}\"\nrootfs_part_a = {:?}\nrootfs_part_b = {:?}\n",
            boot.partition(2),
            boot.partition(3)
        );
        if boot.chain == Chain::Grub {
            toml.push_str(&format!(
                "boot_loader = \"grub\"\ngrub_env_dir = \"{ESP}/{GRUB_STORE}\"\n"
            ));
        }
        if let Some(url) = &self.server_url {
            ensure!(
                url.starts_with("https://"),
                "the server's address is {url:?}; it must begin with https://"
            );
            toml.push_str(&format!("server_url = {url:?}\n"));
        }
        for (key, name, source) in [
            ("server_certificate", "server.crt", &self.server_certificate),
            ("artifact_verify_key", "verify.pem", &self.verify_key),
        ] {
            if let Some(source) = source {
                ensure!(
                    source.is_file(),
                    "there is no file {} for {key}",
                    source.display()
                );
                let path = dir.join(name);
                toml.push_str(&format!("{key} = {:?}\n", path.display().to_string()));
                files.push(Addition::copy(path, source, 0o644));
            }
        }
        for line in &self.lines {
            toml.push_str(line);
            toml.push('\n');
        }
        let parsed: toml::Table = toml
            .parse()
            .with_context(|| format!("the configuration of the device makes no sense:\n{toml}"))?;
        let signed = ["artifact_verify_key", "artifact_verify_keys"]
            .iter()
            .any(|key| parsed.contains_key(*key));
        ensure!(
            signed || parsed.get("allow_unsigned").and_then(|v| v.as_bool()) == Some(true),
            "the device would refuse every update: say whose signature it accepts (--verify-key), or accept everything (--set 'allow_unsigned = true')"
        );
        files.push(Addition::text(dir.join("tandem.toml"), toml));
        if let Some(copies) = layout.environment {
            let lines = copies
                .iter()
                .map(|copy| format!("{} {:#x} {:#x}\n", boot.disk, copy.start, copy.size));
            let text: String = lines.collect();
            files.push(Addition::text("/etc/fw_env.config", text));
        }
        Ok(files)
    }
}

/// The file system table, with what the device needs added to what it has.
pub(crate) fn fstab(before: &str, boot: &Boot) -> Addition {
    let mut text = before.to_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let mut need = |place: &str, line: String| {
        let there = before
            .lines()
            .any(|line| line.split_whitespace().nth(1) == Some(place));
        if !there {
            text.push_str(&line);
        }
    };
    need(
        DATA,
        format!("{} {DATA} ext4 defaults,noatime 0 2\n", boot.partition(4)),
    );
    if boot.chain == Chain::Grub {
        need(
            ESP,
            format!("{} {ESP} vfat umask=0077 0 2\n", boot.partition(1)),
        );
    }
    Addition::text("/etc/fstab", text)
}

/// The files of the data partition.
///
/// # Errors
/// When the device type cannot be one.
pub(crate) fn data_files(device_type: &str, bootstrap: &Path) -> Result<Vec<Addition>> {
    ensure!(
        !device_type.is_empty() && !device_type.contains(char::is_whitespace),
        "{device_type:?} cannot be a device type: it must be one word"
    );
    let dir = Path::new("/").join(DATA_DIR);
    Ok(vec![
        Addition::text(
            dir.join("device_type"),
            format!("device_type={device_type}\n"),
        ),
        Addition::copy(dir.join("bootstrap.mender"), bootstrap, 0o644),
    ])
}
