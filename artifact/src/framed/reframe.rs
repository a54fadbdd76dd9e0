//! Giving an artifact that exists a framed payload, without the key that it was signed with.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::build::{Built, Layout};
use super::image::Image;
use super::meta_data;
use crate::artifact::Artifact;
use crate::compression::Compression;
use crate::error::Error;
use crate::name::FileName;
use crate::sign::copy_member;
use crate::signature::Verification;
use crate::tar_read::TarReader;
use crate::tar_write;

/// Copies the artifact `source` to `out` with its payload in frames. Version, manifest, signature and header keep their
/// bytes: the manifest lists the sum of the image, not that of the member that holds it compressed. So nothing vouches
/// for the index; see the [module](super).
///
/// The artifact is checked as a whole, but not its signature. `image` and `frames` are places to keep the image and its
/// frames; `look` sees what was built before it is written.
///
/// # Errors
/// [`Error::Description`] if it is not a rootfs-image, or is framed and says so in its header; those of reading an
/// artifact and of [`Layout::build`].
pub fn reframe<R, I, F, W>(
    source: &mut R,
    layout: &Layout<'_>,
    (image, frames): (I, F),
    look: impl FnOnce(&Built<F>),
    out: &mut W,
) -> Result<(), Error>
where
    R: Read + Seek,
    I: Read + Write + Seek,
    F: Read + Write + Seek,
    W: Write,
{
    let image = unpack(source, image)?;
    let payload = layout.build(image, frames)?;
    look(&payload);

    source.seek(SeekFrom::Start(0)).map_err(Error::Source)?;
    let mut tar = TarReader::new(&mut *source, "the artifact");
    while let Some(member) = tar.next_member()? {
        if Compression::of_member(&member.name, "data/0000.tar").is_some() {
            break;
        }
        copy_member(&member.name, &mut tar, out)?;
    }
    payload.write(out)?;
    out.write_all(&tar_write::END).map_err(Error::Sink)?;
    out.flush().map_err(Error::Sink)
}

/// The image of an artifact, which is checked to its end.
fn unpack<R: Read, I: Read + Write + Seek>(
    source: &mut R,
    mut place: I,
) -> Result<Image<I>, Error> {
    let refuse = |rule: &str| Error::Description {
        rule: rule.to_owned(),
    };
    let mut artifact = Artifact::open(source, &Verification::off())?;
    let header = artifact.header();
    if !header
        .payload_type()
        .is_some_and(|payload| payload.is_rootfs_image())
    {
        return Err(refuse("only a rootfs-image can be framed"));
    }
    if meta_data::index_sum(header)?.is_some() {
        return Err(refuse(
            "it is framed, and its header has the sum of its index: write it again with --framed",
        ));
    }
    let name: FileName = match artifact.next_file()? {
        None => return Err(refuse("it has no image")),
        Some(mut file) => {
            io::copy(&mut file, &mut place).map_err(Error::from_read)?;
            file.info().name.clone()
        }
    };
    artifact.finish()?;
    Image::survey(name, place)
}
