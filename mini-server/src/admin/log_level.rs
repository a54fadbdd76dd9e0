//! `tandem-server log-level`

use anyhow::{Result, bail};
use http::Method;
use log::LevelFilter;
use serde_json::json;
use tandem_api::management::LogLevel;

use super::client::Client;
use super::output::Output;

const PATH: &str = "/api/management/v1/server/log_level";

/// Says how much the running server logs, or has it log this much.
///
/// # Errors
/// If it cannot be done.
pub async fn run(level: Option<LevelFilter>, client: &mut Client, output: Output) -> Result<()> {
    if client.is_own() {
        bail!("no server runs on this data directory; it begins with --log-level");
    }
    let Some(level) = level else {
        let now: LogLevel = client.get(PATH).await?;
        return output.done(&json!(now), &now.level);
    };
    let new = LogLevel {
        level: level.as_str().to_ascii_lowercase(),
    };
    client.send_json(Method::PUT, PATH, &new).await?;
    output.done(&json!(new), &format!("the server logs {} now", new.level))
}
