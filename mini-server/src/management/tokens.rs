//! Personal access tokens.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use log::info;
use tandem_api::Timestamp;
use tandem_api::management::{NewToken, Token};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::secret::new_id;
use crate::store::{Id, TokenOutcome, TokenRow};
use crate::token::Bearer;

/// Seconds that a token may be good, unless for ever.
const LONGEST: u32 = 31_536_000;

/// `GET /api/management/v1/useradm/settings/tokens`
pub async fn list(State(app): State<Arc<App>>, operator: Operator, query: Query) -> Result {
    let tokens = app.store.tokens(owner(operator, &query)?).await?;
    let tokens: Vec<Token> = tokens.into_iter().map(show).collect();
    Ok(Json(tokens).into_response())
}

/// `POST /api/management/v1/useradm/settings/tokens`
pub async fn post(
    State(app): State<Arc<App>>,
    operator: Operator,
    query: Query,
    JsonBody(new): JsonBody<NewToken>,
) -> Result {
    let token = make(&app, operator, owner(operator, &query)?, new).await?;
    Ok(([(header::CONTENT_TYPE, "application/jwt")], token).into_response())
}

/// Makes a personal access token for a user; its text, which nobody can find out later.
///
/// # Errors
/// A refusal if it cannot be.
pub async fn make(app: &App, operator: Operator, user: Id, new: NewToken) -> Result<String> {
    let name = new.name.trim().to_owned();
    if !(1..=256).contains(&name.len()) || name.contains(char::is_control) {
        return Err(Refusal::bad_request(
            "the name of a token has 1 to 256 characters",
        ));
    }
    let time = now();
    let expires = match new.expires_in.unwrap_or_default() {
        0 => Timestamp::from_millis(i64::MAX),
        seconds if seconds <= LONGEST => time.plus_millis(i64::from(seconds).saturating_mul(1000)),
        _ => {
            return Err(Refusal::bad_request(format!(
                "expires_in is at most {LONGEST} seconds"
            )));
        }
    };
    let own = app.store.user(user).await?;
    let own = own.ok_or_else(|| Refusal::not_found("user"))?.role;
    let most = own.min(operator.role());
    let role = match new.role {
        Some(role) if role > most => {
            return Err(Refusal::forbidden(format!(
                "a token has no higher role than whoever makes it: {most}"
            )));
        }
        // Whoever has a token for less makes none for more.
        None if most < own => Some(most),
        role => role,
    };
    let id = new_id();
    let row = TokenRow {
        id,
        name: name.clone(),
        created: time.millis(),
        expires: expires.millis(),
        last_used: None,
        role,
    };
    match app.store.add_token(user, row).await? {
        TokenOutcome::Done => {}
        TokenOutcome::NameTaken => return Err(Refusal::conflict("there is a token of this name")),
        TokenOutcome::TooMany => {
            return Err(Refusal::unprocessable(
                "there are too many tokens: remove one first",
            ));
        }
        TokenOutcome::Missing => return Err(Refusal::not_found("user")),
    }
    info!(user:% = user, token:% = id, name:% = name; "token made");
    let bearer = Bearer::Person { user, token: id };
    Ok(app.keys.issue(bearer, time.seconds(), expires.seconds()))
}

/// `DELETE /api/management/v1/useradm/settings/tokens/{id}`
pub async fn delete(
    State(app): State<Arc<App>>,
    operator: Operator,
    query: Query,
    Params(id): Params<String>,
) -> Result {
    let id = id.parse().map_err(|_| missing())?;
    revoke(&app, operator, owner(operator, &query)?, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Ends a token of a user.
///
/// # Errors
/// A refusal if the user has no such token, or it is for more than the operator may.
pub async fn revoke(app: &App, operator: Operator, user: Id, id: Id) -> Result<()> {
    let own = app.store.user(user).await?.ok_or_else(missing)?.role;
    let tokens = app.store.tokens(user).await?;
    let token = tokens.iter().find(|token| token.id == id);
    let role = token.ok_or_else(missing)?.role.unwrap_or(own);
    if role.min(own) > operator.role() {
        return Err(Refusal::forbidden(
            "this token may do more than the one that you use",
        ));
    }
    if !app.store.remove_token(user, id).await? {
        return Err(missing());
    }
    info!(user:% = user, token:% = id; "token removed");
    Ok(())
}

fn missing() -> Refusal {
    Refusal::not_found("token")
}

/// Whose tokens: one's own. Whoever is on the machine itself names the user.
fn owner(operator: Operator, query: &Query) -> Result<Id> {
    match operator {
        Operator::Person { user, .. } => Ok(user),
        Operator::Local => query
            .one("user")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Refusal::bad_request("which user? Name one with ?user=ID")),
    }
}

fn show(token: TokenRow) -> Token {
    let expires = Timestamp::from_millis(token.expires);
    let never = Timestamp::from_millis(i64::MAX);
    Token {
        id: token.id.to_string(),
        name: token.name,
        role: token.role,
        last_used: token.last_used.map(Timestamp::from_millis),
        expiration_date: Some(expires).filter(|expires| *expires < never),
        created_ts: Timestamp::from_millis(token.created),
    }
}
