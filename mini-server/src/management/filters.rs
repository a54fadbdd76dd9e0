//! Saved filters: dynamic groups. As Mender's paid servers have them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use tandem_api::management::{Filter, NewFilter, SavedFilter};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::filter::Predicate;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params};
use crate::store::{FilterChange, FilterRow, Id};

/// Bytes of a name, and terms of a filter.
const NAME: usize = 256;
const TERMS: usize = 50;

/// `POST /api/management/v2/inventory/filters`
pub async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(new): JsonBody<NewFilter>,
) -> Result {
    if !(1..=NAME).contains(&new.name.len()) {
        return Err(Refusal::bad_request(format!(
            "the name of a filter has 1 to {NAME} bytes"
        )));
    }
    check_terms(&new.terms)?;
    match app
        .store
        .add_filter(new.name, new.terms, now().millis())
        .await?
    {
        FilterChange::Done(id) => {
            let location = format!("/api/management/v2/inventory/filters/{id}");
            Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
        }
        FilterChange::NameTaken => Err(Refusal::conflict("there is a filter of that name")),
        FilterChange::TooMany => Err(Refusal::unprocessable(
            "there are as many filters as there may be",
        )),
    }
}

/// Whether terms make sense.
///
/// # Errors
/// A refusal if they do not.
pub(super) fn check_terms(terms: &[Filter]) -> Result<()> {
    if terms.len() > TERMS {
        return Err(Refusal::bad_request(format!(
            "a filter has at most {TERMS} terms"
        )));
    }
    for term in terms {
        Predicate::parse(term).map_err(Refusal::bad_request)?;
    }
    Ok(())
}

/// `GET /api/management/v2/inventory/filters`
pub async fn list(State(app): State<Arc<App>>, _: Operator) -> Result {
    let filters: Vec<SavedFilter> = app.store.filters().await?.into_iter().map(show).collect();
    Ok(Json(filters).into_response())
}

/// `GET /api/management/v2/inventory/filters/{id}`
pub async fn get(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    let filter = app.store.filter(id).await?.ok_or_else(missing)?;
    Ok(Json(show(filter)).into_response())
}

/// `DELETE /api/management/v2/inventory/filters/{id}`
pub async fn delete(State(app): State<Arc<App>>, _: Operator, Params(id): Params<Id>) -> Result {
    if app.store.remove_filter(id).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(missing())
}

fn show(filter: FilterRow) -> SavedFilter {
    SavedFilter {
        id: filter.id.to_string(),
        name: filter.name,
        terms: filter.terms,
    }
}

/// There is no such filter.
pub(super) fn missing() -> Refusal {
    Refusal::not_found("filter")
}
