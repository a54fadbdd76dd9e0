//! One's own password and tokens, and what there is to know about this server.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header;
use tandem_api::Timestamp;
use tandem_api::management::{NewToken, Role, UpdatedUser};

use super::answer::{page, see_other};
use super::form::Form;
use super::frame::{Frame, Section};
use super::sign_in::person;
use super::wording::{Moment, inert, sentence};
use crate::access::Operator;
use crate::admin::output::size;
use crate::app::App;
use crate::clock::now;
use crate::management::tokens::{make, revoke};
use crate::management::users::change;
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::request::{BaseUrl, Peer};
use crate::store::{Id, TokenRow};

#[derive(Template)]
#[template(path = "settings.html")]
struct Settings {
    frame: Frame,
    url: String,
    version: &'static str,
    has_authority: bool,
    keys: bool,
    max_artifact: String,
    max_devices: String,
    tokens: Vec<Token>,
    /// What a new token may be for.
    roles: Vec<Role>,
    /// A token that has just been made: it is shown once.
    made: String,
    password_problem: String,
    token_problem: String,
}

struct Token {
    id: Id,
    name: String,
    /// Empty: what its owner may do.
    role: &'static str,
    created: Moment,
    expires: String,
    used: Option<Moment>,
}

/// What came of a form on this page.
#[derive(Default)]
struct Outcome {
    made: String,
    password_problem: Option<Refusal>,
    token_problem: Option<Refusal>,
}

/// `GET /settings`
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    operator: Operator,
    base: BaseUrl,
    query: Query,
) -> Result {
    show(&app, operator, base, &query, Outcome::default()).await
}

async fn show(
    app: &App,
    operator: Operator,
    base: BaseUrl,
    query: &Query,
    outcome: Outcome,
) -> Result {
    let frame = Frame::new(app, operator, Section::Settings, query).await?;
    let time = now().millis();
    let tokens = app.store.tokens(person(operator)?).await?;
    let problem = |refusal: &Option<Refusal>| {
        refusal
            .as_ref()
            .map(|refusal| sentence(refusal.message()))
            .unwrap_or_default()
    };
    let refused = outcome
        .password_problem
        .as_ref()
        .or(outcome.token_problem.as_ref());
    let status = refused.map(Refusal::status);
    let answer = page(&Settings {
        frame,
        url: base.0,
        version: env!("CARGO_PKG_VERSION"),
        has_authority: app.settings.authority.is_some(),
        keys: app.settings.verification.is_on(),
        max_artifact: size(app.settings.max_artifact_size),
        max_devices: match app.settings.max_devices {
            Some(limit) => super::wording::grouped(limit),
            None => "no limit".to_owned(),
        },
        tokens: tokens
            .into_iter()
            .map(|token| Token::new(token, time))
            .collect(),
        roles: Role::ALL
            .into_iter()
            .filter(|role| *role <= operator.role())
            .collect(),
        password_problem: problem(&outcome.password_problem),
        token_problem: problem(&outcome.token_problem),
        made: outcome.made,
    })?;
    Ok(match status {
        None => answer,
        Some(status) => (status, answer).into_response(),
    })
}

impl Token {
    fn new(token: TokenRow, now: i64) -> Self {
        let never = Timestamp::from_millis(i64::MAX).millis();
        Self {
            id: token.id,
            name: inert(&token.name, 100),
            role: token.role.map(Role::as_str).unwrap_or_default(),
            created: Moment::new(token.created, now),
            expires: if token.expires >= never {
                "never".to_owned()
            } else {
                Moment::new(token.expires, i64::MAX).about
            },
            used: token.last_used.map(|at| Moment::new(at, now)),
        }
    }
}

/// `POST /settings`
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    operator: Operator,
    peer: Peer,
    base: BaseUrl,
    form: Form,
) -> Result {
    let user = person(operator)?;
    let mut outcome = Outcome::default();
    match form.text("action") {
        "password" => {
            let (new, again) = (form.exactly("password"), form.exactly("again"));
            let changed = if new == again {
                let update = UpdatedUser {
                    password: Some(new),
                    current_password: Some(form.exactly("current")),
                    ..UpdatedUser::default()
                };
                change(&app, operator, peer, user, update).await
            } else {
                Err(Refusal::unprocessable("the two new passwords differ"))
            };
            match changed {
                Ok(()) => return Ok(see_other("/settings?done=password")),
                Err(refusal) if refusal.status().is_server_error() => return Err(refusal),
                Err(refusal) => outcome.password_problem = Some(refusal),
            }
        }
        "token" => {
            let days: u32 = form.0.number("days")?.unwrap_or(0);
            let new = NewToken {
                name: form.text("name").to_owned(),
                expires_in: Some(days.saturating_mul(24 * 60 * 60)),
                role: form.role("role")?,
            };
            match make(&app, operator, user, new).await {
                Ok(token) => outcome.made = token,
                Err(refusal) if refusal.status().is_server_error() => return Err(refusal),
                Err(refusal) => outcome.token_problem = Some(refusal),
            }
        }
        "revoke" => {
            let id: Result<Id, _> = form.text("token").parse();
            let id = id.map_err(|_| Refusal::not_found("token"))?;
            revoke(&app, operator, user, id).await?;
            return Ok(see_other("/settings?done=token-revoked"));
        }
        _ => return Err(Refusal::bad_request("what is to be done?")),
    }
    show(&app, operator, base, &Query::default(), outcome).await
}

/// `GET /ca.crt`: the certificate that devices have to trust. It is no secret: whoever connects gets as much.
pub(crate) async fn authority(State(app): State<Arc<App>>) -> Result {
    let authority = app.settings.authority.clone();
    let authority = authority.ok_or_else(|| Refusal::not_found("certificate"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/x-pem-file"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"ca.crt\"",
        ),
    ];
    Ok((headers, authority).into_response())
}
