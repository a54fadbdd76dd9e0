//! People who may sign in.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::{StatusCode, header};
use log::info;
use tandem_api::Timestamp;
use tandem_api::management::{NewUser, Role, UpdatedUser, User};

use crate::access::Operator;
use crate::app::App;
use crate::clock::now;
use crate::management::login::check_password;
use crate::password;
use crate::query::Query;
use crate::reply::{Json, Refusal, Result};
use crate::request::{JsonBody, Params, Peer};
use crate::secret::new_id;
use crate::store::{Id, UserChange, UserOutcome, UserRow};

/// `GET /api/management/v1/useradm/users`
pub async fn list(State(app): State<Arc<App>>, _: Operator, query: Query) -> Result {
    let ids: Vec<&str> = query.all("id").collect();
    let emails: Vec<String> = query.all("email").map(str::to_lowercase).collect();
    let time = |name: &str| -> Result<Option<i64>> {
        let seconds: Option<i64> = query.number(name)?;
        Ok(seconds.map(|seconds| Timestamp::from_seconds(seconds).millis()))
    };
    let created = (time("created_after")?, time("created_before")?);
    let updated = (time("updated_after")?, time("updated_before")?);
    let within = |(after, before): (Option<i64>, Option<i64>), time: i64| {
        after.is_none_or(|after| time >= after) && before.is_none_or(|before| time <= before)
    };
    let mut users = app.store.users().await?;
    users.retain(|user| {
        (ids.is_empty() || ids.contains(&user.id.to_string().as_str()))
            && (emails.is_empty() || emails.contains(&user.email))
            && within(created, user.created)
            && within(updated, user.updated)
    });
    let users: Vec<User> = users.into_iter().map(show).collect();
    Ok(Json(users).into_response())
}

/// `POST /api/management/v1/useradm/users`
pub async fn post(
    State(app): State<Arc<App>>,
    _: Operator,
    JsonBody(new): JsonBody<NewUser>,
) -> Result {
    let id = add(&app, &new.email, new.password, new.role).await?;
    let location = format!("/api/management/v1/useradm/users/{id}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Adds a user; the identifier.
///
/// # Errors
/// A refusal if e-mail address or password cannot be, or there is such a user.
pub async fn add(app: &App, email: &str, password: String, role: Role) -> Result<Id> {
    let email = check_email(email)?;
    check_new_password(&password)?;
    let hash = hash(app, password).await?;
    let outcome = app
        .store
        .add_user(new_id(), email.clone(), hash, role, now().millis())
        .await?;
    let id = done(outcome)?;
    info!(user:% = id, email:% = email, role:% = role; "user added");
    Ok(id)
}

/// `GET /api/management/v1/useradm/users/{id}`
pub async fn get(State(app): State<Arc<App>>, _: Operator, Params(id): Params<String>) -> Result {
    answer(&app, find(&id)?).await
}

/// `GET /api/management/v1/useradm/users/me`
pub async fn get_own(State(app): State<Arc<App>>, operator: Operator) -> Result {
    answer(&app, own(operator)?).await
}

async fn answer(app: &App, id: Id) -> Result {
    let user = app.store.user(id).await?.ok_or_else(missing)?;
    Ok(Json(show(user)).into_response())
}

/// `PUT /api/management/v1/useradm/users/{id}`
pub async fn put(
    State(app): State<Arc<App>>,
    operator: Operator,
    peer: Peer,
    Params(id): Params<String>,
    JsonBody(update): JsonBody<UpdatedUser>,
) -> Result {
    change(&app, operator, peer, find(&id)?, update).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `PUT /api/management/v1/useradm/users/me`
pub async fn put_own(
    State(app): State<Arc<App>>,
    operator: Operator,
    peer: Peer,
    JsonBody(update): JsonBody<UpdatedUser>,
) -> Result {
    change(&app, operator, peer, own(operator)?, update).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Changes a user as far as the operator may.
///
/// # Errors
/// A refusal if the operator may not, or it cannot be.
pub async fn change(
    app: &App,
    operator: Operator,
    peer: Peer,
    id: Id,
    update: UpdatedUser,
) -> Result<()> {
    let user = app.store.user(id).await?.ok_or_else(missing)?;
    if (update.email.is_some() || update.role.is_some()) && operator.role() < Role::Admin {
        return Err(Refusal::forbidden(
            "only an admin changes e-mail addresses and roles",
        ));
    }
    let mut change = UserChange {
        email: update.email.as_deref().map(check_email).transpose()?,
        role: update.role,
        ..UserChange::default()
    };
    if let Some(password) = update.password {
        check_new_password(&password)?;
        // Whoever is on the machine itself may help somebody who has forgotten the password; nobody else may.
        if let Operator::Person {
            user: own, token, ..
        } = operator
        {
            if own != id {
                return Err(Refusal::unprocessable(
                    "the password of somebody else cannot be changed",
                ));
            }
            let current = update.current_password.unwrap_or_default();
            let credentials = app.store.credentials(&user.email).await?;
            let hash = credentials.map(|credentials| credentials.password);
            check_password(app, peer, &user.email, current, hash)
                .await
                .map_err(|refusal| match refusal.status() {
                    StatusCode::UNAUTHORIZED => {
                        Refusal::unprocessable("the current password is wrong")
                    }
                    _ => refusal,
                })?;
            change.keep_session = Some(token);
        }
        change.password = Some(hash(app, password).await?);
    }
    done(app.store.change_user(id, change, now().millis()).await?)?;
    info!(user:% = id; "user changed");
    Ok(())
}

/// `DELETE /api/management/v1/useradm/users/{id}`
pub async fn delete(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(id): Params<String>,
) -> Result {
    remove(&app, find(&id)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Removes a user with all sessions and tokens.
///
/// # Errors
/// A refusal if there is no such user, or no other admin.
pub async fn remove(app: &App, id: Id) -> Result<()> {
    done(app.store.remove_user(id).await?)?;
    info!(user:% = id; "user removed");
    Ok(())
}

fn find(id: &str) -> Result<Id> {
    id.parse().map_err(|_| missing())
}

/// Who asks. Whoever is on the machine itself is no user.
fn own(operator: Operator) -> Result<Id> {
    match operator {
        Operator::Person { user, .. } => Ok(user),
        Operator::Local => Err(missing()),
    }
}

fn missing() -> Refusal {
    Refusal::not_found("user")
}

fn done(outcome: UserOutcome) -> Result<Id> {
    match outcome {
        UserOutcome::Done(id) => Ok(id),
        UserOutcome::Missing => Err(missing()),
        UserOutcome::EmailTaken => Err(Refusal::unprocessable(
            "user with a given email already exists",
        )),
        UserOutcome::Last => Err(Refusal::unprocessable(
            "the last admin cannot be removed or made less: nobody could manage users",
        )),
    }
}

fn check_email(text: &str) -> Result<String> {
    let email = text.trim().to_lowercase();
    let usable = (3..=254).contains(&email.len())
        && !email.contains(|c: char| c.is_control() || c.is_whitespace() || c == ':')
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if usable {
        Ok(email)
    } else {
        Err(Refusal::bad_request("the e-mail address is unusable"))
    }
}

fn check_new_password(text: &str) -> Result<()> {
    password::unusable(text).map_or(Ok(()), |reason| Err(Refusal::unprocessable(reason)))
}

async fn hash(app: &App, password: String) -> Result<String> {
    app.passwords
        .hash(password)
        .await
        .map_err(|_| Refusal::unavailable(5))
}

fn show(user: UserRow) -> User {
    User {
        id: user.id.to_string(),
        email: user.email,
        role: user.role,
        created_ts: Timestamp::from_millis(user.created),
        updated_ts: Timestamp::from_millis(user.updated),
        login_ts: user.login.map(Timestamp::from_millis),
    }
}
