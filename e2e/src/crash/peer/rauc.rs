//! RAUC, with the boot script that its sources come with (`contrib/uboot.sh`): `install`, a reboot,
//! `status mark-good`. Its service is started by the bus when it is called for the first time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;
use tandem_e2e::peers::{Keys, rauc_bundle, rauc_manifest};
use tandem_uboot_env::Env;

use super::{Materials, Words, words};
use crate::scene::keep;
use crate::tool::run;

pub(super) const FACTORY: [(&str, &str); 3] = [
    ("BOOT_ORDER", "A B"),
    ("BOOT_A_LEFT", "3"),
    ("BOOT_B_LEFT", "3"),
];

pub(super) const STATUS: &str = "rauc status --detailed --output-format=json";

const SLOTS: [char; 2] = ['A', 'B'];

pub(super) fn configure(root: &Path, keys: &Keys) -> Result<()> {
    fs::create_dir_all(root.join("etc/rauc"))?;
    fs::copy(&keys.certificate, root.join("etc/rauc/keyring.pem"))?;
    keep(
        &root.join("etc/rauc/system.conf"),
        b"[system]\ncompatible=bench\nbootloader=uboot\n\
          statusfile=/data/central.raucs\nmountprefix=/run/rauc\n\
          [keyring]\npath=/etc/rauc/keyring.pem\n\
          [slot.rootfs.0]\ndevice=/disk/root2\ntype=raw\nbootname=A\n\
          [slot.rootfs.1]\ndevice=/disk/root3\ntype=raw\nbootname=B\n",
    )?;
    keep(
        &root.join("etc/rauc/bus.conf"),
        b"<busconfig>\n<type>session</type>\n<listen>unix:dir=/run</listen>\n\
          <servicedir>/run/services</servicedir>\n\
          <policy context=\"default\">\
          <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
          <allow own=\"*\"/></policy>\n</busconfig>\n",
    )
}

pub(super) fn bundle(materials: &Materials) -> Result<PathBuf> {
    let content = materials.dir.join("bundle");
    fs::create_dir(&content)?;
    fs::copy(materials.image, content.join("rootfs.img"))?;
    let manifest = rauc_manifest(materials.release);
    keep(&content.join("manifest.raucm"), manifest.as_bytes())?;
    let name = format!("{}.raucb", materials.release);
    let out = materials.dir.join(&name);
    run(&mut rauc_bundle(&content, &out, materials.keys, "-quiet"))?;
    fs::remove_dir_all(&content)?;
    Ok(name.into())
}

/// A command line for the shell, with the argument `$1`, beside a bus with the service.
pub(super) fn on_bus(running: u32, line: &str, argument: &str) -> Words {
    let slot = if running == 2 { 'A' } else { 'B' };
    let script = format!(
        "mkdir /run/services\n\
         printf '%s\\n' '[D-BUS Service]' Name=de.pengutronix.rauc \
         'Exec=/usr/bin/rauc service --override-boot-slot={slot}' \
         > /run/services/de.pengutronix.rauc.service\n\
         exec dbus-run-session --config-file /etc/rauc/bus.conf -- sh -c \
         'export DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS; {line}' sh \"$1\""
    );
    words(&["sh", "-c", &script, "sh", argument])
}

/// The version of the bundle that the status says the running slot was made from.
pub(super) fn version(status: &str, running: u32) -> Option<String> {
    let status: Value = serde_json::from_str(status.lines().find(|l| l.starts_with('{'))?).ok()?;
    let name = if running == 2 { "rootfs.0" } else { "rootfs.1" };
    let slots = status.get("slots")?.as_array()?;
    let slot = slots.iter().find_map(|slot| slot.get(name))?;
    let version = slot.get("slot_status")?.get("bundle")?.get("version")?;
    version.as_str().map(str::to_owned)
}

/// The script: the first slot of the order that may still be tried; if there is none, all may again.
pub(super) fn boot(env: &mut Env, save: impl Fn(&Env) -> Result<()>) -> Result<Option<u32>> {
    let left = |env: &Env, slot: char| {
        let value = env.get(format!("BOOT_{slot}_LEFT").as_str());
        let text = value.map_or_else(|| "3".into(), String::from_utf8_lossy);
        u32::from_str_radix(&text, 16).unwrap_or(0)
    };
    let order = env.get("BOOT_ORDER").map(String::from_utf8_lossy);
    let order = order.map_or_else(|| "A B".to_owned(), |order| order.into_owned());
    for (slot, part) in order.split(' ').filter_map(|name| match name {
        "A" => Some(('A', 2)),
        "B" => Some(('B', 3)),
        _ => None,
    }) {
        let tries = left(env, slot);
        if tries > 0 {
            env.set(
                format!("BOOT_{slot}_LEFT").as_str(),
                format!("{:x}", tries.saturating_sub(1)),
            )?;
            save(env)?;
            return Ok(Some(part));
        }
    }
    for slot in SLOTS {
        env.set(format!("BOOT_{slot}_LEFT").as_str(), "3")?;
    }
    save(env)?;
    Ok(None)
}
