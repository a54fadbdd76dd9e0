//! Where an artifact comes from: a file, the standard input, or an address.

use std::fs::File;
use std::io::{self, Read};

use anyhow::{Context, Result, bail};

use crate::config::Config;
use crate::download::Download;
use crate::stop::Stop;

/// Opens `name`: an `https://` address, `-` for the standard input, or a file.
///
/// # Errors
/// When it cannot be opened, or is an address without TLS.
pub(crate) fn open<'a>(
    name: &str,
    config: &'a Config,
    stop: &'a Stop,
) -> Result<Box<dyn Read + 'a>> {
    if name.starts_with("https://") {
        return Ok(Box::new(Download::open(name, config, stop)?));
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
