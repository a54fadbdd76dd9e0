//! `bench table`: what of a program takes its room, dependency by dependency, from its symbols.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::interrupt::Interrupt;
use crate::table::Table;

/// Lines of the table that are smaller than this are added up, bytes.
const SMALL: u64 = 8 << 10;

/// The table of `program`, which must have symbols, in Markdown.
pub(crate) fn table(program: &Path, interrupt: &Interrupt) -> Result<String> {
    let mut nm = Command::new("nm");
    nm.args(["--print-size", "--radix=d", "--demangle=rust"]);
    let said = interrupt.run(nm.arg(program))?;
    let by_origin = by_origin(&String::from_utf8_lossy(&said));
    ensure!(
        !by_origin.is_empty(),
        "{} has no symbols: it must not be stripped",
        program.display()
    );
    let mut size = Command::new("size");
    let said = interrupt.run(size.args(["--format=sysv", "--radix=10"]).arg(program))?;
    let loaded = loaded(&String::from_utf8_lossy(&said)).context("size(1) has changed")?;

    let named: u64 = by_origin.values().map(Part::bytes).sum();
    let mut parts: Vec<_> = by_origin.into_iter().collect();
    parts.sort_by_key(|(_, part)| std::cmp::Reverse(part.bytes()));
    let mut table = Table::new(&["from", "code, KiB", "data, KiB", "all, KiB"]);
    let mut rest = Part::default();
    let mut others: u32 = 0;
    for (origin, part) in &parts {
        if part.bytes() >= SMALL {
            table.row(&part.cells(origin));
        } else {
            rest.code = rest.code.saturating_add(part.code);
            rest.data = rest.data.saturating_add(part.data);
            others = others.saturating_add(1);
        }
    }
    table.row(&rest.cells(&format!("{others} others")));
    let unnamed = Part {
        code: 0,
        data: loaded.saturating_sub(named),
    };
    table.row(&unnamed.cells("without a name: words, tables, relocations"));
    Ok(format!(
        "{table}\n{} KiB in all, without the headers of the file.\n",
        loaded >> 10
    ))
}

/// What comes from one place, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Part {
    code: u64,
    data: u64,
}

impl Part {
    fn bytes(&self) -> u64 {
        self.code.saturating_add(self.data)
    }

    fn cells(&self, origin: &str) -> [String; 4] {
        let kib = |bytes: u64| format!("{:.0}", bytes as f64 / 1024.0);
        [
            origin.to_owned(),
            kib(self.code),
            kib(self.data),
            kib(self.bytes()),
        ]
    }
}

/// Adds up what nm(1) says: address, size, kind, name. What has been folded stands at one address
/// under several names and counts once.
fn by_origin(said: &str) -> BTreeMap<String, Part> {
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for line in said.lines() {
        let mut words = line.splitn(4, ' ');
        let mut next = || words.next();
        let (Some(address), Some(size), Some(kind), Some(name)) = (next(), next(), next(), next())
        else {
            continue;
        };
        let (Ok(address), Ok(size)) = (address.parse::<u64>(), size.parse::<u64>()) else {
            continue;
        };
        // What is zeros at first is not in the file.
        if matches!(kind, "b" | "B") || !seen.insert(address) {
            continue;
        }
        let part = parts.entry(origin(name)).or_default();
        match kind {
            "t" | "T" | "w" | "W" => part.code = part.code.saturating_add(size),
            _ => part.data = part.data.saturating_add(size),
        }
    }
    parts
}

/// Where a symbol comes from: the crate, or the library in C.
fn origin(name: &str) -> String {
    const IN_C: [(&str, &str); 17] = [
        ("ring_core_", "ring"),
        ("ecp_nistz256", "ring"),
        ("_aesni", "ring"),
        ("ge_", "ring"),
        ("mul", "ring"),
        ("_ZN9libunwind", "libunwind"),
        ("ZSTD_", "zstd, in C"),
        ("ZSTDv", "zstd, in C"),
        ("HUF_", "zstd, in C"),
        ("HUFv", "zstd, in C"),
        ("FSE_", "zstd, in C"),
        ("FSEv", "zstd, in C"),
        ("XXH", "zstd, in C"),
        ("HIST_", "zstd, in C"),
        ("lzma_", "liblzma, in C"),
        ("lz_", "liblzma, in C"),
        ("crc", "liblzma, in C"),
    ];
    let name = name.trim();
    if !name.contains("::") {
        let from = IN_C.iter().find(|(prefix, _)| name.starts_with(prefix));
        return from
            .map_or("the C library and start", |(_, from)| from)
            .to_owned();
    }
    // What drops a thing belongs to the thing.
    let name = name
        .strip_prefix("core::ptr::drop_in_place<")
        .unwrap_or(name);
    let path = name.trim_start_matches(['<', '&', '[', '(', '*']);
    let path = ["mut ", "dyn ", "const "]
        .iter()
        .fold(path, |path, word| path.strip_prefix(word).unwrap_or(path));
    let path = path.trim_start_matches('<');
    let end = path.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let first = path.get(..end.unwrap_or(path.len())).unwrap_or_default();
    match first {
        "" | "dyn" | "T" | "str" | "u8" | "bool" | "alloc" | "core" | "std" | "hashbrown"
        | "compiler_builtins" => "Rust's standard library".to_owned(),
        "zstd_sys" | "zstd_safe" | "zstd" => "zstd".to_owned(),
        krate => krate.to_owned(),
    }
}

/// The bytes of all sections that are loaded from the file, in what size(1) says.
fn loaded(said: &str) -> Option<u64> {
    let mut all: u64 = 0;
    for line in said.lines().skip(2) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(size), Some(address)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        if address != "0" && !name.contains("bss") {
            all = all.saturating_add(size.parse().ok()?);
        }
    }
    (all > 0).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, from: &str) {
        assert_eq!(origin(name), from);
    }

    #[test]
    fn a_symbol_belongs_to_the_crate_that_it_is_about() {
        check("rustls::conn::Common::read", "rustls");
        check("<rustls::Error as core::fmt::Debug>::fmt", "rustls");
        check(
            "<&mut ring::digest::Context as core::fmt::Write>::write_str",
            "ring",
        );
        check(
            "core::ptr::drop_in_place<clap_builder::Command>",
            "clap_builder",
        );
        check(
            "<alloc::vec::Vec<T> as core::fmt::Debug>::fmt",
            "Rust's standard library",
        );
        check("ZSTD_decompressStream", "zstd, in C");
        check("ring_core_0_17_14__x25519_fe_mul", "ring");
        check("ecp_nistz256_precomputed", "ring");
        check("memcpy", "the C library and start");
    }

    #[test]
    fn folded_code_counts_once_and_zeros_not_at_all() {
        let said = "0000000000000016 0000000000000010 t rustls::a\n\
                    0000000000000016 0000000000000010 t ring::b\n\
                    0000000000000032 0000000000000007 r rustls::C\n\
                    0000000000000048 0000000000000500 b rustls::D\n\
                    0000000000000064 t no size\n";
        let parts = by_origin(said);
        let part = Part { code: 10, data: 7 };
        assert_eq!(parts, BTreeMap::from([("rustls".to_owned(), part)]));
    }

    #[test]
    fn sections_that_are_loaded_are_added_up() {
        let said = "tandem  :\nsection   size   addr\n.text 100 4096\n.bss 50 8192\n.comment 30 0\nTotal 180\n";
        assert_eq!(loaded(said), Some(100));
    }
}
