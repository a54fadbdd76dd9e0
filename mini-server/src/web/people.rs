//! The people who may sign in.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::IntoResponse;
use tandem_api::management::{Role, UpdatedUser};

use super::answer::{page, see_other};
use super::form::Form;
use super::frame::{Frame, Section, user};
use super::wording::{Moment, inert, sentence};
use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::management::users::{add, change, remove};
use crate::query::Query;
use crate::reply::{Refusal, Result};
use crate::request::Peer;
use crate::store::Id;

#[derive(Template)]
#[template(path = "people.html")]
struct People {
    frame: Frame,
    lines: Vec<Line>,
    problem: String,
    email: String,
}

struct Line {
    id: Id,
    email: String,
    role: Role,
    created: Moment,
    login: Option<Moment>,
    own: bool,
}

/// `GET /people`
pub(crate) async fn get(State(app): State<Arc<App>>, operator: Operator, query: Query) -> Result {
    show(&app, operator, &query, None, "").await
}

async fn show(
    app: &App,
    operator: Operator,
    query: &Query,
    problem: Option<&Refusal>,
    email: &str,
) -> Result {
    let frame = Frame::new(app, operator, Section::People, query).await?;
    let time = now().millis();
    let users = app.store.users().await?;
    let answer = page(&People {
        frame,
        lines: users
            .into_iter()
            .map(|one| Line {
                id: one.id,
                own: user(operator) == Some(one.id),
                email: inert(&one.email, 254),
                role: one.role,
                created: Moment::new(one.created, time),
                login: one.login.map(|at| Moment::new(at, time)),
            })
            .collect(),
        problem: problem
            .map(|refusal| sentence(refusal.message()))
            .unwrap_or_default(),
        email: email.to_owned(),
    })?;
    Ok(match problem {
        None => answer,
        Some(refusal) => (refusal.status(), answer).into_response(),
    })
}

/// `POST /people`
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    operator: Operator,
    peer: Peer,
    form: Form,
) -> Result {
    let role = form.role("role")?;
    let chosen = || -> Result<Id> {
        let id = form.text("user").parse();
        id.map_err(|_| Refusal::not_found("user"))
    };
    match form.text("action") {
        "add" => {
            let email = form.text("email");
            match add(
                &app,
                email,
                form.exactly("password"),
                role.unwrap_or_default(),
            )
            .await
            {
                Ok(_) => Ok(see_other("/people?done=user-added")),
                Err(refusal) if refusal.status().is_server_error() => Err(refusal),
                Err(refusal) => {
                    show(&app, operator, &Query::default(), Some(&refusal), email).await
                }
            }
        }
        "remove" => {
            let id = chosen()?;
            if user(operator) == Some(id) {
                return Err(Refusal::unprocessable("you cannot remove yourself"));
            }
            remove(&app, id).await?;
            Ok(see_other("/people?done=user-removed"))
        }
        "role" => {
            let update = UpdatedUser {
                role,
                ..UpdatedUser::default()
            };
            match change(&app, operator, peer, chosen()?, update).await {
                Ok(()) => Ok(see_other("/people?done=user-role")),
                Err(refusal) if refusal.status().is_server_error() => Err(refusal),
                Err(refusal) => show(&app, operator, &Query::default(), Some(&refusal), "").await,
            }
        }
        _ => Err(Refusal::bad_request("what is to be done with the user?")),
    }
}
