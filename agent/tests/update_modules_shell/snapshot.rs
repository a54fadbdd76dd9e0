//! What stands in a directory, for comparing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Every path below a directory, with its type, mode, owner and content.
pub(crate) type Snapshot = BTreeMap<String, String>;

pub(crate) fn of(directory: &Path) -> Snapshot {
    let mut snapshot = Snapshot::new();
    add(&mut snapshot, directory, directory);
    snapshot
}

fn add(snapshot: &mut Snapshot, root: &Path, directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if meta.is_file() {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        } else {
            String::new()
        };
        let mode = if meta.is_symlink() { 0 } else { meta.mode() };
        let name = path
            .strip_prefix(root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let (user, group) = (meta.uid(), meta.gid());
        snapshot.insert(name, format!("{mode:o} {user}:{group} {content}"));
        if meta.is_dir() {
            add(snapshot, root, &path);
        }
    }
}
