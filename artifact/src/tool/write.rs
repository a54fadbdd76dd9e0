//! `write`: make an artifact.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tandem_artifact::framed::{FramedWriter, Image, Layout};
use tandem_artifact::{
    Content, Digest, Draft, FileName, Limits, PayloadType, ROOTFS_CHECKSUM, ROOTFS_CHECKSUM_LEGACY,
    Script, ScriptName, Software, Writer,
};

use crate::cli::{
    Command, SoftwareFlags, Usage, Write, WriteBootstrapArtifact, WriteCommon, WriteModuleImage,
    WriteRootfsImage,
};
use crate::output::{self, Output};
use crate::progress::{Progress, Watched};
use crate::{framed, input};

pub(crate) fn run(write: &Write, command: &Command) -> anyhow::Result<()> {
    match write {
        Write::RootfsImage(options) => rootfs_image(options, command),
        Write::ModuleImage(options) => module_image(options, command),
        Write::BootstrapArtifact(WriteBootstrapArtifact { common }) => {
            finish(&draft(common), Vec::new(), common, command)
        }
    }
}

fn rootfs_image(options: &WriteRootfsImage, command: &Command) -> anyhow::Result<()> {
    let mut draft = draft(&options.common);
    draft.payload_type = Some(PayloadType::ROOTFS_IMAGE.to_owned());
    draft.scripts = scripts(&options.script)?;
    add_software(&mut draft, &options.software, None, command);

    let inputs = open_files(std::slice::from_ref(&options.file))?;
    let progress = Progress::new("hashing", Some(size(&inputs)), command.quiet);
    if options.framed {
        return framed_image(draft, inputs, options, &progress, command);
    }
    let files = measure(inputs, &options.common, &progress)?;
    provide_checksum(&mut draft, files.first().map(Content::sha256), options);
    finish(&draft, files, &options.common, command)
}

fn provide_checksum(draft: &mut Draft, sum: Option<Digest>, options: &WriteRootfsImage) {
    let key = if options.legacy_rootfs_image_checksum {
        ROOTFS_CHECKSUM_LEGACY
    } else {
        ROOTFS_CHECKSUM
    };
    let sum = sum.filter(|_| !options.no_checksum_provide);
    draft
        .provides
        .extend(sum.map(|sum| (key.to_owned(), sum.to_string())));
}

fn framed_image(
    mut draft: Draft,
    inputs: Vec<Input>,
    options: &WriteRootfsImage,
    progress: &Progress,
    command: &Command,
) -> anyhow::Result<()> {
    let common = &options.common;
    let path = common.output_path.as_path();
    let size = size(&inputs);
    let input = inputs.into_iter().next().context("there is no image")?;
    let image = Image::survey(input.name, progress.watch(input.file))?;
    provide_checksum(&mut draft, Some(image.sha256()), options);
    let previous = framed::previous(options.previous.as_deref(), progress)?;
    progress.next("compressing", Some(size));
    let layout = Layout {
        compressor: command.frame_compressor(common.compression),
        hint: previous.as_ref(),
        index: options.index.unwrap_or_default(),
        ..Layout::default()
    };
    let payload = layout.build(image, framed::scratch(path)?)?;
    framed::tell(&payload, options.previous.as_deref(), command)?;
    let signer = common.key.as_deref().map(input::signer).transpose()?;
    let writer = FramedWriter::new(&draft, payload, signer.as_ref())?;
    if let Some(stream) = stream(path)? {
        return Ok(writer.write(&mut BufWriter::new(stream))?);
    }
    let mut output = BufWriter::with_capacity(1 << 20, Output::create(path)?);
    writer
        .write(&mut output)
        .with_context(|| path.display().to_string())?;
    keep(output)
}

fn module_image(options: &WriteModuleImage, command: &Command) -> anyhow::Result<()> {
    let mut draft = draft(&options.common);
    draft.payload_type = Some(options.payload_type.clone());
    draft.scripts = scripts(&options.script)?;
    draft.meta_data = match &options.meta_data {
        Some(path) => Some(
            input::read_small(path, Limits::default().json)
                .with_context(|| format!("cannot read meta-data {path:?}"))?,
        ),
        None => None,
    };
    add_software(
        &mut draft,
        &options.software,
        Some(&options.payload_type),
        command,
    );

    let inputs = open_files(&options.file)?;
    let progress = Progress::new("hashing", Some(size(&inputs)), command.quiet);
    let files = measure(inputs, &options.common, &progress)?;
    finish(&draft, files, &options.common, command)
}

/// What all kinds of artifacts have.
fn draft(common: &WriteCommon) -> Draft {
    Draft {
        name: common.artifact_name.clone(),
        group: common.provides_group.clone(),
        device_types: common.device_types(),
        depends_on_names: common.artifact_name_depends.clone(),
        depends_on_groups: common.depends_groups.clone(),
        depends: common
            .depends
            .iter()
            .map(|pair| (pair.key.clone(), vec![pair.value.clone()]))
            .collect(),
        provides: common
            .provides
            .iter()
            .map(|pair| (pair.key.clone(), pair.value.clone()))
            .collect(),
        clears_provides: common.clears_provides.clone(),
        ..Draft::default()
    }
}

fn add_software(
    draft: &mut Draft,
    flags: &SoftwareFlags,
    default_name: Option<&str>,
    command: &Command,
) {
    let software = Software {
        filesystem: flags.software_filesystem.as_deref(),
        name: flags.software_name.as_deref(),
        version: flags.software_version.as_deref(),
        no_default: flags.no_default_software_version,
    };
    if let Some((key, value)) = software.provides(default_name, &draft.name) {
        let given = draft
            .provides
            .get(&key)
            .is_some_and(|given| !given.is_empty());
        if !given || command.software_goes_first(&key) {
            draft.provides.insert(key, value);
        }
    }
    if !flags.no_default_clears_provides {
        draft
            .clears_provides
            .extend(software.clears(default_name, &draft.clears_provides));
    }
}

fn scripts(paths: &[PathBuf]) -> anyhow::Result<Vec<Script>> {
    paths
        .iter()
        .map(|path| {
            let content = input::read_small(path, Limits::default().script)
                .with_context(|| format!("cannot read state script {path:?}"))?;
            let name = ScriptName::parse(file_name(path)?).map_err(|err| Usage(err.to_string()))?;
            Ok(Script { name, content })
        })
        .collect()
}

/// A payload file that is open.
struct Input {
    name: FileName,
    file: File,
    size: u64,
}

fn open_files(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    paths
        .iter()
        .map(|path| {
            let name = FileName::parse(file_name(path)?).map_err(|err| Usage(err.to_string()))?;
            let opened =
                File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
            let (file, metadata) =
                opened.with_context(|| format!("cannot open payload file {path:?}"))?;
            // Every payload file is read twice: for the manifest in front, and then for the payload.
            if !metadata.is_file() && !is_block_device(&metadata) {
                return Err(Usage(format!(
                    "payload file {path:?} is not a file that can be read twice"
                ))
                .into());
            }
            Ok(Input {
                name,
                file,
                size: metadata.len(),
            })
        })
        .collect()
}

fn is_block_device(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    metadata.file_type().is_block_device()
}

fn size(inputs: &[Input]) -> u64 {
    inputs
        .iter()
        .map(|input| input.size)
        .fold(0, u64::saturating_add)
}

/// Reads all payload files for the manifest. They are read again when they are written, twice if that is to a pipe.
fn measure<'a>(
    inputs: Vec<Input>,
    common: &WriteCommon,
    progress: &'a Progress,
) -> anyhow::Result<Vec<Content<Watched<'a, File>>>> {
    let size = size(&inputs);
    let measured = inputs
        .into_iter()
        .map(|input| Content::measure(input.name, progress.watch(input.file)));
    let files = measured.collect::<Result<_, _>>()?;
    let passes = if input::is_standard(&common.output_path) {
        2
    } else {
        1
    };
    progress.next("writing", Some(size.saturating_mul(passes)));
    Ok(files)
}

fn finish(
    draft: &Draft,
    files: Vec<Content<Watched<'_, File>>>,
    common: &WriteCommon,
    command: &Command,
) -> anyhow::Result<()> {
    let signer = common.key.as_deref().map(input::signer).transpose()?;
    let writer = Writer::new(
        draft,
        files,
        command.compressor(common.compression),
        signer.as_ref(),
    )?;
    let path = common.output_path.as_path();
    if let Some(stream) = stream(path)? {
        return Ok(writer.write_stream(&mut BufWriter::new(stream))?);
    }
    let mut output = BufWriter::with_capacity(1 << 20, Output::create(path)?);
    writer
        .write(&mut output)
        .with_context(|| path.display().to_string())?;
    keep(output)
}

/// What an output that cannot be replaced is written through: standard output, a pipe, a device.
fn stream(path: &Path) -> anyhow::Result<Option<Box<dyn io::Write>>> {
    Ok(match output::special_file(path)? {
        _ if input::is_standard(path) => Some(Box::new(io::stdout().lock())),
        Some(special) => Some(Box::new(special)),
        None => None,
    })
}

/// Gives a finished output its name.
fn keep(mut output: BufWriter<Output>) -> anyhow::Result<()> {
    output.flush()?;
    output
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .replace()
}

fn file_name(path: &Path) -> anyhow::Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.ok_or_else(|| Usage(format!("{path:?} has no name that an artifact can hold")).into())
}
