//! Where an artifact comes from: a file, the standard input, or an address.

use std::fs::File;
use std::io::{self, Read};

use anyhow::{Context, Result, bail};
use ureq::Agent;

use crate::config::Config;
use crate::download::{Download, Renew};
use crate::stop::Stop;

/// Opens `name`: an `https://` address, `-` for the standard input, or a file. `renew` gets a new
/// address when that one has expired.
///
/// # Errors
/// When it cannot be opened, or is an address without TLS.
pub(crate) fn open<'a>(
    name: &str,
    agent: impl FnOnce() -> Result<Agent>,
    renew: Option<Renew<'a>>,
    config: &Config,
    stop: &'a Stop,
) -> Result<Box<dyn Read + 'a>> {
    if name.starts_with("https://") {
        return Ok(Box::new(Download::open(
            name,
            agent()?,
            renew,
            config,
            stop,
        )?));
    }
    if name.starts_with("http://") {
        bail!("refusing {name}: without TLS anyone on the way can change it; use https://");
    }
    if name == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(name).with_context(|| format!("cannot open the artifact {name}"))?;
    Ok(Box::new(file))
}
