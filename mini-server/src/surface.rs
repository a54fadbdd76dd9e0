//! What the table in `routes.rs` is made of: a route, who it is for, its handler; and the guard before each handler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http::request::Parts;
use http::{Method, header};
use tandem_api::management::Role;

use crate::access::{Access, Operator};
use crate::app::App;
use crate::audit::{self, Cause};
use crate::clock::now;
use crate::management;
use crate::reply::Refusal;
use crate::request::{Peer, discard};
use crate::sessions::DeviceSession;
use crate::token::Bearer;
use crate::web::answer::Asked;
use crate::web::{self, cookie, origin};

/// All routes.
#[derive(Default)]
pub struct Surface {
    routes: Vec<Route>,
    router: Router<Arc<App>>,
}

/// A route.
#[derive(Debug, Clone)]
pub struct Route {
    /// What is done.
    pub method: Method,
    /// With what; names in braces stand for anything.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
}

/// The number of a route, in the extensions of an answer.
#[derive(Debug, Clone, Copy)]
pub struct RouteNumber(pub usize);

/// How long a handler may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Surface {
    /// With one more route. Its handler has a minute to answer.
    #[must_use]
    pub fn on<H, T>(self, method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        self.add(method, path, access, handler, Some(PATIENCE))
    }

    /// With one more route whose handler looks after the time itself.
    #[must_use]
    pub fn on_untimed<H, T>(
        self,
        method: Method,
        path: &'static str,
        access: Access,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        self.add(method, path, access, handler, None)
    }

    fn add<H, T>(
        mut self,
        method: Method,
        path: &'static str,
        access: Access,
        handler: H,
        patience: Option<Duration>,
    ) -> Self
    where
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        let number = RouteNumber(self.routes.len());
        // GET answers HEAD as well.
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::TRACE);
        let verb = method.clone();
        let guarded = handler.layer(from_fn(move |request: Request, next: Next| {
            let route = Route {
                method: verb.clone(),
                path,
                access,
            };
            async move {
                let mut response = guard(&route, patience, request, next).await;
                response.extensions_mut().insert(number);
                response
            }
        }));
        self.router = self.router.route(path, on(filter, guarded));
        self.routes.push(Route {
            method,
            path,
            access,
        });
        self
    }

    /// The routes.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Something that answers requests.
    pub fn into_router(self, app: Arc<App>) -> Router {
        self.router.fallback(not_found).with_state(app)
    }
}

/// Lets through who may, within the time that there is.
async fn guard(
    route: &Route,
    patience: Option<Duration>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let asked = route.access.is_page().then(|| Asked::of(&parts));
    let answer = match admit(route, &mut parts).await {
        Err(refusal) => {
            discard(body).await;
            refusal.into_response()
        }
        Ok(cause) => {
            let app = parts.extensions.get::<Arc<App>>().cloned();
            let answer = next.run(Request::from_parts(parts, body));
            let answer = accountable(cause.clone(), answer);
            let answer = match patience {
                None => answer.await,
                Some(patience) => tokio::time::timeout(patience, answer)
                    .await
                    .unwrap_or_else(|_| Refusal::unavailable(30).into_response()),
            };
            if let (Some(cause), Some(app)) = (cause, app) {
                let why = management::audit::reason(&answer);
                management::audit::refused(&app, cause, why).await;
            }
            answer
        }
    };
    match asked {
        None => answer,
        Some(asked) => web::answer::dress(asked, answer),
    }
}

/// Nothing is there. Whoever looks for a page is told so by one.
async fn not_found(request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let answer = Refusal::not_found("page").into_response();
    if parts.uri.path().starts_with("/api/") {
        return answer;
    }
    web::answer::dress(Asked::of(&parts), answer)
}

/// Lets `work` make its changes on behalf of `cause`.
async fn accountable<T>(cause: Option<Cause>, work: impl Future<Output = T>) -> T {
    match cause {
        Some(cause) => audit::because(cause, work).await,
        None => work.await,
    }
}

/// Finds out who asks, and leaves that for the handler; who is to answer for what is changed.
async fn admit(route: &Route, parts: &mut Parts) -> Result<Option<Cause>, Refusal> {
    let access = route.access;
    let extensions = &parts.extensions;
    let (Some(app), Some(peer)) = (extensions.get::<Arc<App>>(), extensions.get::<Peer>()) else {
        return Err(Refusal::unauthorized("unauthorized"));
    };
    let (app, peer) = (Arc::clone(app), *peer);
    if access == Access::Device {
        let session = device(&app, parts).await?;
        parts.extensions.insert(session);
        return Ok(None);
    }
    if let Peer::Network(address) = peer {
        app.throttles
            .address(address.ip().to_canonical(), Instant::now())
            .map_err(slow_down)?;
    }
    match access {
        Access::Device | Access::Anyone => {}
        Access::Visitor => origin::check(parts, &app.settings)?,
        Access::Browser(role) => {
            origin::check(parts, &app.settings)?;
            let bearer = cookie::read(&parts.headers);
            let bearer = bearer.and_then(|token| app.keys.verify(token, now().seconds()));
            let operator = match bearer {
                Some(Bearer::Person { user, token }) => {
                    let session = app.sessions.operator(&app.store, user, token).await?;
                    // What somebody gave to a program is no way to sign in.
                    session
                        .filter(|session| !session.personal)
                        .map(|session| Operator::Person {
                            user,
                            token,
                            role: session.role,
                        })
                }
                Some(Bearer::Device { .. }) | None => None,
            };
            return answerable(&app, peer, route, parts, operator, role).await;
        }
        Access::Person(role) => {
            let operator = operator(&app, peer, parts).await?;
            return answerable(&app, peer, route, parts, operator, role).await;
        }
        // What passed through a proxy does not come from this machine.
        Access::Monitor => {
            let forwarded = [header::FORWARDED.as_str(), "x-forwarded-for"]
                .iter()
                .any(|name| parts.headers.contains_key(*name));
            if forwarded || !peer.address().is_loopback() {
                allowed(operator(&app, peer, parts).await?, Role::Viewer)?;
            }
        }
    }
    Ok(None)
}

/// Lets `operator` in if that is one for this role; a cause for what a request changes that is not for reading.
async fn answerable(
    app: &App,
    peer: Peer,
    route: &Route,
    parts: &mut Parts,
    operator: Option<Operator>,
    role: Role,
) -> Result<Option<Cause>, Refusal> {
    let cause = operator
        .filter(|_| route.method != Method::GET)
        .map(|operator| {
            let asked = audit::Asked::new(&route.method, route.path, parts.uri.path());
            Cause::of(operator, peer, asked)
        });
    match allowed(operator, role) {
        Ok(operator) => {
            parts.extensions.insert(operator);
            Ok(cause)
        }
        Err(refusal) => {
            if let Some(cause) = cause {
                let why = management::audit::reason(&refusal.clone().into_response());
                management::audit::refused(app, cause, why).await;
            }
            Err(refusal)
        }
    }
}

async fn device(app: &App, parts: &Parts) -> Result<Arc<DeviceSession>, Refusal> {
    let time = now();
    let bearer = token(parts).and_then(|token| app.keys.verify(token, time.seconds()));
    let session = match bearer {
        Some(Bearer::Device {
            device,
            auth_set,
            generation,
        }) => {
            app.sessions
                .device(&app.store, device, auth_set, generation)
                .await?
        }
        Some(Bearer::Person { .. }) | None => None,
    };
    let Some(session) = session else {
        return Err(Refusal::unauthorized("unauthorized"));
    };
    app.throttles
        .device(&session.due, Instant::now())
        .map_err(slow_down)?;
    app.sessions.heard(&session, time.millis());
    Ok(session)
}

async fn operator(app: &App, peer: Peer, parts: &Parts) -> Result<Option<Operator>, Refusal> {
    let time = now();
    let bearer = token(parts).and_then(|token| app.keys.verify(token, time.seconds()));
    let operator = match (bearer, peer) {
        (Some(Bearer::Person { user, token }), _) => {
            let session = app.sessions.operator(&app.store, user, token).await?;
            if session.is_some_and(|session| session.personal) {
                app.sessions.used(token, time.millis());
            }
            session.map(|session| Operator::Person {
                user,
                token,
                role: session.role,
            })
        }
        (None, Peer::Local) if token(parts).is_none() => Some(Operator::Local),
        (Some(Bearer::Device { .. }) | None, _) => None,
    };
    Ok(operator)
}

fn allowed(operator: Option<Operator>, role: Role) -> Result<Operator, Refusal> {
    match operator {
        None => Err(Refusal::unauthorized("unauthorized")),
        Some(operator) if operator.role() >= role => Ok(operator),
        Some(operator) => Err(Refusal::forbidden(format!(
            "this needs the role {role}, and you have the role {}",
            operator.role()
        ))),
    }
}

/// What stands behind `Authorization: Bearer`.
fn token(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn slow_down(wait: Duration) -> Refusal {
    let seconds = wait.as_secs().saturating_add(1);
    Refusal::too_many("too many requests", seconds)
}
