//! The machine on which figures were taken; without it they mean little.

use std::fs;
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

/// What matters about it, one line each.
pub(crate) fn description() -> Result<Vec<String>> {
    let value = |file: &str, name: &str, separator: char| -> Result<String> {
        let text = read(file)?;
        let value = text.lines().find_map(|line| {
            let (found, value) = line.split_once(separator)?;
            (found.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
        });
        Ok(value.unwrap_or_else(|| "unknown".to_owned()))
    };
    let cores = thread::available_parallelism()?;
    Ok(vec![
        format!(
            "Processor: {}, {cores} cores",
            value("/proc/cpuinfo", "model name", ':')?
        ),
        format!("Memory: {}", value("/proc/meminfo", "MemTotal", ':')?),
        format!(
            "System: {}, Linux {}",
            value("/etc/os-release", "PRETTY_NAME", '=')?,
            read("/proc/sys/kernel/osrelease")?.trim()
        ),
    ])
}

/// How busy it is: the load averages over 1, 5 and 15 minutes.
pub(crate) fn load() -> Result<String> {
    let load = read("/proc/loadavg")?;
    let averages: Vec<_> = load.split(' ').take(3).collect();
    Ok(averages.join(" "))
}

/// MiB of block devices that are in the machine's cache.
pub(crate) fn cached() -> Result<f64> {
    let info = read("/proc/meminfo")?;
    let kib = info
        .lines()
        .find_map(|line| line.strip_prefix("Buffers:"))
        .and_then(|value| value.split_whitespace().next())
        .context("the kernel does not say what is in its cache")?;
    Ok(kib.parse::<f64>()? / 1024.0)
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(Path::new(file)).with_context(|| format!("cannot read {file}"))
}
