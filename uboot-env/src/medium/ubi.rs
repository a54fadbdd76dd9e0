//! A UBI volume.
//!
//! | path | volume |
//! |---|---|
//! | `/dev/ubi0_1` | by number: a device node like any other |
//! | `/dev/ubi0:name` | by name |
//! | `/dev/mtd3:name` | by name on the UBI device made of that flash, which is attached if need be |
//!
//! A write replaces the volume: `UBI_IOCVOLUP` marks it as being updated, the last byte takes the mark
//! away. A volume with the mark cannot be read, so that a cut update is a damaged copy.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Devices, Geometry, Kind, Medium, ioctl, length_by_seeking};

pub(crate) struct Volume {
    file: File,
    geometry: Geometry,
}

impl Volume {
    pub(crate) fn new(mut file: File, identity: (u64, u64)) -> io::Result<Self> {
        let length = length_by_seeking(&mut file)?;
        Ok(Self {
            file,
            geometry: Geometry {
                kind: Kind::Volume,
                length,
                identity,
            },
        })
    }
}

impl Medium for Volume {
    fn geometry(&self) -> Geometry {
        self.geometry.clone()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// The bytes of an update come one after the other; the offset is where they are anyway.
    fn write_at(&mut self, _offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn erase(&mut self, range: Range<u64>) -> io::Result<()> {
        ioctl::ubi_update(&self.file, range.end)
    }
}

/// The device node of a volume given by name; `None` for a path that names none.
pub(crate) fn resolve(devices: &Devices, path: &Path) -> io::Result<Option<PathBuf>> {
    let Some((device, volume)) = split_name(path) else {
        return Ok(None);
    };
    // The part before the colon may be a link.
    let device = device.canonicalize()?;
    let name = device.file_name().unwrap_or_default();
    let ubi = if let Some(number) = number_after(name, "ubi") {
        number
    } else if let Some(mtd) = number_after(name, "mtd") {
        match device_on_mtd(devices, mtd)? {
            Some(number) => number,
            None => attach(devices, mtd)?,
        }
    } else {
        return Ok(None);
    };
    let class = devices.sys.join("class/ubi");
    for entry in fs::read_dir(&class)? {
        let node = entry?.file_name();
        let of_this_device = node
            .to_str()
            .and_then(|node| node.strip_prefix(&format!("ubi{ubi}_")))
            .is_some_and(|number| number.parse::<u32>().is_ok());
        if of_this_device && first_line(&class.join(&node).join("name"))? == volume.as_bytes() {
            return Ok(Some(devices.dev.join(node)));
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "there is no UBI volume of this name",
    ))
}

/// The UBI device that is made of a flash partition.
fn device_on_mtd(devices: &Devices, mtd: u32) -> io::Result<Option<u32>> {
    let class = devices.sys.join("class/ubi");
    let entries = match fs::read_dir(&class) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err),
    };
    for entry in entries {
        let name = entry?.file_name();
        let Some(number) = number_after(&name, "ubi") else {
            continue;
        };
        let mtd_number = first_line(&class.join(&name).join("mtd_num"))?;
        if mtd_number == mtd.to_string().as_bytes() {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn attach(devices: &Devices, mtd: u32) -> io::Result<u32> {
    let control = File::open(devices.dev.join("ubi_ctrl"))?;
    let number = i32::try_from(mtd).map_err(|_| io::ErrorKind::InvalidInput)?;
    match ioctl::ubi_attach(&control, number) {
        // Somebody else was faster.
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
        Ok(()) | Err(_) => {}
    }
    device_on_mtd(devices, mtd)?.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Splits `/dev/ubi0:name`.
fn split_name(path: &Path) -> Option<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_bytes();
    let colon = bytes.iter().rposition(|&byte| byte == b':')?;
    let (device, volume) = (bytes.get(..colon)?, bytes.get(colon.checked_add(1)?..)?);
    Some((
        Path::new(OsStr::from_bytes(device)),
        OsStr::from_bytes(volume),
    ))
}

/// `3` for `mtd3` and `mtd`.
fn number_after(name: &OsStr, prefix: &str) -> Option<u32> {
    name.to_str()?.strip_prefix(prefix)?.parse().ok()
}

fn first_line(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = fs::read(path)?;
    let end = text
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(text.len());
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "these files stand in for sysfs")]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_found_by_name_on_a_ubi_device_and_on_its_flash() {
        let root = tempfile::tempdir().unwrap();
        let devices = Devices {
            dev: root.path().join("dev"),
            sys: root.path().join("sys"),
        };
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for node in ["ubi0", "ubi12", "mtd7", "mtd8", "disk"] {
            write(&format!("dev/{node}"), "");
        }
        write("sys/class/ubi/version", "1\n");
        write("sys/class/ubi/ubi0/mtd_num", "3\n");
        write("sys/class/ubi/ubi12/mtd_num", "7\n");
        write("sys/class/ubi/ubi0_1/name", "env\n");
        write("sys/class/ubi/ubi12_1/name", "redund\n");
        write("sys/class/ubi/ubi12_130/name", "env\n");
        std::os::unix::fs::symlink(root.path().join("dev/ubi12"), root.path().join("dev/link"))
            .unwrap();

        let find = |path: &str| resolve(&devices, &devices.dev.join(path));
        for (path, node) in [
            ("ubi0:env", "ubi0_1"),
            ("ubi12:env", "ubi12_130"),
            ("link:env", "ubi12_130"),
            ("mtd7:redund", "ubi12_1"),
        ] {
            assert_eq!(find(path).unwrap(), Some(devices.dev.join(node)), "{path}");
        }
        assert_eq!(find("ubi0_1").unwrap(), None);
        assert_eq!(find("disk:env").unwrap(), None);
        for path in ["ubi0:redund", "ubi0:", "nothing:env", "mtd8:env"] {
            assert_eq!(
                find(path).unwrap_err().kind(),
                io::ErrorKind::NotFound,
                "{path}"
            );
        }
    }
}
