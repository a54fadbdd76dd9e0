//! `tandem-server artifact`

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use axum::body::Body;
use bytes::Bytes;
use clap::Subcommand;
use futures_util::stream;
use http::{Method, Uri, header};
use http_body_util::BodyExt;
use serde_json::json;
use tandem_api::management::{Artifact, ArtifactLink};
use tandem_artifact::Sha256;

use super::client::{Client, escape};
use super::output::{Output, Table, size};
use super::progress::Progress;
use crate::durable;
use crate::exit::{Because, Exit};
use crate::secret::new_id;
use crate::store::Id;

const PATH: &str = "/api/management/v1/deployments/artifacts";

/// What to do with artifacts. ARTIFACT is an identifier, or a name that only one artifact has
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Upload an artifact; it is checked while it is uploaded
    Upload {
        /// The file
        file: PathBuf,
        /// What to write about it
        #[arg(long, default_value = "")]
        description: String,
        /// Put its payload into frames, so that devices fetch only what they do not have; the server takes the release
        /// that most of them run as a hint
        #[arg(long)]
        framed: bool,
    },
    /// List all artifacts
    List,
    /// Show what an artifact says about itself
    Show {
        /// Which one
        artifact: String,
    },
    /// Delete an artifact that no active deployment uses
    Delete {
        /// Which one
        artifact: String,
    },
    /// Download an artifact
    Download {
        /// Which one
        artifact: String,
        /// Where to; NAME.mender without this
        #[arg(long, short)]
        output: Option<PathBuf>,
    },
}

/// Does it.
///
/// # Errors
/// If it cannot be done.
pub async fn run(verb: Verb, client: &mut Client, output: Output) -> Result<()> {
    match verb {
        Verb::Upload {
            file,
            description,
            framed,
        } => {
            let id = upload(client, &file, &description, framed).await?;
            output.done(
                &json!({"id": id}),
                &format!("uploaded {} as {id}", file.display()),
            )
        }
        Verb::List => {
            let artifacts: Vec<Artifact> = client.get(PATH).await?;
            output.show(&artifacts, |artifacts| {
                let mut table = Table::new(&[
                    "ID",
                    "NAME",
                    "FOR",
                    "SIZE",
                    "SIGNED",
                    "SINCE",
                    "DESCRIPTION",
                ]);
                for artifact in artifacts {
                    table.row([
                        artifact.id.clone(),
                        artifact.name.clone(),
                        artifact.device_types_compatible.join(", "),
                        size(artifact.size),
                        if artifact.signed { "yes" } else { "no" }.to_owned(),
                        artifact.modified.to_string(),
                        artifact.description.clone(),
                    ]);
                }
                table.render()
            })
        }
        Verb::Show { artifact } => {
            let artifact = find(client, &artifact).await?;
            output.show(&artifact, describe)
        }
        Verb::Delete { artifact } => {
            let artifact = find(client, &artifact).await?;
            client.delete(&format!("{PATH}/{}", artifact.id)).await?;
            output.done(
                &json!({"deleted": artifact.id}),
                &format!("deleted {} ({})", artifact.name, artifact.id),
            )
        }
        Verb::Download {
            artifact,
            output: to,
        } => {
            let artifact = find(client, &artifact).await?;
            let to = to.unwrap_or_else(|| file_name(&artifact.name));
            download(client, &artifact, &to).await?;
            output.done(
                &json!({"file": to}),
                &format!("downloaded {} to {}", artifact.name, to.display()),
            )
        }
    }
}

async fn upload(
    client: &mut Client,
    path: &Path,
    description: &str,
    framed: bool,
) -> Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let length = file.metadata().with_context(cannot)?.len();
    let boundary = new_id().simple().to_string();
    let field = |name: &str, value: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    let head = format!(
        "{}{}{}--{boundary}\r\nContent-Disposition: form-data; name=\"artifact\"; filename=\"artifact.mender\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n",
        field("size", &length.to_string()),
        field("description", description),
        field("framed", if framed { "true" } else { "false" }),
    );
    let tail = format!("\r\n--{boundary}--\r\n");
    let kind = format!("multipart/form-data; boundary={boundary}");
    let body = Body::from_stream(pieces(head, file, tail, Progress::new(length)));
    let response = client.send(Method::POST, PATH, Some(&kind), body).await?;
    let location = response
        .headers()
        .get(header::LOCATION)
        .and_then(|location| location.to_str().ok());
    let id = location.and_then(|location| location.rsplit('/').next());
    Ok(id.unwrap_or_default().to_owned())
}

/// A form around a file, read as it is sent.
fn pieces(
    head: String,
    file: File,
    tail: String,
    progress: Progress,
) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    enum State {
        Head(String),
        File,
        End,
    }
    let begin = (State::Head(head), file, tail, progress);
    stream::try_unfold(begin, |(state, mut file, tail, mut progress)| async move {
        Ok(match state {
            State::Head(head) => Some((Bytes::from(head), (State::File, file, tail, progress))),
            State::File => {
                let mut buffer = vec![0; 128 << 10];
                // This program has nothing else to do meanwhile.
                let count = file.read(&mut buffer)?;
                buffer.truncate(count);
                progress.add(count);
                if count == 0 {
                    progress.finish();
                    let end = Bytes::from(tail.clone());
                    Some((end, (State::End, file, tail, progress)))
                } else {
                    Some((Bytes::from(buffer), (State::File, file, tail, progress)))
                }
            }
            State::End => None,
        })
    })
}

async fn download(client: &mut Client, artifact: &Artifact, to: &Path) -> Result<()> {
    let link: ArtifactLink = client
        .get(&format!("{PATH}/{}/download", artifact.id))
        .await?;
    let uri: Uri = link.uri.parse().context("cannot understand the link")?;
    let path = uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    // The link leads to the server that made it, whatever name it has for itself.
    let response = client.send(Method::GET, &path, None, Body::empty()).await?;
    let etag = response
        .headers()
        .get(header::ETAG)
        .and_then(|etag| etag.to_str().ok());
    let wanted = etag.unwrap_or_default().trim_matches('"').to_owned();
    let cannot = || format!("cannot write {}", to.display());
    let dir = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let temporary = dir.join(format!(".{}.part", new_id()));
    let mut file = File::create_new(&temporary).with_context(cannot)?;
    let outcome = receive(response, &mut file, artifact.size, &wanted).await;
    let placed = outcome.and_then(|()| {
        file.sync_all().with_context(cannot)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the content is on the medium, checked"
        )]
        std::fs::rename(&temporary, to).with_context(cannot)?;
        durable::sync_dir(dir).with_context(cannot)
    });
    if placed.is_err() {
        // The reason of the failure is more interesting than that of this one.
        let _ = std::fs::remove_file(&temporary);
    }
    placed
}

async fn receive(
    response: http::Response<hyper::body::Incoming>,
    file: &mut File,
    length: u64,
    wanted: &str,
) -> Result<()> {
    let mut body = response.into_body();
    let (mut progress, mut sum) = (Progress::new(length), Sha256::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the download breaks off")?;
        if let Some(bytes) = frame.data_ref() {
            file.write_all(bytes).context("cannot write the file")?;
            sum.update(bytes);
            progress.add(bytes.len());
        }
    }
    progress.finish();
    let sum = sum.finish().to_string();
    if sum != wanted {
        bail!("what came is not the artifact: its SHA-256 is {sum} and not {wanted}");
    }
    Ok(())
}

async fn find(client: &mut Client, wanted: &str) -> Result<Artifact> {
    let named: Vec<Artifact> = client
        .get(&format!("{PATH}?name={}", escape(wanted)))
        .await?;
    match named.as_slice() {
        [one] => Ok(one.clone()),
        [] if wanted.parse::<Id>().is_ok() => client.get(&format!("{PATH}/{wanted}")).await,
        [] => Err(anyhow!(Because(
            Exit::Missing,
            format!("there is no artifact {wanted:?}")
        ))),
        _ => bail!(
            "several artifacts are named {wanted:?}: name one by its identifier (see `artifact list`)"
        ),
    }
}

fn describe(artifact: &Artifact) -> String {
    let mut table = Table::new(&["ARTIFACT", &artifact.id]);
    let mut row = |key: &str, value: String| table.row([key.to_owned(), value]);
    row("name", artifact.name.clone());
    row("description", artifact.description.clone());
    row(
        "size",
        format!("{} ({} bytes)", size(artifact.size), artifact.size),
    );
    row(
        "signed",
        if artifact.signed { "yes" } else { "no" }.to_owned(),
    );
    row("since", artifact.modified.to_string());
    for (key, value) in &artifact.artifact_depends {
        row("depends on", format!("{key} {value}"));
    }
    for (key, value) in &artifact.artifact_provides {
        row("provides", format!("{key} {value:?}"));
    }
    for pattern in artifact.clears_artifact_provides.iter().flatten() {
        row("clears", pattern.clone());
    }
    for update in &artifact.updates {
        row(
            "payload",
            update
                .type_info
                .name
                .clone()
                .unwrap_or_else(|| "none".to_owned()),
        );
        for file in &update.files {
            let sum = file.checksum.clone().unwrap_or_default();
            row("file", format!("{} {} {sum}", file.name, size(file.size)));
        }
    }
    table.render()
}

/// A name for the file that leads nowhere else.
fn file_name(name: &str) -> PathBuf {
    let safe = |c: char| {
        if c.is_alphanumeric() || "._-+".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(100).map(safe).collect();
    format!("{}.mender", name.trim_start_matches('.')).into()
}
