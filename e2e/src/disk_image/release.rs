//! Artifacts that go with an image: what is in it, and the update to it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tandem_artifact::{Compressor, Content, Draft, FileName, Script, ScriptName, Signer, Writer};

/// What a release is called, and for whom it is.
#[derive(Clone, Debug)]
pub struct Release {
    /// The name of its artifact.
    pub name: String,
    /// The type of device that it is for.
    pub device_type: String,
    /// The private key that signs it.
    pub signing_key: Option<PathBuf>,
    /// How its payload is compressed.
    pub compressor: Compressor,
    /// State scripts that come with it.
    pub scripts: Vec<PathBuf>,
}

impl Release {
    /// Writes the artifact that installs the root file system `image` to `path`.
    ///
    /// # Errors
    /// When something cannot be read or written, or cannot be in an artifact.
    pub fn write(&self, image: &Path, path: &Path) -> Result<()> {
        let (mut draft, content) = self.draft(image)?;
        for path in &self.scripts {
            let attempt = || format!("cannot take the state script {}", path.display());
            let name = path.file_name().and_then(|name| name.to_str());
            let name = ScriptName::parse(name.with_context(attempt)?).with_context(attempt)?;
            let content = fs::read(path).with_context(attempt)?;
            draft.scripts.push(Script { name, content });
        }
        self.finish(&draft, vec![content], path)
    }

    /// Writes the artifact that tells a new device what is in it, which is `image`.
    ///
    /// # Errors
    /// When something cannot be read or written, or cannot be in an artifact.
    pub(crate) fn write_bootstrap(&self, image: &Path, path: &Path) -> Result<()> {
        let (draft, _) = self.draft(image)?;
        let draft = Draft {
            payload_type: None,
            clears_provides: Vec::new(),
            ..draft
        };
        self.finish(&draft, Vec::new(), path)
    }

    fn draft(&self, image: &Path) -> Result<(Draft, Content<File>)> {
        let attempt = || format!("cannot read the root file system {}", image.display());
        let file = File::open(image).with_context(attempt)?;
        let content = Content::measure(FileName::parse("rootfs.ext4")?, file);
        let content = content.with_context(attempt)?;
        let draft = Draft::rootfs_image(&self.name, vec![self.device_type.clone()], &content);
        Ok((draft, content))
    }

    fn finish(&self, draft: &Draft, files: Vec<Content<File>>, path: &Path) -> Result<()> {
        let attempt = || format!("cannot make the artifact {}", path.display());
        let signer = match &self.signing_key {
            None => None,
            Some(key) => {
                let attempt = || format!("cannot use the signing key {}", key.display());
                let pem = fs::read(key).with_context(attempt)?;
                Some(Signer::from_pem(&key.display().to_string(), &pem).with_context(attempt)?)
            }
        };
        let writer = Writer::new(draft, files, self.compressor, signer.as_ref());
        let mut out = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .with_context(attempt)?;
        writer
            .and_then(|writer| writer.write(&mut out))
            .with_context(attempt)
    }
}
