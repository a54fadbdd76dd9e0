//! Who this device is: what its identity script says.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use log::{debug, warn};
use tandem_state_scripts::child::{Child, Limits, Output, Stream};

use crate::key_values::{self, KeyValues, Values};
use crate::stop::Stop;
use crate::watchdog;

/// How long an identity or inventory script may take.
pub(crate) const SCRIPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The most that such a script may print, in bytes.
const MAX_OUTPUT: usize = 64 << 10;

/// The identity as the JSON object that the server knows the device by.
///
/// # Errors
/// When the script fails or prints what is not `key=value` lines.
pub(crate) fn read(script: &Path, stop: &Stop) -> Result<String> {
    let attempt = || {
        format!(
            "cannot tell this device's identity with {}",
            script.display()
        )
    };
    let mut identity = KeyValues::new();
    let text = run(script, stop).with_context(attempt)?;
    key_values::add(&mut identity, &text).with_context(attempt)?;
    for key in ["mac", "sn", "sku"] {
        if let Some(Values::Many(_)) = identity.get(key) {
            warn!("the identity has several values for {key:?}, which mender-cli cannot show");
        }
    }
    Ok(serde_json::to_string(&identity)?)
}

/// What an identity or inventory script prints.
///
/// # Errors
/// When it cannot be run, fails, or prints too much.
pub(crate) fn run(script: &Path, stop: &Stop) -> Result<String> {
    let mut log = |_: Stream, line: &str| debug!("{}: {line}", script.display());
    let mut command = Command::new(script);
    let limits = Limits::new(SCRIPT_TIMEOUT);
    let output = Output::Capture(MAX_OUTPUT);
    watchdog::allow(limits.longest());
    let mut child = Child::spawn(&mut command, limits, output, Some(stop.fd()), &mut log)?;
    let ending = child.wait();
    ensure!(ending.is_success(), "it fails: {ending}");
    let captured = child.captured().context("its output was not captured")?;
    ensure!(!captured.is_cut, "it prints more than {MAX_OUTPUT} bytes");
    Ok(String::from_utf8_lossy(&captured.bytes).into_owned())
}
