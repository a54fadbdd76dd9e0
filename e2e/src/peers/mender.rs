//! Mender's clients.

use std::path::Path;

/// `mender.conf` of a client that installs what it is given, signed with `key` (a path on the
/// device), to one of two root parts.
#[must_use]
pub fn configuration(root_a: &Path, root_b: &Path, key: &str) -> String {
    format!(
        "{{\"RootfsPartA\": \"{}\", \"RootfsPartB\": \"{}\", \
         \"ArtifactVerifyKey\": \"{key}\", \
         \"ServerURL\": \"https://localhost\"}}\n",
        root_a.display(),
        root_b.display()
    )
}
