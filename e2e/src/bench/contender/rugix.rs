//! Rugix: a bundle whose blocks may each be compressed, with xz. It is not signed: what was built does not ask for that.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::active_root::PASSIVE;
use crate::compression::Compression;
use crate::lab::Lab;
use crate::sample::Image;
use crate::workplace::write;

pub(super) const INSTALL: &[&str] = &[
    "/opt/program/rugix-ctrl",
    "update",
    "install",
    "--reboot",
    "no",
];

/// The image in its format. What makes it stands beside the program, in `directory`.
pub(super) fn bundle(
    lab: &Lab,
    image: &Image,
    compression: Compression,
    directory: &Path,
) -> Result<PathBuf> {
    let name = format!("rootfs-{}.{compression}.rugixb", image.mib);
    lab.workplace.once(&name, |path| {
        let content = lab.workplace.path("rugix");
        if content.exists() {
            fs::remove_dir_all(&content)?;
        }
        fs::create_dir_all(content.join("payloads"))?;
        fs::hard_link(&image.path, content.join("payloads/rootfs.img"))?;
        let encoding = match compression {
            Compression::Xz => {
                "[payloads.block-encoding]\nchunker = \"casync-64\"\ndeduplicate = true\n\
                 compression = { type = \"xz\", level = 1 }\n"
            }
            Compression::None | Compression::Gzip | Compression::Zstd => "",
        };
        write(
            &content.join("rugix-bundle.toml"),
            format!(
                "update-type = \"full\"\nhash-algorithm = \"sha256\"\n[[payloads]]\n\
                 filename = \"rootfs.img\"\n[payloads.delivery]\ntype = \"slot\"\n\
                 slot = \"system\"\n{encoding}"
            ),
        )?;
        let mut bundler = Command::new(directory.join("rugix-bundler"));
        bundler.arg("bundle").arg(&content).arg(path);
        lab.interrupt.run(&mut bundler)?;
        Ok(fs::remove_dir_all(&content)?)
    })
}

/// With a boot loader that always says that the active root part is the right one.
pub(super) fn reset(lab: &Lab) -> Result<()> {
    const FLOW: &str = "etc/rugix/boot-flow";
    let configuration = format!(
        "[boot-flow]\ntype = \"custom\"\ncontroller = \"/{FLOW}\"\n\
         [slots.system-a]\ntype = \"block\"\ndevice = \"{}\"\n\
         [slots.system-b]\ntype = \"block\"\ndevice = \"{PASSIVE}\"\n\
         [boot-groups.a]\nslots = {{ system = \"system-a\" }}\n\
         [boot-groups.b]\nslots = {{ system = \"system-b\" }}\n",
        lab.root.device().path().display()
    );
    lab.root.write("etc/rugix/system.toml", &configuration)?;
    lab.root.write(
        FLOW,
        "#!/bin/sh\n[ \"$1\" = get_default ] && echo '{\"group\": \"a\"}' || echo '{}'\n",
    )?;
    fs::set_permissions(lab.root.place().join(FLOW), Permissions::from_mode(0o755))?;
    lab.root.forget("var/rugix")
}
