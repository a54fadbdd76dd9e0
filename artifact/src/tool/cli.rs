//! The command line: verbs and options as mender-artifact 3.9 has them, as far as it has them.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::{
    ArgAction, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
};
use tandem_artifact::Compressor;
use tandem_artifact::framed::Index;

/// A whole command line.
pub(crate) struct Command {
    pub(crate) verb: Verb,
    /// No progress on standard error.
    pub(crate) quiet: bool,
    /// The compression given before the verb.
    compression: Option<Compressor>,
    /// Where the options stood.
    matches: ArgMatches,
}

impl Command {
    /// Reads a command line; help and version come as errors too.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Cli::command().try_get_matches_from(args)?;
        let Cli {
            verb,
            compression,
            quiet,
            version: _,
        } = Cli::from_arg_matches(&matches)?;
        Ok(Self {
            verb,
            quiet,
            compression,
            matches,
        })
    }

    /// The compression to write with: the last one given, else gzip.
    pub(crate) fn compressor(&self, after_verb: Option<Compressor>) -> Compressor {
        after_verb.or(self.compression).unwrap_or_default()
    }

    /// The compression to write frames with: the last one given, else the best of zstd.
    pub(crate) fn frame_compressor(&self, after_verb: Option<Compressor>) -> Compressor {
        after_verb
            .or(self.compression)
            .unwrap_or(Compressor::ZstdBest)
    }

    /// Whether the version that `--software-*` options make under `key` goes before one given with `--provides`: as in
    /// mender-artifact, whichever stands last on the command line.
    pub(crate) fn software_goes_first(&self, key: &str) -> bool {
        let mut leaf = &self.matches;
        while let Some((_, deeper)) = leaf.subcommand() {
            leaf = deeper;
        }
        let given = leaf.get_many::<KeyValue>("provides").unwrap_or_default();
        let places = leaf.indices_of("provides").unwrap_or_default();
        let provides = given
            .zip(places)
            .filter(|(pair, _)| pair.key == key)
            .map(|(_, place)| place)
            .max();
        let software = ["software_name", "software_version", "software_filesystem"]
            .into_iter()
            .filter_map(|id| leaf.indices_of(id))
            .flatten()
            .max();
        provides.is_none() || software > provides
    }
}

/// A command line that can be parsed and makes no sense.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Write, read, check, sign and unpack Mender artifacts (format version 3)
#[derive(Parser)]
#[command(
    name = "tandem-artifact",
    version,
    disable_version_flag = true,
    after_help = "\
Exit codes:
  0  all is well
  1  the artifact is refused: broken, hostile, not signed as required, not supported, over a limit;
     or a delta is over its budget
  2  the command line, or a key, script or description that it names, cannot be used
  3  a file cannot be read or written

Examples:
  tandem-artifact write rootfs-image -t raspberrypi4 -n release-2 -f rootfs.ext4 -o release-2.mender
  tandem-artifact sign -k private.pem release-2.mender
  tandem-artifact validate -k public.pem release-2.mender
  tandem-artifact read release-2.mender"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// Like --compression behind the verb
    #[arg(long, value_name = "NAME", hide = true)]
    compression: Option<Compressor>,

    /// No progress on standard error
    #[arg(short, long, global = true, alias = "no-progress", display_order = 100)]
    quiet: bool,

    /// Print the version of this program
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one command line a process")]
pub(crate) enum Verb {
    /// Write an artifact
    #[command(
        subcommand,
        after_help = "\
Example:
  tandem-artifact write rootfs-image -t raspberrypi4 -n release-2 -f rootfs.ext4 -o release-2.mender"
    )]
    Write(Write),
    Read(Read),
    Validate(Validate),
    Sign(Sign),
    Dump(Dump),
    Reframe(Reframe),
    Delta(Delta),
    Normalise(Normalise),
}

#[derive(Subcommand)]
pub(crate) enum Write {
    RootfsImage(WriteRootfsImage),
    ModuleImage(WriteModuleImage),
    BootstrapArtifact(WriteBootstrapArtifact),
}

/// Write an artifact with the image of a root file system
#[derive(Args)]
#[command(after_help = "\
Example:
  tandem-artifact write rootfs-image -t raspberrypi4 -n release-2 -f rootfs.ext4 \\
      -s ArtifactInstall_Enter_10_backup -k private.pem -o release-2.mender
  tandem-artifact write rootfs-image -t raspberrypi4 -n release-2 -f rootfs.ext4 \\
      --framed --previous release-1.mender -o release-2.mender")]
pub(crate) struct WriteRootfsImage {
    #[command(flatten)]
    pub(crate) common: WriteCommon,

    #[command(flatten)]
    pub(crate) software: SoftwareFlags,

    /// The image
    #[arg(short, long, value_name = "FILE", required = true)]
    pub(crate) file: PathBuf,

    /// Compress in frames, with an index: devices then fetch only what they do not have. Needs zstd
    #[arg(long)]
    pub(crate) framed: bool,

    /// The artifact or the image that most devices have: frames end where it differs
    #[arg(long, value_name = "FILE", requires = "framed")]
    pub(crate) previous: Option<PathBuf>,

    /// How the image is divided: auto (default), fixed blocks, or where the content says, for squashfs
    #[arg(long, value_name = "auto|fixed|content", value_parser = index_kind, requires = "framed")]
    pub(crate) index: Option<Index>,

    /// A state script; its name says when it runs; repeatable
    #[arg(short, long, value_name = "FILE")]
    pub(crate) script: Vec<PathBuf>,

    /// Provide the checksum as rootfs_image_checksum, for old clients
    #[arg(long)]
    pub(crate) legacy_rootfs_image_checksum: bool,

    /// Do not provide the checksum
    #[arg(long)]
    pub(crate) no_checksum_provide: bool,
}

/// Write an artifact for an update module
#[derive(Args)]
#[command(after_help = "\
Example:
  tandem-artifact write module-image -t raspberrypi4 -n config-7 -T single-file \\
      -f dest_dir -f filename -f permissions -f app.conf -m meta.json -o config-7.mender")]
pub(crate) struct WriteModuleImage {
    #[command(flatten)]
    pub(crate) common: WriteCommon,

    #[command(flatten)]
    pub(crate) software: SoftwareFlags,

    /// The type of the payload: the name of the update module
    #[arg(short = 'T', long = "type", value_name = "TYPE", required = true)]
    pub(crate) payload_type: String,

    /// A payload file; repeatable, in this order
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,

    /// A JSON object for the update module
    #[arg(short, long, value_name = "FILE")]
    pub(crate) meta_data: Option<PathBuf>,

    /// A state script; its name says when it runs; repeatable
    #[arg(short, long, value_name = "FILE")]
    pub(crate) script: Vec<PathBuf>,
}

/// Write an artifact without payload, which only says what a device provides
#[derive(Args)]
#[command(after_help = "\
Example:
  tandem-artifact write bootstrap-artifact -t raspberrypi4 -n release-1 \\
      -p rootfs-image.version:release-1 -o bootstrap.mender")]
pub(crate) struct WriteBootstrapArtifact {
    #[command(flatten)]
    pub(crate) common: WriteCommon,
}

#[derive(Args)]
pub(crate) struct WriteCommon {
    /// The name of the artifact
    #[arg(short = 'n', long, value_name = "NAME", required = true)]
    pub(crate) artifact_name: String,

    /// A type of device that it is made for; repeatable
    #[arg(
        short = 't',
        long,
        value_name = "TYPE",
        required_unless_present = "compatible_types"
    )]
    device_type: Vec<String>,

    /// The same; newer versions of mender-artifact call it so
    #[arg(short = 'c', long, value_name = "TYPE", conflicts_with = "device_type")]
    compatible_types: Vec<String>,

    /// Where to write it, by default artifact.mender; - is standard output
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "artifact.mender",
        hide_default_value = true
    )]
    pub(crate) output_path: PathBuf,

    /// Sign it with this private key: RSA, EC P-256 or Ed25519, PEM
    #[arg(short, long, value_name = "PRIVATE")]
    pub(crate) key: Option<PathBuf>,

    /// none, gzip (default), lzma, zstd_fastest, zstd_fast, zstd_better or zstd_best
    #[arg(long, value_name = "NAME")]
    pub(crate) compression: Option<Compressor>,

    /// An artifact of which one must be installed before; repeatable
    #[arg(short = 'N', long, value_name = "NAME")]
    pub(crate) artifact_name_depends: Vec<String>,

    /// A group of which the device must belong to one; repeatable
    #[arg(short = 'G', long, value_name = "GROUP")]
    pub(crate) depends_groups: Vec<String>,

    /// The group that a device belongs to with it
    #[arg(short = 'g', long, alias = "group", value_name = "GROUP")]
    pub(crate) provides_group: Option<String>,

    /// Something else that it depends on; repeatable
    #[arg(short, long, value_name = "KEY:VALUE")]
    pub(crate) depends: Vec<KeyValue>,

    /// Something that it provides; repeatable
    #[arg(short, long, value_name = "KEY:VALUE")]
    pub(crate) provides: Vec<KeyValue>,

    /// Provides that it removes, * standing for anything; repeatable
    #[arg(long, value_name = "PATTERN")]
    pub(crate) clears_provides: Vec<String>,

    /// The version of the format; only 3
    #[arg(short = 'v', long = "version", value_name = "N", id = "format", value_parser = only_3)]
    _format: Option<()>,
}

impl WriteCommon {
    pub(crate) fn device_types(&self) -> Vec<String> {
        if self.device_type.is_empty() {
            self.compatible_types.clone()
        } else {
            self.device_type.clone()
        }
    }
}

#[derive(Args)]
pub(crate) struct SoftwareFlags {
    /// Call the software FILESYSTEM.NAME.version
    #[arg(long, value_name = "NAME")]
    pub(crate) software_name: Option<String>,

    /// Its version, instead of the name of the artifact
    #[arg(long, value_name = "VERSION")]
    pub(crate) software_version: Option<String>,

    /// Where it lies, instead of rootfs-image
    #[arg(long, value_name = "FILESYSTEM")]
    pub(crate) software_filesystem: Option<String>,

    /// Provide no software version of its own accord
    #[arg(long)]
    pub(crate) no_default_software_version: bool,

    /// Remove no provides of its own accord
    #[arg(long)]
    pub(crate) no_default_clears_provides: bool,
}

/// Print what is in an artifact, if all of it is right
#[derive(Args)]
#[command(after_help = "\
Examples:
  tandem-artifact read release-2.mender
  tandem-artifact read -k public.pem --json release-2.mender
  curl -s https://example.com/release-2.mender | tandem-artifact read -")]
pub(crate) struct Read {
    /// Require a signature by this public key, PEM; repeatable, one must match
    #[arg(short, long, value_name = "PUBLIC")]
    pub(crate) key: Vec<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// The artifact; - is standard input
    pub(crate) file: PathBuf,
}

/// Check an artifact: its form, every checksum, and its signature if a key is given
///
/// Without a key a signature is not checked, only warned about.
#[derive(Args)]
#[command(after_help = "\
Examples:
  tandem-artifact validate release-2.mender
  tandem-artifact validate -k public.pem -k old-public.pem release-2.mender")]
pub(crate) struct Validate {
    /// Require a signature by this public key, PEM; repeatable, one must match
    #[arg(short, long, value_name = "PUBLIC")]
    pub(crate) key: Vec<PathBuf>,

    /// The artifact; - is standard input
    pub(crate) file: PathBuf,
}

/// Sign an artifact, in place if no output is given
///
/// The artifact is checked as a whole before the result takes its place.
#[derive(Args)]
#[command(after_help = "\
Examples:
  tandem-artifact sign -k private.pem release-2.mender
  tandem-artifact sign -k new.pem --force -o release-2-new.mender release-2.mender")]
pub(crate) struct Sign {
    /// The private key: RSA, EC P-256 or Ed25519, PEM
    #[arg(short, long, value_name = "PRIVATE")]
    pub(crate) key: PathBuf,

    /// Where to write the signed artifact
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output_path: Option<PathBuf>,

    /// Replace a signature that is there
    #[arg(short, long)]
    pub(crate) force: bool,

    /// The artifact; - is standard input and needs --output-path
    pub(crate) file: PathBuf,
}

/// Unpack parts of an artifact, if all of it is right
#[derive(Args)]
#[command(after_help = "\
Files are written into the given folders, nowhere else, and never over existing ones.

Example:
  tandem-artifact dump --files payload --scripts scripts --meta-data . --print-cmdline app.mender")]
pub(crate) struct Dump {
    /// Write the payload files into this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) files: Option<PathBuf>,

    /// Write the meta-data into this folder, as 0000.meta-data
    #[arg(long, value_name = "FOLDER")]
    pub(crate) meta_data: Option<PathBuf>,

    /// Write the state scripts into this folder
    #[arg(long, value_name = "FOLDER")]
    pub(crate) scripts: Option<PathBuf>,

    /// Print the options of `write` that make such an artifact again
    #[arg(long)]
    pub(crate) print_cmdline: bool,

    /// The same, separated by NUL instead of spaces
    #[arg(long, conflicts_with = "print_cmdline")]
    pub(crate) print0_cmdline: bool,

    /// Require a signature by this public key, PEM; repeatable, one must match
    #[arg(short, long, value_name = "PUBLIC")]
    pub(crate) key: Vec<PathBuf>,

    /// The artifact; - is standard input
    pub(crate) file: PathBuf,
}

/// Put the image of a signed artifact into frames, without its key
///
/// The manifest, the signature and the header keep their bytes, so the signature stays good. It does
/// not cover the index, which needs no trust: a false one makes a device fetch too much, and what
/// then stands in its slot is compared with the manifest.
#[derive(Args)]
#[command(after_help = "\
Example:
  tandem-artifact reframe --previous release-1.mender release-2.mender")]
pub(crate) struct Reframe {
    /// The artifact or the image that most devices have: frames end where it differs
    #[arg(long, value_name = "FILE")]
    pub(crate) previous: Option<PathBuf>,

    /// How the image is divided: auto (default), fixed blocks, or where the content says, for squashfs
    #[arg(long, value_name = "auto|fixed|content", value_parser = index_kind)]
    pub(crate) index: Option<Index>,

    /// zstd_fastest, zstd_fast, zstd_better or zstd_best (default)
    #[arg(long, value_name = "NAME")]
    pub(crate) compression: Option<Compressor>,

    /// Where to write it; without this the artifact is replaced
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output_path: Option<PathBuf>,

    /// The artifact
    pub(crate) file: PathBuf,
}

/// Tell what a device that has OLD fetches to get NEW
///
/// Of a framed artifact as it is; else, or with --all, for each way of framing it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  tandem-artifact delta release-1.mender release-2.mender
  tandem-artifact delta --budget 12000000 release-1.mender release-2.mender
  tandem-artifact delta rootfs-1.ext4 rootfs-2.ext4")]
pub(crate) struct Delta {
    /// Exit with code 1 if more bytes than this are fetched, as it is or in the best way of framing
    #[arg(long, value_name = "BYTES")]
    pub(crate) budget: Option<u64>,

    /// All ways of framing, for an artifact that is framed too; takes as long as writing it six times
    #[arg(long)]
    pub(crate) all: bool,

    /// The artifact or the image that a device has
    pub(crate) old: PathBuf,

    /// The artifact or the image that it is to get
    pub(crate) new: PathBuf,
}

/// Make an ext4 image the same for the same files: one time in all places that hold one by accident
///
/// Sets the times of access and change of every file, those of the file system, and where there are no
/// checksums over them the generation numbers. Times of modification that are later become that time too.
/// Equal files then make equal images, and a device fetches only what has changed.
#[derive(Args)]
#[command(after_help = "\
Example:
  tandem-artifact normalise --time 1700000000 rootfs.ext4")]
pub(crate) struct Normalise {
    /// The time, seconds since 1970
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time: u32,

    /// The image, which is changed in place
    pub(crate) image: PathBuf,
}

/// `KEY:VALUE`; the value may contain colons.
#[derive(Debug, Clone)]
pub(crate) struct KeyValue {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl std::str::FromStr for KeyValue {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text
            .split_once(':')
            .ok_or("a colon must stand between key and value")?;
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

fn index_kind(text: &str) -> Result<Index, String> {
    let found = Index::ALL.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, index)| index).ok_or_else(|| {
        let names = Index::ALL.map(|(name, _)| name);
        format!("not one of {}", names.join(", "))
    })
}

fn only_3(text: &str) -> Result<(), &'static str> {
    if text == "3" {
        Ok(())
    } else {
        Err("only version 3 can be written")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_manual_page_is_what_help_says() {
        tandem_manual::hold(Cli::command(), env!("CARGO_MANIFEST_DIR"));
    }
}
