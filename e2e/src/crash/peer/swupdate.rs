//! SWUpdate is a framework; this is the double copy with fall-back of its documentation. The image
//! goes to the copy that does not run, chosen with `--select`; the description's `bootenv` selects
//! it in one write; `ustate` and the transaction marker are SWUpdate's own; U-Boot counts the boots
//! and falls back, with `ustate` 3; user space, once content, resets `ustate`, in one write, too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tandem_e2e::boot_loader::{count_boot, number, other_part};
use tandem_e2e::peers::{Keys, SwupdatePayload, swupdate_pack, swupdate_sign};
use tandem_uboot_env::Env;

use super::{Materials, Words, words};
use crate::scene::keep;
use crate::tool::run;

pub(super) const FACTORY: [(&str, &str); 5] = [
    ("bootcount", "0"),
    ("bootlimit", "1"),
    ("bootpart", "2"),
    ("upgrade_available", "0"),
    ("ustate", "0"),
];

pub(super) const KEEP: &str =
    "printf 'ustate=0\\nupgrade_available=0\\nbootcount=0\\n' | fw_setenv -s -";

pub(super) fn configure(root: &Path, keys: &Keys) -> Result<()> {
    fs::copy(&keys.certificate, root.join("etc/swupdate.pem"))?;
    Ok(())
}

pub(super) fn image(materials: &Materials) -> Result<PathBuf> {
    let dir = materials.dir;
    let sum = run(Command::new("sha256sum").arg(materials.image))?;
    let sum = String::from_utf8(sum)?;
    let file = materials.image.file_name().context("an image has a name")?;
    let payload = SwupdatePayload {
        file: &file.to_string_lossy(),
        compressed: "",
        sha256: sum.split(' ').next().context("sha256sum prints a sum")?,
    };
    let copy = |part: u32| {
        let variables = [
            ("bootpart", part.to_string()),
            ("upgrade_available", "1".into()),
            ("bootcount", "0".into()),
        ];
        let variables =
            variables.map(|(name, value)| format!("{{ name = \"{name}\"; value = \"{value}\"; }}"));
        format!(
            "copy{part}: {{ {} bootenv: ( {} ); }};\n",
            payload.images(&format!("/disk/root{part}")),
            variables.join(", ")
        )
    };
    let description = format!(
        "software = {{\nversion = \"1\";\nhardware-compatibility: [ \"1.0\" ];\n\
         stable: {{ {}{} }};\n}}\n",
        copy(2),
        copy(3)
    );
    keep(&dir.join("sw-description"), description.as_bytes())?;
    run(&mut swupdate_sign(dir, materials.keys))?;
    let name = format!("{}.swu", materials.release);
    run(&mut swupdate_pack(dir, payload.file, &dir.join(&name)))?;
    Ok(name.into())
}

pub(super) fn install(artifact: &str, running: u32) -> Words {
    let copy = format!("stable,copy{}", other_part(running));
    let mut command = words(&["swupdate", "--loglevel", "3", "--key", "/etc/swupdate.pem"]);
    command.extend(words(&[
        "--bootloader",
        "uboot",
        "--hwrevision",
        "bench:1.0",
    ]));
    command.extend(words(&["--select", &copy, "--image", artifact]));
    command
}

pub(super) fn boot(env: &mut Env, save: impl Fn(&Env) -> Result<()>) -> Result<Option<u32>> {
    if count_boot(env, &save)? {
        let other = other_part(number(env, "bootpart"));
        env.set("bootpart", other.to_string())?;
        env.set("upgrade_available", "0")?;
        env.set("ustate", "3")?;
        save(env)?;
    }
    Ok(Some(number(env, "bootpart")))
}
