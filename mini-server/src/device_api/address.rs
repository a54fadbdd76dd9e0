//! Where a device gets its artifact: from this server, from a cache in front of it, or from the store.

use tandem_api::Timestamp;
use tandem_api::device::Source;

use crate::app::App;
use crate::link::{self, Links};
use crate::reply::{Refusal, Result};
use crate::request::BaseUrl;
use crate::sessions::DeviceSession;
use crate::store::StoredArtifact;

/// The address for `device`, which asks at `time`, and until when it is good.
///
/// # Errors
/// If the store has no keys to sign it with.
pub(super) async fn address(
    app: &App,
    device: &DeviceSession,
    base: &BaseUrl,
    artifact: &StoredArtifact,
    time: Timestamp,
) -> Result<Source> {
    let validity = app.settings.link_validity;
    let millis = i64::try_from(validity.as_millis()).unwrap_or(i64::MAX);
    let expire = time.plus_millis(millis);
    let keys = app.keys.links();
    match &app.settings.links {
        Links::Store => {
            let link = app.blobs.link(artifact, validity).await;
            if let Some(uri) = link.map_err(|err| Refusal::internal(&err))? {
                return Ok(source(uri, expire));
            }
        }
        Links::Cache(cache) => {
            // Nothing of the device is in it, so that one copy serves all.
            let expire = link::shared_expiry(time, millis);
            let path = format!(
                "/api/devices/v1/artifacts/{}/{}",
                artifact.id, artifact.sha256
            );
            let uri = format!(
                "{}{}",
                cache.trim_end_matches('/'),
                link::sign(keys, &path, expire)
            );
            return Ok(source(uri, expire));
        }
        Links::Server => {}
    }
    let path = format!(
        "/api/devices/v1/download/{}/{}/{}",
        artifact.id, device.device, device.auth_set
    );
    let uri = format!("{}{}", base.0, link::sign(keys, &path, expire));
    Ok(source(uri, expire))
}

fn source(uri: String, expire: Timestamp) -> Source {
    Source {
        uri,
        expire: Some(expire),
    }
}
