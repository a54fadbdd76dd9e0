//! Putting the payload of an uploaded artifact into frames, so that devices fetch of it only what they do not have.
//!
//! ```text
//! uploads/A (checked) ─┬─ image ── frames ──> uploads/B (checked again, fsync), A goes
//! the release that ────┘  both in uploads/, without a name
//! most devices run
//! ```
//!
//! The signature stays: the manifest has the sum of the image, not that of what it is compressed to.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::sync::Arc;

use log::info;
use tandem_artifact::framed::{Hint, Layout, reframe};
use tandem_artifact::{Artifact, Compressor, Kind, PayloadType, Verification};
use tokio::runtime::Handle;

use crate::app::App;
use crate::content::Content;
use crate::reply::{Refusal, Result};
use crate::staging::{Rejected, Staged};
use crate::store::{ArtifactFilter, StoredArtifact};

/// Somebody waits for the answer, and the best takes minutes: it is for build machines.
const COMPRESSOR: Compressor = Compressor::ZstdBetter;

/// `staged` with its payload in frames, or as it was if it has none that can be.
///
/// # Errors
/// When there is no room for it.
pub async fn framed(
    app: &Arc<App>,
    staged: Staged,
) -> Result<std::result::Result<Staged, Rejected>> {
    let content = &staged.checked.content;
    let largest = app.settings.max_artifact_size;
    if !is_rootfs_image(content) || content.files.iter().any(|file| file.size > largest) {
        return Ok(Ok(staged));
    }
    let hint = most_run(app, &staged.checked.name, content).await?;
    let (app, runtime) = (Arc::clone(app), Handle::current());
    let framing = move || {
        let hint = hint.and_then(|hint| {
            let image = read_hint(&app, &hint, &runtime);
            image
                .inspect_err(|err| info!("{} is no hint: {err}", hint.name))
                .ok()
        });
        again(&app, staged, hint.as_ref())
    };
    tokio::task::spawn_blocking(framing)
        .await
        .map_err(|err| Refusal::internal(&err))
}

/// Whether an artifact may be put into frames.
pub(crate) fn is_rootfs_image(content: &Content) -> bool {
    content.payload_type.as_deref() == Some(PayloadType::ROOTFS_IMAGE)
}

/// The artifact that most devices run, of those that are here and for the same type of device. Who runs `own` itself
/// needs nothing of it.
async fn most_run(app: &App, own: &str, content: &Content) -> Result<Option<StoredArtifact>> {
    for release in app.store.releases_in_use().await? {
        let Some(name) = release.name.filter(|name| name != own) else {
            continue;
        };
        let filter = ArtifactFilter {
            names: vec![name],
            ..ArtifactFilter::default()
        };
        let found = app
            .store
            .artifacts(&filter)
            .await?
            .into_iter()
            .find(|artifact| {
                let types = artifact.content.device_types();
                is_rootfs_image(&artifact.content)
                    && content
                        .device_types()
                        .iter()
                        .any(|wanted| types.contains(wanted))
            });
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The blocks of the image in an artifact.
fn read_hint(
    app: &App,
    hint: &StoredArtifact,
    runtime: &Handle,
) -> std::result::Result<Hint, tandem_artifact::Error> {
    let bytes = app.blobs.reader(hint, runtime);
    let bytes = bytes.map_err(tandem_artifact::Error::Source)?;
    // It was judged when it came, and decides nothing here.
    let mut artifact = Artifact::open(BufReader::new(bytes), &Verification::off())?;
    let hint = match artifact.next_file()? {
        Some(image) => Hint::read(image).map_err(tandem_artifact::Error::from_read)?,
        None => Hint::read(io::empty()).map_err(tandem_artifact::Error::Source)?,
    };
    artifact.finish()?;
    Ok(hint)
}

/// Writes the artifact again, and checks it again.
fn again(app: &App, staged: Staged, hint: Option<&Hint>) -> std::result::Result<Staged, Rejected> {
    let mut source = BufReader::new(staged.open().map_err(Rejected::Storage)?);
    let room = || app.blobs.scratch().map_err(Rejected::Storage);
    let layout = Layout {
        compressor: COMPRESSOR,
        hint,
        ..Layout::default()
    };
    let mut used = None;
    let made = Staged::made(&app.blobs, &app.settings.verification, |out: &mut File| {
        let mut out = BufWriter::new(out);
        reframe(
            &mut source,
            &layout,
            (room()?, room()?),
            |built| used = Some(built.hint()),
            &mut out,
        )
        .and_then(|()| out.flush().map_err(tandem_artifact::Error::Sink))
        .map_err(rejected)
    });
    match made {
        Ok(made) => {
            info!(
                name:% = made.checked.name, before = staged.checked.size, after = made.checked.size, hint:? = used;
                "artifact framed"
            );
            Ok(made)
        }
        // It cannot be framed, or is already.
        Err(Rejected::Artifact(err)) if err.kind() == Kind::Input => {
            info!(name:% = staged.checked.name; "artifact not framed: {err}");
            Ok(staged)
        }
        Err(err) => Err(err),
    }
}

/// Storage fails, or the artifact does.
fn rejected(err: tandem_artifact::Error) -> Rejected {
    if let tandem_artifact::Error::Sink(err) | tandem_artifact::Error::Source(err) = err {
        Rejected::Storage(err)
    } else {
        Rejected::Artifact(err)
    }
}
