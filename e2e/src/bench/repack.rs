//! An artifact with its payload compressed in another way: the sums in its manifest, and so its
//! signature, are of what is inside.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

use crate::compression::Compression;
use crate::lab::Lab;
use crate::workplace::remove_if_there;

/// The payload in an artifact that is not compressed.
const PAYLOAD: &str = "data/0000.tar";

/// Writes the artifact `plain`, whose payload is not compressed, to `out` with its payload
/// compressed.
pub(crate) fn repack(lab: &Lab, plain: &Path, compression: Compression, out: &Path) -> Result<()> {
    let (payload, compressed) = (
        lab.workplace.path("payload"),
        lab.workplace.path("payload.compressed"),
    );
    let mut artifact = tar::Archive::new(File::open(plain)?);
    #[expect(
        clippy::disallowed_methods,
        reason = "after a power cut it is made again"
    )]
    let mut result = tar::Builder::new(File::create(out)?);
    for member in artifact.entries()? {
        let mut member = member?;
        let name = member.path()?.to_string_lossy().into_owned();
        let mut header = member.header().clone();
        if name != PAYLOAD {
            result.append(&header, &mut member)?;
            continue;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "after a power cut it is made again"
        )]
        io::copy(&mut member, &mut File::create(&payload)?)?;
        let mut command = compression.file(&payload, &compressed);
        lab.interrupt.run(&mut command)?;
        let file = File::open(&compressed)?;
        header.set_size(file.metadata()?.len());
        result.append_data(&mut header, format!("{name}.{compression}"), file)?;
    }
    result
        .into_inner()
        .context("the artifact is not complete")?;
    for file in [payload, compressed] {
        remove_if_there(&file)?;
    }
    Ok(())
}
