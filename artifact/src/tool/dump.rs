//! `dump`: take an artifact apart.
//!
//! Names come from the artifact, but only checked ones: none has a slash in it. Nothing gets its name before the whole
//! artifact was found to be right.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use tandem_artifact::{ARTIFACT_GROUP, ARTIFACT_NAME, Artifact, Header};

use crate::cli::{Command, Dump};
use crate::input;
use crate::output::Output;
use crate::progress::Progress;
use crate::read::other_depends;

pub(crate) fn run(dump: &Dump, command: &Command) -> anyhow::Result<()> {
    let path = &dump.file;
    let verification = input::verification(&dump.key)?;
    let source = input::open(path)?;
    let progress = Progress::new("dumping", source.size, command.quiet);
    let mut artifact = Artifact::open(progress.watch(source.reader), &verification)
        .with_context(|| path.display().to_string())?;
    let header = artifact.header().clone();
    let mut parts = Parts::default();

    for script in header.scripts().iter() {
        parts.add(
            "--script",
            dump.scripts.as_deref(),
            script.name.as_str(),
            &mut script.content.as_slice(),
        )?;
    }
    if let Some(meta_data) = header.meta_data() {
        parts.add(
            "--meta-data",
            dump.meta_data.as_deref(),
            "0000.meta-data",
            &mut &*meta_data,
        )?;
    }
    while let Some(mut file) = artifact
        .next_file()
        .with_context(|| path.display().to_string())?
    {
        let name = file.info().name.clone();
        parts
            .add("--file", dump.files.as_deref(), name.as_str(), &mut file)
            .with_context(|| path.display().to_string())?;
    }
    artifact
        .finish()
        .with_context(|| path.display().to_string())?;
    drop(progress);

    let Parts { outputs, args } = parts;
    let options = (dump.print_cmdline || dump.print0_cmdline)
        .then(|| command_line(&header, args))
        .transpose()?;
    for output in outputs {
        output.keep_new()?;
    }
    match options {
        Some(options) if dump.print0_cmdline => {
            let line: String = options.iter().map(|option| format!("{option}\0")).collect();
            io::stdout().write_all(line.as_bytes())?;
        }
        Some(options) => {
            let quoted: Vec<_> = options.iter().map(|option| quoted(option)).collect();
            writeln!(io::stdout(), "{}", quoted.join(" "))?;
        }
        None => {}
    }
    Ok(())
}

/// What has been dumped, and the options that put it into an artifact again.
#[derive(Default)]
struct Parts {
    outputs: Vec<Output>,
    args: Vec<String>,
}

impl Parts {
    /// Writes `content` as `name` into `folder`, if there is one.
    fn add(
        &mut self,
        option: &str,
        folder: Option<&Path>,
        name: &str,
        content: &mut dyn io::Read,
    ) -> anyhow::Result<()> {
        let Some(folder) = folder else { return Ok(()) };
        fs::create_dir_all(folder).with_context(|| format!("cannot create folder {folder:?}"))?;
        let path = folder.join(name);
        if path.symlink_metadata().is_ok() {
            bail!("{path:?} exists already");
        }
        let mut output = Output::create(&path)?;
        copy(content, &mut output)?;
        self.outputs.push(output);
        self.args
            .extend([option.to_owned(), path.display().to_string()]);
        Ok(())
    }
}

fn copy(content: &mut dyn io::Read, output: &mut Output) -> anyhow::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        match content
            .read(&mut buffer)
            .map_err(tandem_artifact::Error::from_read)?
        {
            0 => return Ok(()),
            count => output.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
}

/// The options that make an artifact with the same header. `module-image` makes every type of payload.
fn command_line(header: &Header, parts: Vec<String>) -> anyhow::Result<Vec<String>> {
    let mut line = vec!["write".to_owned()];
    match header.payload_type() {
        Some(payload_type) => {
            line.extend(["module-image", "--type", payload_type.as_str()].map(ToOwned::to_owned));
            // What they would add is among the provides and patterns already.
            line.extend(
                [
                    "--no-default-software-version",
                    "--no-default-clears-provides",
                ]
                .map(ToOwned::to_owned),
            );
        }
        None => line.push("bootstrap-artifact".to_owned()),
    }
    let mut add = |option: &str, value: &str| line.extend([option.to_owned(), value.to_owned()]);
    add("--artifact-name", header.name());
    if let Some(group) = header.group() {
        add("--provides-group", group);
    }
    let depends = |key| header.depends().as_map().get(key).into_iter().flatten();
    depends(ARTIFACT_NAME).for_each(|name| add("--artifact-name-depends", name));
    header
        .device_types()
        .iter()
        .for_each(|device_type| add("--device-type", device_type));
    depends(ARTIFACT_GROUP).for_each(|group| add("--depends-groups", group));
    for (key, value) in header.provides().into_iter().flatten() {
        add("--provides", &format!("{key}:{value}"));
    }
    for (key, values) in other_depends(header.depends()) {
        let [value] = values else {
            bail!(
                "no command line makes an artifact that depends on one of several values of {key}"
            );
        };
        add("--depends", &format!("{key}:{value}"));
    }
    header
        .clears_provides()
        .into_iter()
        .flatten()
        .for_each(|pattern| add("--clears-provides", pattern));
    line.extend(parts);
    Ok(line)
}

/// As a shell reads it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
