//! Which boot loader the device has, and where that keeps its variables.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::BootEnvironment;

const FW_ENV_CONFIG: &str = "/etc/fw_env.config";
/// Says `ENV_DIR = ...` for the tools of the boot scripts for GRUB.
const GRUBENV_CONFIG: &str = "/etc/mender_grubenv.config";
/// Where these scripts keep the variables otherwise.
const GRUB_DIRS: [&str; 4] = [
    "/boot/efi/grub-mender-grubenv",
    "/boot/grub/grub-mender-grubenv",
    "/boot/efi/EFI/BOOT",
    "/boot/grub",
];

/// What the configuration says, or else what the device shows: GRUB if the variables of its
/// scripts are there and no place for U-Boot's is given.
///
/// # Errors
/// When there is no such boot loader.
pub(super) fn find(
    boot_loader: Option<&str>,
    uboot_env_config: Option<PathBuf>,
    grub_env_dir: Option<PathBuf>,
) -> Result<BootEnvironment> {
    let uboot = |config: Option<PathBuf>| {
        BootEnvironment::Uboot(config.unwrap_or_else(|| PathBuf::from(FW_ENV_CONFIG)))
    };
    Ok(match (boot_loader, &uboot_env_config) {
        (Some("uboot"), _) => uboot(uboot_env_config),
        (Some("grub"), _) => BootEnvironment::Grub(
            grub_env_dir
                .or_else(grub_dir)
                .unwrap_or_else(|| PathBuf::from(GRUB_DIRS[0])),
        ),
        (Some(other), _) => {
            bail!("boot_loader is {other:?}; supported: \"uboot\", \"grub\"")
        }
        (None, Some(_)) => uboot(uboot_env_config),
        (None, None) => match grub_env_dir.or_else(grub_dir) {
            Some(dir) => BootEnvironment::Grub(dir),
            None => uboot(None),
        },
    })
}

/// Where the variables of the boot scripts for GRUB are, if they are anywhere.
fn grub_dir() -> Option<PathBuf> {
    if let Some(dir) = fs::read_to_string(GRUBENV_CONFIG)
        .ok()
        .as_deref()
        .and_then(env_dir)
    {
        return Some(dir);
    }
    GRUB_DIRS
        .map(Path::new)
        .into_iter()
        .find(|dir| dir.join("mender_grubenv1").is_dir())
        .map(Path::to_owned)
}

/// The last `ENV_DIR = ...` in the configuration of the tools.
fn env_dir(config: &str) -> Option<PathBuf> {
    config
        .lines()
        .filter_map(|line| {
            line.strip_prefix("ENV_DIR")?
                .trim_start_matches(' ')
                .strip_prefix('=')
        })
        .map(|dir| PathBuf::from(dir.trim()))
        .next_back()
        .filter(|dir| !dir.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_counts() {
        let path = |path: &str| Some(PathBuf::from(path));
        let uboot = BootEnvironment::Uboot("/u".into());
        let grub = BootEnvironment::Grub("/g".into());
        assert_eq!(find(Some("uboot"), path("/u"), path("/g")).unwrap(), uboot);
        assert_eq!(find(Some("grub"), path("/u"), path("/g")).unwrap(), grub);
        assert_eq!(find(None, path("/u"), path("/g")).unwrap(), uboot);
        assert_eq!(find(None, None, path("/g")).unwrap(), grub);
        let err = find(Some("lilo"), None, None).unwrap_err().to_string();
        assert_eq!(
            err,
            "boot_loader is \"lilo\"; supported: \"uboot\", \"grub\""
        );
    }

    #[test]
    fn the_tools_configuration_is_understood() {
        assert_eq!(
            env_dir("# x\nENV_DIR = /a\nENV_DIR=/b\n"),
            Some("/b".into())
        );
        assert_eq!(env_dir("ENV_DIRS=/a\n"), None);
        assert_eq!(env_dir("ENV_DIR=\n"), None);
    }
}
