//! The work tree of an update module: what it can look up, and where it may keep things.
//!
//! ```text
//! <data dir>/modules/v3/payloads/0000/tree/
//!   version                   3
//!   current_artifact_name     what is installed now, a line each (empty: unknown, none)
//!   current_artifact_group
//!   current_device_type
//!   header/artifact_name      what is to be installed, without line ends
//!   header/artifact_group
//!   header/payload_type
//!   header/header-info        JSON, as in the artifact
//!   header/type-info
//!   header/meta-data
//!   tmp/                      the module's own, until Cleanup
//!   stream-next, streams/     only while the payload streams
//!   files/                    the payload, if the module did not take the stream
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tandem_artifact::{ARTIFACT_GROUP, ARTIFACT_NAME, Header, Provides};

use crate::durable;

/// Where the work tree of the device whose data directory this is lies.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("modules/v3/payloads/0000/tree")
}

/// Makes a new work tree in place of what is there, durably.
///
/// # Errors
/// Any failure of the file system.
pub(crate) fn create(
    data_dir: &Path,
    header: &Header,
    installed: &Provides,
    device_type: &str,
) -> Result<()> {
    let tree = path(data_dir);
    remove(&tree)?;
    write_all(&tree, header, installed, device_type)
        .and_then(|()| sync_up_to(&tree, data_dir))
        .with_context(|| format!("cannot create the work tree {}", tree.display()))
}

/// Removes a work tree; that there is none is fine.
///
/// # Errors
/// Any other failure of the file system.
pub(super) fn remove(tree: &Path) -> Result<()> {
    match fs::remove_dir_all(tree) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(err).with_context(|| format!("cannot remove the work tree {}", tree.display()))
        }
        _ => Ok(()),
    }
}

fn write_all(
    tree: &Path,
    header: &Header,
    installed: &Provides,
    device_type: &str,
) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(tree.join("header"))?;
    DirBuilder::new().mode(0o700).create(tree.join("tmp"))?;
    let current = |key: &str| {
        installed
            .get(key)
            .map(|value| format!("{value}\n"))
            .unwrap_or_default()
    };
    let (name, group) = (current(ARTIFACT_NAME), current(ARTIFACT_GROUP));
    let payload_type = header
        .payload_type()
        .map_or("", |payload_type| payload_type.as_str());
    let device_type = format!("{device_type}\n");
    let files: [(&str, &[u8]); 10] = [
        ("version", b"3\n"),
        ("current_artifact_name", name.as_bytes()),
        ("current_artifact_group", group.as_bytes()),
        ("current_device_type", device_type.as_bytes()),
        ("header/artifact_name", header.name().as_bytes()),
        (
            "header/artifact_group",
            header.group().unwrap_or_default().as_bytes(),
        ),
        ("header/payload_type", payload_type.as_bytes()),
        ("header/header-info", header.header_info()),
        ("header/type-info", header.type_info()),
        ("header/meta-data", header.meta_data().unwrap_or_default()),
    ];
    for (name, content) in files {
        write(&tree.join(name), &mut &*content)?;
    }
    durable::sync_dir(&tree.join("header"))?;
    durable::sync_dir(&tree.join("tmp"))
}

/// Writes a new file, durably but for its name.
///
/// # Errors
/// Any failure of the file system or of `content`.
pub(super) fn write(path: &Path, content: &mut impl Read) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    io::copy(content, &mut file)?;
    file.flush()?;
    file.sync_all()
}

/// Makes the names of `path` and of the directories above it durable, up to `top`.
fn sync_up_to(path: &Path, top: &Path) -> io::Result<()> {
    for dir in path.ancestors() {
        durable::sync_dir(dir)?;
        if dir == top {
            break;
        }
    }
    Ok(())
}
