//! People sign in and out.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use log::{info, warn};
use serde::Deserialize;
use tandem_api::Timestamp;

use crate::access::Operator;
use crate::app::App;
use crate::audit::{Asked, Cause, Who, because};
use crate::clock::now;
use crate::management::audit;
use crate::reply::{Refusal, Result};
use crate::request::{Peer, RawBody};
use crate::secret::new_id;
use crate::token::Bearer;

/// Milliseconds that a session lasts.
pub const SESSION: i64 = 7 * 24 * 60 * 60 * 1000;

#[derive(Default, Deserialize)]
struct Options {
    #[serde(default)]
    no_expiry: bool,
}

/// `POST /api/management/v1/useradm/auth/login`
pub async fn post(
    State(app): State<Arc<App>>,
    peer: Peer,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result {
    let options: Options = if body.iter().all(u8::is_ascii_whitespace) {
        Options::default()
    } else {
        serde_json::from_slice(&body)
            .map_err(|err| Refusal::bad_request(format!("the body is not JSON: {err}")))?
    };
    let (email, password) = basic(&headers).ok_or_else(refused)?;
    let lasts = if options.no_expiry {
        Lasts::ForEver
    } else {
        Lasts::AWeek
    };
    let token = sign_in(&app, peer, &email, password, lasts).await?;
    Ok(([(header::CONTENT_TYPE, "application/jwt")], token).into_response())
}

/// How long a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// [`SESSION`].
    AWeek,
    /// Until somebody signs out.
    ForEver,
}

/// Begins a session; its token.
///
/// # Errors
/// A refusal if the password is not that of the user.
pub async fn sign_in(
    app: &App,
    peer: Peer,
    email: &str,
    password: String,
    lasts: Lasts,
) -> Result<String> {
    let credentials = app.store.credentials(email).await?;
    let user = credentials.as_ref().map(|credentials| credentials.id);
    let hash = credentials.map(|credentials| credentials.password);
    if let Err(refusal) = check_password(app, peer, email, password, hash).await {
        if refusal.status() == StatusCode::UNAUTHORIZED {
            // Not what was given as the name: people type passwords there.
            let cause = Cause::by(Who::Stranger, peer);
            audit::note(app, cause, Asked::sign_in(user), refusal.message()).await;
        }
        return Err(refusal);
    }
    let user = user.ok_or_else(refused)?;

    let (time, token) = (now(), new_id());
    let expires = match lasts {
        Lasts::ForEver => Timestamp::from_millis(i64::MAX),
        Lasts::AWeek => time.plus_millis(SESSION),
    };
    let session = app
        .store
        .begin_session(token, user, time.millis(), expires.millis());
    because(Cause::by(Who::User { user, token }, peer), session).await?;
    info!(email:% = email, peer:% = peer.address(); "signed in");
    let bearer = Bearer::Person { user, token };
    Ok(app.keys.issue(bearer, time.seconds(), expires.seconds()))
}

/// `POST /api/management/v1/useradm/auth/logout`
pub async fn logout(State(app): State<Arc<App>>, operator: Operator) -> Result {
    sign_out(&app, operator).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// Ends the session of whoever asks.
///
/// # Errors
/// Of the database.
pub async fn sign_out(app: &App, operator: Operator) -> Result<()> {
    if let Operator::Person { user, token, .. } = operator {
        app.store.remove_token(user, token).await?;
    }
    Ok(())
}

/// Whether `password` is that of the user who signs in as `email`, where `hash` is what is known of it. Who fails too
/// often has to wait.
///
/// # Errors
/// A refusal if it is not, or nobody looked because of too many failures.
pub async fn check_password(
    app: &App,
    peer: Peer,
    email: &str,
    password: String,
    hash: Option<String>,
) -> Result<()> {
    let guard = || app.logins.lock().unwrap_or_else(PoisonError::into_inner);
    let address = peer.address();
    if let Some(wait) = guard().wait(email, address, Instant::now()) {
        warn!(email:% = email, peer:% = address; "sign-in turned away after too many failures");
        let seconds = wait.as_secs().saturating_add(1);
        return Err(Refusal::too_many("too many failed attempts", seconds));
    }
    match app.passwords.verify(password, hash).await {
        Ok(true) => {
            guard().succeeded(email, address);
            Ok(())
        }
        Ok(false) => {
            guard().failed(email, address, Instant::now());
            warn!(email:% = email, peer:% = address; "sign-in failed");
            Err(refused())
        }
        Err(_) => Err(Refusal::unavailable(5)),
    }
}

/// Name and password of a request.
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, text) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    let (email, password) = text.split_once(':')?;
    Some((email.trim().to_lowercase(), password.to_owned()))
}

fn refused() -> Refusal {
    let basic = HeaderValue::from_static("Basic realm=\"tandem\"");
    Refusal::unauthorized("unauthorized").header(header::WWW_AUTHENTICATE, basic)
}
