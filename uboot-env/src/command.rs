//! The command line of `fw_printenv` and `fw_setenv`.
//!
//! One program under two names: called as `fw_setenv` it sets, under any other name it prints.
//! Arguments, output and exit codes are those of libubootenv 0.3.2, so that scripts need not care.
//!
//! DIFFERS: where libubootenv 0.3.2 does harm or hides a failure:
//!
//! | case | libubootenv | here |
//! |---|---|---|
//! | one copy damaged | silent; repaired by the next change | says so; any `fw_setenv` repairs it |
//! | one copy beyond the end of the medium | environment lost | uses the other copy |
//! | newline in a name | stored | exit code 1, nothing written |
//! | empty name | stored; U-Boot then refuses the environment | exit code 1, nothing written |
//! | script unreadable | exit code 0, environment rewritten | exit code 1, nothing written |
//! | a change that `.flags` forbid | not made, exit code 0 | exit code 1, nothing written |
//! | full to the last byte | overruns by one | exit code 244, nothing written |
//! | write or sync fails | sync unchecked | exit code 255, the current copy is untouched |
//! | the lock is never released | waits for ever | exit code 240 after 10 s; printing goes on |
//! | `-m`, a YAML configuration | unknown | as in libubootenv 0.3.4 and later |
//! | output cannot be written | exit code 0 | exit code 1; 141 for a closed pipe |
//! | `.flags` asked for by name | not found | printed |

mod exit;
mod start;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::{read_limited, read_to_limit};
use crate::getopt::{Argument, Known, parse};
use crate::store::Survey;
use crate::{Change, Config, Env, Error, Store, Warning};
use exit::Exit;
pub use start::prepare;

/// Runs the program that this process was called as, which is the first of `arguments`; the exit code.
#[must_use]
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> u8 {
    let program = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    let mut streams = Streams {
        input: &mut io::stdin(),
        output: &mut io::stdout(),
        messages: &mut io::stderr(),
    };
    run(&program, &arguments, &mut streams) as u8
}

/// Where a program reads from and writes to.
struct Streams<'a> {
    input: &'a mut dyn Read,
    output: &'a mut dyn Write,
    messages: &'a mut dyn Write,
}

impl Streams<'_> {
    /// Writes a line for people. There is nobody to tell when that fails.
    fn say(&mut self, line: impl AsRef<[u8]>) {
        let _ = self.messages.write_all(&[line.as_ref(), b"\n"].concat());
    }

    fn warn(&mut self, warnings: &[Warning]) {
        for warning in warnings.iter().filter(|warning| needs_attention(warning)) {
            self.say(format!("Warning: {warning}"));
        }
    }

    /// Writes the answer, in one piece.
    fn answer(&mut self, text: &[u8]) -> Exit {
        match self
            .output
            .write_all(text)
            .and_then(|()| self.output.flush())
        {
            Ok(()) => Exit::Done,
            Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Exit::ClosedPipe,
            Err(err) => {
                self.say(format!("Error: cannot write the output: {err}"));
                Exit::Refused
            }
        }
    }

    fn fail(&mut self, err: &Error, exit: Exit) -> Exit {
        match std::error::Error::source(err) {
            Some(source) => self.say(format!("Error: {err}: {source}")),
            None => self.say(format!("Error: {err}")),
        }
        exit
    }
}

/// What the options say.
#[derive(Default)]
struct Options {
    config: Option<OsString>,
    default_env: Option<OsString>,
    script: Option<OsString>,
    namespace: Option<OsString>,
    values_only: bool,
    operands: Vec<OsString>,
}

const KNOWN: [Known; 7] = [
    Known {
        short: b'V',
        long: Some("version"),
        takes_value: false,
    },
    Known {
        short: b'n',
        long: Some("no-header"),
        takes_value: false,
    },
    Known {
        short: b'h',
        long: Some("help"),
        takes_value: false,
    },
    Known {
        short: b'c',
        long: Some("config"),
        takes_value: true,
    },
    Known {
        short: b'f',
        long: Some("defenv"),
        takes_value: true,
    },
    Known {
        short: b's',
        long: Some("script"),
        takes_value: true,
    },
    Known {
        short: b'm',
        long: Some("namespace"),
        takes_value: true,
    },
];

fn run(program: &OsStr, arguments: &[OsString], streams: &mut Streams<'_>) -> Exit {
    let sets = Path::new(program).file_name() == Some(OsStr::new("fw_setenv"));
    let mut options = Options::default();
    for argument in parse(arguments, &KNOWN) {
        match argument {
            Argument::Option(b'V', _) => {
                return streams.answer(concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes());
            }
            Argument::Option(b'h', _) => {
                return streams.answer(if sets { HELP_SET } else { HELP_PRINT }.as_bytes());
            }
            Argument::Option(b'n', _) => options.values_only = true,
            Argument::Option(b'c', value) => options.config = Some(value),
            Argument::Option(b'f', value) => options.default_env = Some(value),
            Argument::Option(b's', value) => options.script = Some(value),
            Argument::Option(_, value) => options.namespace = Some(value),
            Argument::Operand(operand) => options.operands.push(operand),
            // What is unknown is passed over, as libubootenv does: `-l DIR` of U-Boot's own tool
            // makes DIR a variable name.
            Argument::Fault(text) => streams.say([program.as_bytes(), b": ", &text].concat()),
        }
    }
    let result = configuration(&options).and_then(|config| {
        let store = Store::new(config);
        if sets {
            set(&store, &options, streams)
        } else {
            print(&store, &options, streams)
        }
    });
    result.unwrap_or_else(|err| streams.fail(&err, Exit::from(&err)))
}

fn configuration(options: &Options) -> Result<Config, Error> {
    let path = options
        .config
        .as_deref()
        .unwrap_or(OsStr::new(Config::DEFAULT_PATH));
    match &options.namespace {
        Some(namespace) => Config::load_namespace(path.as_ref(), &namespace.to_string_lossy()),
        None => Config::load(path.as_ref()),
    }
}

fn print(store: &Store, options: &Options, streams: &mut Streams<'_>) -> Result<Exit, Error> {
    let guard = match store.lock_for_reading() {
        Ok(guard) => Some(guard),
        Err(err) => {
            streams.say(format!("Warning: {err}; reading without it"));
            None
        }
    };
    let survey = store.survey()?;
    // Whoever reads what we print may take his time.
    drop(guard);
    let env = environment(&survey, options, streams)?;
    streams.warn(&survey.snapshot.warnings);

    let mut text = Vec::new();
    let mut line = |name: &[u8], value: &[u8]| {
        if !options.values_only || options.operands.is_empty() {
            text.extend_from_slice(name);
            text.push(b'=');
        }
        text.extend_from_slice(value);
        text.push(b'\n');
    };
    if options.operands.is_empty() {
        env.iter().for_each(|(name, value)| line(name, value));
    }
    for name in &options.operands {
        line(
            name.as_bytes(),
            env.get(name.as_bytes()).unwrap_or_default(),
        );
    }
    Ok(streams.answer(&text))
}

fn set(store: &Store, options: &Options, streams: &mut Streams<'_>) -> Result<Exit, Error> {
    // Before the lock: whoever writes to our standard input may take his time.
    let changes = match &options.script {
        Some(script) => Change::parse_script(&read_script(script, streams)?),
        None => pairs(&options.operands),
    };
    let guard = store.lock()?;
    let survey = store.survey()?;
    let mut env = environment(&survey, options, streams)?;
    for Change { name, value } in changes {
        env.change(name, value)?;
    }
    // libubootenv writes after a script even when nothing changed.
    let wanted = options.script.is_some() || survey.snapshot.env.as_ref() != Some(&env);
    if !wanted && !survey.snapshot.damaged() {
        streams.warn(&survey.snapshot.warnings);
        return Ok(Exit::Done);
    }
    match store.commit(&guard, survey, &env) {
        Ok(written) => {
            streams.warn(&written.warnings);
            Ok(Exit::Done)
        }
        Err(err @ Error::Open { .. }) => Ok(streams.fail(&err, Exit::NotOpened)),
        Err(err) => Err(err),
    }
}

/// The stored environment, or with no good copy left the default one.
fn environment(
    survey: &Survey,
    options: &Options,
    streams: &mut Streams<'_>,
) -> Result<Env, Error> {
    if let Some(env) = &survey.snapshot.env {
        return Ok(env.clone());
    }
    streams.say("Cannot read environment, using default");
    let path = options
        .default_env
        .as_deref()
        .unwrap_or(OsStr::new(DEFAULT_ENV));
    let default = read_script(path, streams).and_then(|text| Env::from_text(&text));
    default.map_err(|err| {
        streams.fail(&err, Exit::NoEnvironment);
        survey.no_good_copy()
    })
}

fn read_script(path: &OsStr, streams: &mut Streams<'_>) -> Result<Vec<u8>, Error> {
    let text = if path == "-" {
        read_to_limit(streams.input, Config::SIZE_LIMIT)
    } else {
        read_limited(path.as_ref(), Config::SIZE_LIMIT)
    };
    text.map_err(|source| Error::ReadScript {
        path: path.into(),
        source,
    })
}

/// `name value name value ... [name]`: a last name without a value is removed.
fn pairs(operands: &[OsString]) -> Vec<Change> {
    let bytes = |operand: &OsString| operand.as_bytes().to_vec();
    operands
        .chunks(2)
        .filter_map(|pair| {
            let (name, value) = pair.split_first()?;
            Some(Change {
                name: bytes(name),
                value: value.first().map(bytes),
            })
        })
        .collect()
}

/// Whether a warning is worth a line each time. The others are about how the device was set up.
fn needs_attention(warning: &Warning) -> bool {
    match warning {
        Warning::Unusable(..)
        | Warning::Repaired(..)
        | Warning::EmptyName
        | Warning::NotProtectedAgain(..) => true,
        Warning::SingleCopy(_)
        | Warning::Misaligned(_)
        | Warning::SharesEraseBlock(_)
        | Warning::NoLock { .. } => false,
    }
}

/// Where libubootenv looks for U-Boot's default environment.
const DEFAULT_ENV: &str = "/etc/u-boot-initial-env";

const HELP_PRINT: &str = "\
Print variables of the U-Boot environment.

Usage: fw_printenv [OPTION]... [NAME]...

Without a NAME all variables are printed, sorted. A NAME that is not set prints as NAME= .

  -n, --no-header        print values only, one a line
  -c, --config FILE      where the environment lies [/etc/fw_env.config]
  -m, --namespace NAME   which namespace of a YAML configuration
  -f, --defenv FILE      default environment, used when no stored copy is good
                         [/etc/u-boot-initial-env]
  -h, --help             print this help
  -V, --version          print the version

Examples:
  fw_printenv
  fw_printenv mender_boot_part upgrade_available
  part=$(fw_printenv -n mender_boot_part)

Exit code 0; 234 or 247 for a wrong or missing configuration; 243 when no copy is good.
";

const HELP_SET: &str = "\
Set and remove variables of the U-Boot environment, all in one write.

Usage: fw_setenv [OPTION]... [NAME VALUE]... [NAME]

A last NAME without a VALUE is removed. Nothing is written when nothing changes, unless one of two
copies is damaged: then it is repaired.

  -s, --script FILE      read NAME=VALUE lines instead, from standard input if FILE is -
                         (NAME= removes, # begins a comment line)
  -c, --config FILE      where the environment lies [/etc/fw_env.config]
  -m, --namespace NAME   which namespace of a YAML configuration
  -f, --defenv FILE      default environment, used when no stored copy is good
                         [/etc/u-boot-initial-env]
  -h, --help             print this help
  -V, --version          print the version

Examples:
  fw_setenv bootdelay 3
  fw_setenv bootlimit 1 upgrade_available 0
  fw_setenv -- offset -1
  fw_setenv obsolete_name
  printf 'mender_boot_part=3\\nmender_boot_part_hex=3\\n' | fw_setenv -s -

Exit code 0; 1 for a name or file that is refused; 234 or 247 for a wrong or missing configuration;
240 when another program holds the lock; 243 when no copy is good; 244 when the variables do not fit;
251 or 255 when writing failed. Unless it is 0 the environment is as it was before; only a single
copy may be lost by 251 and 255.
";
