//! Opening the artifact storage of a server: where it was, or where it is to be from now on.

use anyhow::{Context, Result, bail};
use log::info;

use super::{Blobs, Place};
use crate::app::Settings;
use crate::data_dir::{DataDir, Lock};
use crate::link::Links;
use crate::store::{ArtifactFilter, Store};

impl Blobs {
    /// The storage of the server in `dir`, tidied up. If it is to be in another place, what is there is copied first;
    /// the old place is left as it is.
    ///
    /// # Errors
    /// If it cannot be opened, or not all of it be copied.
    pub async fn of_server(
        dir: &DataDir,
        lock: &Lock,
        settings: &Settings,
        store: &Store,
    ) -> Result<Self> {
        let old = Place::remembered(dir)?;
        let place = match &settings.artifacts {
            Some(given) => Place::resolve(given.clone(), dir),
            None => old.clone(),
        };
        if settings.links == Links::Store && !matches!(place, Place::Bucket { .. }) {
            bail!(
                "--artifact-links store needs artifacts in a store: give --artifacts s3://BUCKET[/PREFIX]"
            );
        }
        let cannot = || format!("cannot use {place} for artifacts");
        let blobs = Self::open(dir, &place).with_context(cannot)?;
        blobs
            .clean(&store.artifact_ids().await?, lock)
            .await
            .with_context(cannot)?;
        if place != old {
            let artifacts = store.artifacts(&ArtifactFilter::default()).await?;
            if !artifacts.is_empty() {
                let cannot = || format!("cannot move the artifacts from {old} to {place}");
                let from = Self::open(dir, &old).with_context(cannot)?;
                blobs
                    .take_over(&from, &artifacts)
                    .await
                    .with_context(cannot)?;
            }
            // The bytes are all there: only now does it count.
            place.remember(dir)?;
            info!("artifacts are kept in {place} now; what was in {old} is left there");
        }
        Ok(blobs)
    }
}
