//! The agent in a root file system that was made without it: the program and what belongs to it.

use std::path::Path;

use anyhow::Result;

use super::ext4::{self, Addition, Content};

/// Where the files of the product lie.
const SHARE: &str = "/usr/share/tandem";

/// Programs that belong to the agent, by where they lie below [`SHARE`].
const PROGRAMS: [(&str, &str); 12] = [
    (
        "identity/tandem-device-identity",
        include_str!("../../../agent/support/identity/tandem-device-identity"),
    ),
    (
        "inventory/mender-inventory-bootloader",
        include_str!("../../../agent/support/inventory/mender-inventory-bootloader"),
    ),
    (
        "inventory/mender-inventory-hostinfo",
        include_str!("../../../agent/support/inventory/mender-inventory-hostinfo"),
    ),
    (
        "inventory/mender-inventory-network",
        include_str!("../../../agent/support/inventory/mender-inventory-network"),
    ),
    (
        "inventory/mender-inventory-os",
        include_str!("../../../agent/support/inventory/mender-inventory-os"),
    ),
    (
        "inventory/mender-inventory-provides",
        include_str!("../../../agent/support/inventory/mender-inventory-provides"),
    ),
    (
        "inventory/mender-inventory-rootfs-type",
        include_str!("../../../agent/support/inventory/mender-inventory-rootfs-type"),
    ),
    (
        "modules/v3/deb",
        include_str!("../../../agent/modules/v3/deb"),
    ),
    (
        "modules/v3/directory",
        include_str!("../../../agent/modules/v3/directory"),
    ),
    (
        "modules/v3/docker-compose",
        include_str!("../../../agent/modules/v3/docker-compose"),
    ),
    (
        "modules/v3/script",
        include_str!("../../../agent/modules/v3/script"),
    ),
    (
        "modules/v3/single-file",
        include_str!("../../../agent/modules/v3/single-file"),
    ),
];

/// How systemd calls the daemon.
const UNIT: &str = "/usr/lib/systemd/system/tandem.service";
/// What has systemd start it.
const WANTED: &str = "/etc/systemd/system/multi-user.target.wants/tandem.service";

/// The files of the agent, whose program is the file `program`. The daemon is started where there
/// is systemd and, as it has nothing to do otherwise, a server.
///
/// # Errors
/// When the root file system cannot be looked at.
pub(crate) fn files(
    program: &Path,
    root: &Path,
    has_server: bool,
    time: u64,
) -> Result<Vec<Addition>> {
    let mut files = vec![Addition::copy("/usr/bin/tandem", program, 0o755)];
    for (path, content) in PROGRAMS {
        files.push(Addition {
            path: Path::new(SHARE).join(path),
            mode: 0o755,
            content: Content::Bytes(content.as_bytes().to_vec()),
        });
    }
    if ext4::exists(root, Path::new("/usr/lib/systemd/system"), time)? {
        let unit = include_str!("../../../agent/systemd/tandem.service");
        files.push(Addition::text(UNIT, unit));
        if has_server {
            files.push(Addition {
                path: WANTED.into(),
                mode: 0o777,
                content: Content::Link(UNIT.into()),
            });
        }
    }
    Ok(files)
}
