//! How much of a device's storage each program takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::interrupt::Interrupt;

/// A program and what it needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Weight {
    /// The program itself, bytes.
    pub(crate) program: u64,
    /// The libraries that it needs beside the C library, bytes.
    pub(crate) libraries: u64,
    /// How many there are.
    pub(crate) count: usize,
}

/// What every system has anyway.
const C_LIBRARY: [&str; 7] = [
    "libc.so",
    "libm.so",
    "libdl.so",
    "librt.so",
    "libpthread.so",
    "libresolv.so",
    "ld-linux",
];

impl Weight {
    /// Weighs `program`.
    pub(crate) fn of(program: &Path, interrupt: &Interrupt) -> Result<Weight> {
        let mut ldd = Command::new("ldd");
        // Of a static program it says that, and fails.
        let said = interrupt.output(
            ldd.arg(program)
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::null()),
        )?;
        let libraries = libraries(&String::from_utf8_lossy(&said.stdout));
        let mut weight = Weight {
            program: fs::metadata(program)?.len(),
            libraries: 0,
            count: libraries.len(),
        };
        for library in libraries {
            weight.libraries = weight
                .libraries
                .saturating_add(fs::metadata(library)?.len());
        }
        Ok(weight)
    }
}

/// The libraries in what ldd(1) says.
fn libraries(said: &str) -> Vec<PathBuf> {
    let paths = said.lines().filter_map(|line| {
        let (_, path) = line.split_once(" => ")?;
        path.split_whitespace().next()
    });
    paths
        .filter(|path| path.starts_with('/'))
        .filter(|path| !C_LIBRARY.iter().any(|name| path.contains(name)))
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_is_everyones() {
        let said = "\tlinux-vdso.so.1 (0x0)\n\tlibz.so.1 => /lib/libz.so.1 (0x0)\n\
                    \tlibc.so.6 => /lib/libc.so.6 (0x0)\n\t/lib64/ld-linux-x86-64.so.2 (0x0)\n";
        assert_eq!(libraries(said), [PathBuf::from("/lib/libz.so.1")]);
        assert!(libraries("\tstatically linked\n").is_empty());
    }
}
