//! An artifact that is here already is put into frames.
//!
//! ```text
//! the place of artifacts -> uploads/ (checked again) -> frames -> the place of artifacts, as another one -> row
//!                                                                                  the old one goes <-'
//! ```
//!
//! It becomes another artifact to caches and to devices that go on with a download, so not while a deployment needs it.

use std::io::{self, BufReader};
use std::sync::Arc;

use log::info;
use tokio::runtime::Handle;

use super::artifacts::missing;
use super::upload::{over_quota, place, refuse, space};
use crate::app::App;
use crate::audit::inherit;
use crate::framing::framed;
use crate::reply::{Refusal, Result};
use crate::secret::new_id;
use crate::staging::{Rejected, Staged};
use crate::store::{Id, Reframed, StoredArtifact};

/// Puts the payload of an artifact into frames, with the release that most devices run as a hint; the identifier that
/// it has from then on.
///
/// # Errors
/// A refusal with a sentence that says why it cannot be.
pub async fn reframe(app: &Arc<App>, id: Id) -> Result<Id> {
    let _place = place(app).await?;
    let old = app.store.artifact(id).await?.ok_or_else(missing)?;
    space(app, old.size)?;
    let (owned, artifact) = (Arc::clone(app), old.clone());
    let runtime = Handle::current();
    let copied = tokio::task::spawn_blocking(move || {
        let source = owned.blobs.reader(&artifact, &runtime);
        let mut source = BufReader::new(source.map_err(Rejected::Storage)?);
        Staged::made(&owned.blobs, &owned.settings.verification, |out| {
            io::copy(&mut source, out)
                .map(|_| ())
                .map_err(Rejected::Storage)
        })
    });
    let copied = copied.await.map_err(|err| Refusal::internal(&err))?;
    let staged = framed(app, copied.map_err(|rejected| refuse(rejected, &[]))?)
        .await?
        .map_err(|rejected| refuse(rejected, &[]))?;
    let sum = staged.sha256.to_string();
    if sum == old.sha256 {
        return Err(Refusal::unprocessable(
            "it cannot be put into frames: it is no root file system of whole blocks, or was framed when it was signed",
        ));
    }
    let new = StoredArtifact {
        id: new_id(),
        size: staged.checked.size,
        sha256: sum,
        ..old
    };
    replace(app, id, staged, new).await
}

/// To its end, also if the client is gone meanwhile.
async fn replace(app: &Arc<App>, old: Id, staged: Staged, new: StoredArtifact) -> Result<Id> {
    let app = Arc::clone(app);
    let replaced = tokio::spawn(inherit(async move {
        // The bytes first, durably; only then the row that makes them count.
        let published = staged.publish(&app.blobs, &new).await;
        published.map_err(|err| Refusal::internal(&err))?;
        let quota = app.settings.artifact_quota;
        let refusal = match app.store.reframe(old, new.clone(), quota).await? {
            Reframed::Done => {
                app.blobs.remove(old).await;
                info!(artifact:% = new.id, name:% = new.name, before:% = old; "artifact framed again");
                return Ok(new.id);
            }
            Reframed::Missing => missing(),
            Reframed::InUse => Refusal::conflict(
                "a deployment that has not ended needs the artifact as it is: frame it when that has ended",
            ),
            Reframed::OverQuota => over_quota(),
        };
        app.blobs.discard(&new).await;
        Err(refusal)
    }));
    replaced.await.map_err(|err| Refusal::internal(&err))?
}
