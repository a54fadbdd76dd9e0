//! Manual pages made of the definitions of command lines.
//!
//! Each program's page is checked in, so that packages and layers need no generator, and a test of the
//! program holds it to the definition: [`hold`]. What help does not say, such as files and signals,
//! stands in a file beside the page, `NAME.1.more`, and becomes the end of it.

mod page;
mod roff;

use std::fs;
use std::path::Path;

use clap::Command;

/// Compares the page `man/NAME.1` of the crate in `directory` with what `command` is now; with
/// `UPDATE_MANUAL` in the environment, writes it instead.
///
/// # Panics
/// If it is another one, or cannot be read or written.
#[expect(
    clippy::panic,
    clippy::disallowed_methods,
    reason = "it is a test's assertion, and what it writes is source code"
)]
#[track_caller]
pub fn hold(command: Command, directory: &str) {
    let name = command.get_name().to_owned();
    let path = Path::new(directory).join(format!("man/{name}.1"));
    let more = fs::read_to_string(path.with_extension("1.more")).unwrap_or_default();
    let page = page::page(command, &more);
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        if let Err(err) = fs::write(&path, page) {
            panic!("cannot write {}: {err}", path.display());
        }
    } else if fs::read_to_string(&path).ok().as_deref() != Some(page.as_str()) {
        panic!(
            "{} is not what --help says: UPDATE_MANUAL=1 cargo test the_manual_page",
            path.display()
        );
    }
}
