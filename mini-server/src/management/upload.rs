//! An operator uploads an artifact.

use std::io::ErrorKind;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use log::info;
use serde_json::json;
use tandem_artifact::Kind;

use crate::access::Operator;
use crate::app::App;
use crate::audit::inherit;
use crate::clock::now;
use crate::foreign;
use crate::framing::framed;
use crate::multipart::{Event, Multipart};
use crate::reply::{Refusal, Result};
use crate::request::next_piece;
use crate::secret::new_id;
use crate::staging::{Rejected, Staged, Staging};
use crate::store::{Added, Id, StoredArtifact};

/// Bytes of a field that is not the artifact.
const FIELD: usize = 4096;

/// Pieces that go to the disk at once, bytes.
const PIECE: usize = 64 << 10;

/// A sender that is slower than this for long holds a place that others need.
const SLOWEST: u64 = 4096;

/// How long a sender may be slow, or a refused one may go on sending.
const GRACE: Duration = Duration::from_secs(60);

/// What is known of an artifact beside itself.
#[derive(Default)]
struct Fields {
    description: String,
    size: Option<u64>,
    id: Option<Id>,
    /// Its payload is to be put into frames.
    framed: bool,
}

/// `POST /api/management/v1/deployments/artifacts`
pub async fn post(State(app): State<Arc<App>>, _: Operator, request: Request) -> Result {
    let id = take(&app, request).await?;
    let location = format!("/api/management/v1/deployments/artifacts/{id}");
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Takes the artifact that is in the form of a request; its identifier.
///
/// # Errors
/// A refusal with a sentence that says what is wrong with form or artifact.
pub async fn take(app: &Arc<App>, request: Request) -> Result<Id> {
    let _place = place(app).await?;
    let (parts, body) = request.into_parts();
    let mut form = Form::new(&parts.headers, body)?;
    let outcome = receive(app, &mut form).await;
    // A client that is still sending hears only afterwards what is wrong.
    form.drain().await;
    let (mut staged, fields) = outcome?;
    if fields.framed {
        let reframed = framed(app, staged).await?;
        // It was an artifact before: its beginning says nothing about what is wrong now.
        staged = reframed.map_err(|rejected| refuse(rejected, &[0]))?;
    }
    store(app, staged, fields).await
}

/// A place among those who may work on artifacts at once.
pub(super) async fn place(app: &App) -> Result<impl Drop> {
    let place = tokio::time::timeout(GRACE, app.uploads.acquire()).await;
    let place = place.map_err(|_| Refusal::unavailable(60))?;
    place.map_err(|err| Refusal::internal(&err))
}

/// Whether there is space for so many bytes more.
pub(super) fn space(app: &App, bytes: u64) -> Result<()> {
    let wanted = app.settings.min_free.saturating_add(bytes);
    if app.blobs.free().is_some_and(|free| free < wanted) {
        return Err(Refusal::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "there is too little free space for artifacts on the server: delete some, or give it more",
        ));
    }
    Ok(())
}

async fn receive(app: &App, form: &mut Form) -> Result<(Staged, Fields)> {
    let mut fields = Fields::default();
    loop {
        match form.next().await? {
            Event::Part(Some(name)) if name == "artifact" => break,
            Event::Part(Some(name)) => match name.as_str() {
                "description" => fields.description = form.field("description").await?,
                "size" => fields.size = Some(parse("size", &form.field("size").await?)?),
                "artifact_id" => {
                    fields.id = Some(parse("artifact_id", &form.field("artifact_id").await?)?)
                }
                "framed" => fields.framed = parse("framed", &form.field("framed").await?)?,
                _ => {}
            },
            // Of parts that nobody knows.
            Event::Part(None) | Event::Data(_) | Event::EndOfPart => {}
            Event::End => return Err(Refusal::bad_request("the form has no artifact in it")),
        }
    }
    let limit = app.settings.max_artifact_size;
    let too_large = || Refusal::too_large(format!("an artifact has at most {limit} bytes"));
    if fields.size.is_some_and(|size| size > limit) {
        return Err(too_large());
    }
    space(app, fields.size.unwrap_or(0))?;
    if let Some(quota) = app.settings.artifact_quota {
        let stored = app.store.artifact_bytes().await?;
        if stored.saturating_add(fields.size.unwrap_or(1)) > quota {
            return Err(over_quota());
        }
    }
    let verification = app.settings.verification.clone();
    let staging =
        Staging::begin(&app.blobs, verification).map_err(|err| Refusal::internal(&err))?;
    let mut received: u64 = 0;
    let mut piece = BytesMut::new();
    let mut head = Vec::new();
    loop {
        let complete = match form.next().await? {
            Event::Data(bytes) => {
                let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                app.metrics
                    .bytes_received
                    .fetch_add(count, Ordering::Relaxed);
                received = received.saturating_add(count);
                if received > fields.size.unwrap_or(limit) {
                    let wrong = || {
                        Refusal::bad_request("the artifact is larger than the size that was given")
                    };
                    return Err(if fields.size.is_some() {
                        wrong()
                    } else {
                        too_large()
                    });
                }
                let more = foreign::HEAD.saturating_sub(head.len()).min(bytes.len());
                head.extend_from_slice(bytes.get(..more).unwrap_or_default());
                piece.extend_from_slice(&bytes);
                false
            }
            Event::EndOfPart => true,
            Event::Part(_) | Event::End => return Err(Refusal::bad_request("the form is damaged")),
        };
        if (piece.len() >= PIECE || complete && !piece.is_empty())
            && !staging.push(piece.split().freeze()).await
        {
            break;
        }
        if complete {
            if fields.size.is_some_and(|size| size != received) {
                let given = fields.size.unwrap_or_default();
                let message = format!(
                    "the artifact has {received} bytes and not {given}, the size that was given"
                );
                return Err(Refusal::bad_request(message));
            }
            break;
        }
    }
    let staged = staging.finish().await;
    let staged = staged.map_err(|rejected| refuse(rejected, &head))?;
    Ok((staged, fields))
}

/// Makes a staged artifact known. To its end, also if the client is gone meanwhile.
async fn store(app: &Arc<App>, staged: Staged, fields: Fields) -> Result<Id> {
    let app = Arc::clone(app);
    let stored = tokio::spawn(inherit(async move {
        let id = fields.id.unwrap_or_else(new_id);
        let combinations = staged.checked.content.combinations().ok_or_else(|| {
            Refusal::bad_request("the artifact depends on too many combinations of values")
        })?;
        let name = staged.checked.name.clone();
        if app.store.is_ambiguous(&name, &combinations).await? {
            return Err(ambiguous(&name, &combinations));
        }
        if app.store.artifact(id).await?.is_some() {
            return Err(taken());
        }
        let new = StoredArtifact {
            id,
            name: name.clone(),
            description: fields.description,
            size: staged.checked.size,
            sha256: staged.sha256.to_string(),
            modified: now().millis(),
            content: staged.checked.content.clone(),
        };
        // The bytes first, durably; only then the row that makes them count.
        staged.publish(&app.blobs, &new).await.map_err(|err| {
            if err.kind() == ErrorKind::AlreadyExists {
                taken()
            } else {
                Refusal::internal(&err)
            }
        })?;
        let quota = app.settings.artifact_quota;
        let refusal = match app
            .store
            .add_artifact(new.clone(), combinations.clone(), quota)
            .await?
        {
            Added::Done => {
                info!(artifact:% = id, name:% = name; "artifact uploaded");
                return Ok(id);
            }
            Added::Ambiguous => ambiguous(&name, &combinations),
            // Then what was put there may be the other's.
            Added::Exists => return Err(taken()),
            Added::OverQuota => over_quota(),
        };
        app.blobs.discard(&new).await;
        Err(refusal)
    }));
    stored.await.map_err(|err| Refusal::internal(&err))?
}

fn ambiguous(name: &str, combinations: &[String]) -> Refusal {
    let depends: Vec<serde_json::Value> = combinations
        .iter()
        .take(20)
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect();
    Refusal::conflict("An artifact with the same name and depends already exists").member(
        "metadata",
        json!({"conflict": "artifact", "name": name, "artifact_depends": depends}),
    )
}

fn taken() -> Refusal {
    Refusal::conflict("there is an artifact with this identifier")
}

pub(super) fn over_quota() -> Refusal {
    Refusal::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "all artifacts together would be larger than the server's --artifact-quota: delete some that no device needs",
    )
}

/// Why an artifact was not taken that begins with `head`.
pub(super) fn refuse(rejected: Rejected, head: &[u8]) -> Refusal {
    match rejected {
        Rejected::Storage(err) if err.kind() == ErrorKind::StorageFull => Refusal::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "there is no space left for the artifact",
        ),
        Rejected::Storage(err) => Refusal::internal(&err),
        Rejected::Artifact(err) => {
            let mut reason = err.to_string();
            let mut source = std::error::Error::source(&err);
            while let Some(err) = source {
                reason = format!("{reason}: {err}");
                source = err.source();
            }
            if let (Kind::Invalid, Some(sentence)) = (err.kind(), foreign::describe(head)) {
                return Refusal::bad_request(sentence);
            }
            match err.kind() {
                Kind::Limit => Refusal::too_large(format!("the artifact is too large: {reason}")),
                Kind::Source
                | Kind::Invalid
                | Kind::Untrusted
                | Kind::Unsupported
                | Kind::Input
                | Kind::Sink => {
                    Refusal::bad_request(format!("the artifact is not accepted: {reason}"))
                }
            }
        }
    }
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T> {
    let wrong = || Refusal::bad_request(format!("the form's {name} is unusable: {text:?}"));
    text.trim().parse().map_err(|_| wrong())
}

/// The form of a request, as it comes in.
struct Form {
    form: Multipart,
    body: Body,
    ended: bool,
    begun: Instant,
    received: u64,
}

impl Form {
    fn new(headers: &HeaderMap, body: Body) -> Result<Self> {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let form = Multipart::new(kind.unwrap_or_default());
        let form = form.map_err(|fault| Refusal::bad_request(fault.to_string()))?;
        Ok(Self {
            form,
            body,
            ended: false,
            begun: Instant::now(),
            received: 0,
        })
    }

    /// What comes next. A form that breaks off is refused.
    async fn next(&mut self) -> Result<Event> {
        loop {
            let event = self
                .form
                .next()
                .map_err(|fault| Refusal::bad_request(format!("the form is damaged: {fault}")))?;
            if let Some(event) = event {
                return Ok(event);
            }
            let Some(piece) = self.piece().await? else {
                return Err(Refusal::bad_request("the form breaks off"));
            };
            self.form.push(&piece);
        }
    }

    /// The content of the current part, which is a short text.
    async fn field(&mut self, name: &str) -> Result<String> {
        let mut content = Vec::new();
        loop {
            match self.next().await? {
                Event::Data(bytes) => content.extend_from_slice(&bytes),
                Event::EndOfPart => break,
                Event::Part(_) | Event::End => {
                    return Err(Refusal::bad_request("the form is damaged"));
                }
            }
            if content.len() > FIELD {
                return Err(Refusal::bad_request(format!(
                    "the form's {name} has more than {FIELD} bytes"
                )));
            }
        }
        String::from_utf8(content)
            .map_err(|_| Refusal::bad_request(format!("the form's {name} is not UTF-8")))
    }

    /// Reads on for a while, to no purpose but that the client gets to reading the answer.
    async fn drain(&mut self) {
        let end = Instant::now().checked_add(GRACE);
        while !self.ended && end.is_some_and(|end| Instant::now() < end) {
            if self.piece().await.is_err() {
                return;
            }
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        let piece = next_piece(&mut self.body)
            .await
            .inspect_err(|_| self.ended = true)?;
        let Some(piece) = piece else {
            self.ended = true;
            return Ok(None);
        };
        self.received = self
            .received
            .saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        let elapsed = self.begun.elapsed();
        if elapsed > GRACE && self.received < elapsed.as_secs().saturating_mul(SLOWEST) {
            self.ended = true;
            return Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "the upload is too slow",
            ));
        }
        Ok(Some(piece))
    }
}
