//! A device asks for a token.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use log::{info, warn};
use tandem_api::SIGNATURE;
use tandem_api::device::AuthRequest;

use crate::app::App;
use crate::audit::{Cause, Who, because};
use crate::clock::now;
use crate::device_key::DeviceKey;
use crate::identity::Identity;
use crate::reply::{Refusal, Result};
use crate::request::{Peer, RawBody};
use crate::store::{Grant, Knock};
use crate::token::Bearer;

/// Seconds that a device's token is good.
const TOKEN_LIFETIME: i64 = 7 * 24 * 60 * 60;

/// `POST /api/devices/v1/authentication/auth_requests`
pub async fn post(
    State(app): State<Arc<App>>,
    peer: Peer,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result {
    let (identity, key) = read(&body)?;
    let signature = headers
        .get(SIGNATURE)
        .ok_or_else(|| Refusal::bad_request("missing request signature header"))?;
    let proven = STANDARD
        .decode(signature)
        .is_ok_and(|signature| key.verifies(&body, &signature));
    if !proven {
        return Err(Refusal::unauthorized("signature verification failed"));
    }
    let time = now();
    let knock = match app.store.recognize(&identity, key.pem()).await? {
        Some(knock) => knock,
        None => {
            let limits = app.settings.device_limits();
            let (name, pem) = (identity.as_str().to_owned(), key.pem().to_owned());
            let knock = app.store.knock(identity, pem, limits, time.millis());
            let knock = because(Cause::by(Who::Device, peer), knock).await?;
            report(&knock, &name, peer);
            knock
        }
    };
    match knock {
        Knock::Accepted(Grant {
            device,
            auth_set,
            generation,
        }) => {
            let bearer = Bearer::Device {
                device,
                auth_set,
                generation,
            };
            let seconds = time.seconds();
            let token = app
                .keys
                .issue(bearer, seconds, seconds.saturating_add(TOKEN_LIFETIME));
            Ok(([(header::CONTENT_TYPE, "application/jwt")], token).into_response())
        }
        Knock::Refused { .. } => Err(Refusal::unauthorized("dev auth: unauthorized")),
        Knock::Full => Err(Refusal::too_many(
            "too many devices are waiting to be accepted",
            300,
        )),
    }
}

/// Who asks, and with which key.
fn read(body: &[u8]) -> Result<(Identity, DeviceKey)> {
    let request: AuthRequest = serde_json::from_slice(body)
        .map_err(|err| Refusal::bad_request(format!("failed to decode auth request: {err}")))?;
    let invalid = |reason: String| Refusal::bad_request(format!("invalid auth request: {reason}"));
    if request.id_data.is_empty() {
        return Err(invalid("id_data must be provided".to_owned()));
    }
    if request.pubkey.is_empty() {
        return Err(invalid("pubkey must be provided".to_owned()));
    }
    let key = DeviceKey::parse(&request.pubkey).map_err(invalid)?;
    let identity = Identity::parse(&request.id_data).map_err(invalid)?;
    Ok((identity, key))
}

fn report(knock: &Knock, identity: &str, peer: Peer) {
    let address = peer.address();
    match knock {
        Knock::Accepted(grant) => {
            info!(identity:% = identity, device:% = grant.device, peer:% = address; "preauthorized device has come");
        }
        Knock::Refused { new: true } => {
            info!(identity:% = identity, peer:% = address; "device waits to be accepted");
        }
        Knock::Refused { new: false } => {}
        Knock::Full => {
            warn!(identity:% = identity, peer:% = address; "device turned away: too many wait to be accepted");
        }
    }
}
