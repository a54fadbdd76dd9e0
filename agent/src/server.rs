//! The server, as a device sees it: authorisation, deployments, reports, inventory.
//!
//! One connection is kept alive for all requests. A request that is not authorised any more is
//! repeated once with a new token; everything else that fails is the caller's to repeat.

mod wire;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use log::{debug, info};
use tandem_api::device::{AUTH_REQUESTS, AuthRequest, INVENTORY, NEXT_V2};
use tandem_api::{DeploymentStatus, SIGNATURE};
use tandem_artifact::Provides;
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use ureq::http::request::Builder;
use ureq::http::{HeaderMap, Method, Request, StatusCode};

use crate::config::Config;
use crate::key_values::KeyValues;
use crate::keys::DeviceKey;
use crate::opening::{self, Opening};
use crate::record::{Origin, Verdict};
use crate::stop::Stop;
use crate::{http, identity};

/// The longest answer that is read, in bytes.
const MAX_ANSWER: u64 = 1 << 20;

/// How long a server that does not know the newer way to ask for a deployment is asked in the
/// older one.
const REMEMBER_OLD_SERVER: Duration = Duration::from_secs(24 * 3600);

/// The server that this device belongs to.
pub(crate) struct Server<'a> {
    config: &'a Config,
    stop: &'a Stop,
    agent: Agent,
    key: DeviceKey,
    /// The address of the server that has granted the token, and the token.
    granted: Option<(String, String)>,
    old_until: Option<Instant>,
    /// What must not be asked for before a certain time, by the last part of its path.
    not_before: BTreeMap<String, Instant>,
    /// The inventory as it was sent last, with this token.
    sent_inventory: Vec<u8>,
}

/// Why a request brought nothing.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// The reason.
    pub(crate) why: anyhow::Error,
    /// How long the server wants to be left alone.
    pub(crate) wait: Option<Duration>,
    /// The server has answered: it does not want what it was sent.
    pub(crate) answered: bool,
}

impl From<anyhow::Error> for Trouble {
    fn from(why: anyhow::Error) -> Trouble {
        Trouble {
            why,
            wait: None,
            answered: false,
        }
    }
}

/// What a server says to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has taken note.
    Yes,
    /// The deployment has been withdrawn, or it knows of none.
    Withdrawn,
}

/// What a server answers.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    wait: Option<Duration>,
}

impl<'a> Server<'a> {
    /// The server that the configuration names. Nothing is sent yet.
    ///
    /// # Errors
    /// When TLS or the device's key cannot be set up.
    pub(crate) fn new(config: &'a Config, stop: &'a Stop) -> Result<Server<'a>> {
        Ok(Server {
            config,
            stop,
            agent: http::agent(config)?,
            key: DeviceKey::load(config)?,
            granted: None,
            old_until: None,
            not_before: BTreeMap::new(),
            sent_inventory: Vec::new(),
        })
    }

    /// The connections, for downloads.
    pub(crate) fn agent(&self) -> Agent {
        self.agent.clone()
    }

    /// Makes the next request log in anew: an update may have changed what the device is.
    pub(crate) fn forget_token(&mut self) {
        self.granted = None;
    }

    /// Asks for a deployment.
    ///
    /// # Errors
    /// When the server cannot be asked, or its answer makes no sense.
    pub(crate) fn next_deployment(
        &mut self,
        device_type: &str,
        provides: &Provides,
    ) -> Result<Option<Origin>, Trouble> {
        let now = Instant::now();
        let mut answer = None;
        if self.old_until.is_none_or(|until| now >= until) {
            let body = wire::next_v2(device_type, provides)?;
            let asked = self.call(Method::POST, NEXT_V2, Some(&body))?;
            if asked.status == StatusCode::NOT_FOUND {
                self.old_until = now.checked_add(REMEMBER_OLD_SERVER);
            } else {
                answer = Some(asked);
            }
        }
        let answer = match answer {
            Some(answer) => answer,
            None => {
                let path = wire::next_v1(device_type, provides);
                self.call(Method::GET, &path, None)?
            }
        };
        match answer.status {
            StatusCode::NO_CONTENT => Ok(None),
            StatusCode::OK => {
                let offer =
                    wire::offer(&answer.body).context("the server's deployment makes no sense")?;
                info!(
                    "the server offers deployment {} of {:?}",
                    offer.id, offer.artifact.artifact_name
                );
                let openings = offer.maintenance_openings.iter().take(opening::MOST);
                Ok(Some(Origin::Server {
                    id: offer.id,
                    url: offer.artifact.source.uri,
                    openings: openings
                        .map(|opening| Opening {
                            from: opening.from.millis(),
                            until: opening.until.millis(),
                        })
                        .collect(),
                }))
            }
            _ => Err(refused(answer, "a deployment")),
        }
    }

    /// Reports how far a deployment is.
    ///
    /// # Errors
    /// When the server cannot be told.
    pub(crate) fn report(
        &mut self,
        deployment: &str,
        status: DeploymentStatus,
        substate: Option<&str>,
    ) -> Result<Heard, Trouble> {
        let path = wire::status(deployment)?;
        let answer = self.call(Method::PUT, &path, Some(&wire::report(status, substate)?))?;
        match answer.status {
            status if status.is_success() => Ok(Heard::Yes),
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Ok(Heard::Withdrawn),
            _ => Err(refused(answer, "a report")),
        }
    }

    /// Reports how a deployment has ended.
    ///
    /// # Errors
    /// When the server cannot be told.
    pub(crate) fn report_verdict(
        &mut self,
        deployment: &str,
        verdict: Verdict,
    ) -> Result<Heard, Trouble> {
        let status = match verdict {
            Verdict::Success => DeploymentStatus::Success,
            Verdict::Failure => DeploymentStatus::Failure,
        };
        self.report(deployment, status, None)
    }

    /// Sends the log of a deployment; `messages` is the JSON that the server wants.
    ///
    /// # Errors
    /// When the server cannot be told, or does not want it.
    pub(crate) fn send_log(&mut self, deployment: &str, messages: &[u8]) -> Result<(), Trouble> {
        let answer = self.call(Method::PUT, &wire::log(deployment)?, Some(messages))?;
        match answer.status {
            status if status.is_success() => Ok(()),
            _ => Err(refused(answer, "a log")),
        }
    }

    /// Sends what the device is like; it replaces what was sent before.
    ///
    /// # Errors
    /// When the server cannot be told, or does not want it.
    pub(crate) fn send_inventory(&mut self, attributes: &KeyValues) -> Result<(), Trouble> {
        let body = wire::inventory(attributes)?;
        if self.granted.is_some() && self.sent_inventory == body {
            return Ok(());
        }
        let answer = self.call(Method::PUT, INVENTORY, Some(&body))?;
        match answer.status {
            status if status.is_success() => {
                self.sent_inventory = body;
                Ok(())
            }
            _ => Err(refused(answer, "the inventory")),
        }
    }

    /// Whether who granted the present token knows what the device is like.
    pub(crate) fn knows_inventory(&self) -> bool {
        !self.sent_inventory.is_empty()
    }

    /// One request; with a new token if the old one is no good any more.
    fn call(&mut self, method: Method, path: &str, body: Option<&[u8]>) -> Result<Answer, Trouble> {
        let answer = self.call_once(method.clone(), path, body)?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        debug!("the server does not accept the token any more");
        self.granted = None;
        self.call_once(method, path, body)
    }

    fn call_once(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<Answer, Trouble> {
        let (base, token) = self.token()?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header(AUTHORIZATION, format!("Bearer {token}"));
        self.send(request, path, body)
    }

    /// Sends a request and reads the answer, unless the server has asked for a pause.
    fn send(
        &mut self,
        request: Builder,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<Answer, Trouble> {
        let what = path.rsplit('/').next().unwrap_or_default();
        let what = what.split('?').next().unwrap_or_default().to_owned();
        let now = Instant::now();
        if let Some(until) = self.not_before.get(&what).filter(|until| **until > now) {
            let wait = until.saturating_duration_since(now);
            let why = anyhow!(
                "the server has asked for a pause of {} more seconds",
                wait.as_secs()
            );
            return Err(Trouble {
                why,
                wait: Some(wait),
                answered: false,
            });
        }
        let attempt = || format!("cannot talk to the server about {path}");
        let response = match body {
            Some(body) => {
                let request = request.header(CONTENT_TYPE, "application/json").body(body);
                self.agent.run(request.with_context(attempt)?)
            }
            None => self.agent.run(request.body(()).with_context(attempt)?),
        }
        .with_context(attempt)?;
        let status = response.status();
        let pause = retry_after(response.headers());
        let mut body = response.into_body();
        let body = body
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_vec()
            .with_context(attempt)?;
        debug!("{path}: {status}, {} bytes", body.len());
        let wait = pause.filter(|_| {
            status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE
        });
        if let Some(until) = wait.and_then(|wait| Instant::now().checked_add(wait)) {
            self.not_before.insert(what, until);
        }
        Ok(Answer { status, body, wait })
    }

    /// The server's address and a token for it.
    fn token(&mut self) -> Result<(String, String), Trouble> {
        if let Some(granted) = &self.granted {
            return Ok(granted.clone());
        }
        let granted = self.authorise()?;
        // Whoever grants a new token may have forgotten what the device is like.
        self.sent_inventory.clear();
        Ok(self.granted.insert(granted).clone())
    }

    /// Asks each server in turn for a token.
    fn authorise(&mut self) -> Result<(String, String), Trouble> {
        let request = AuthRequest {
            id_data: identity::read(&self.config.identity_script, self.stop)?,
            pubkey: self.key.public_pem(),
            tenant_token: self.config.tenant_token.clone(),
        };
        let body = serde_json::to_vec(&request).map_err(anyhow::Error::new)?;
        let signature = STANDARD.encode(self.key.sign(&body)?);
        let mut trouble = Trouble::from(anyhow!("no server is configured: set server_url"));
        for base in &self.config.servers {
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("{base}{}", AUTH_REQUESTS))
                .header(AUTHORIZATION, "Bearer ")
                .header(SIGNATURE, &signature);
            match self.send(request, AUTH_REQUESTS, Some(&body)) {
                Ok(answer) if answer.status == StatusCode::OK => {
                    let token = String::from_utf8(answer.body)
                        .map_err(|_| anyhow!("the token of {base} is not text"))?;
                    info!("authorised by {base}");
                    return Ok((base.clone(), token.trim().to_owned()));
                }
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED => {
                    let why = anyhow!("{base} has not accepted this device (yet): accept it there");
                    trouble = Trouble {
                        why,
                        wait: None,
                        answered: true,
                    };
                }
                Ok(answer) => trouble = refused(answer, "authorisation"),
                Err(err) => trouble = err,
            }
            debug!("{base}: {:#}", trouble.why);
        }
        // Nobody has judged the request itself.
        trouble.answered = false;
        Err(trouble)
    }
}

/// The trouble with an answer that is none of the expected ones.
fn refused(answer: Answer, what: &str) -> Trouble {
    let text = wire::error_text(&answer.body);
    let why = match text {
        Some(text) => anyhow!("the server answers {} to {what}: {text}", answer.status),
        None => anyhow!("the server answers {} to {what}", answer.status),
    };
    Trouble {
        why,
        wait: answer.wait,
        answered: answer.wait.is_none(),
    }
}

/// How long the server wants to be left alone (RFC 9110 section 10.2.3): seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    // A date that has passed: at once.
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}
