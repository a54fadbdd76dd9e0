//! Running the programs that make partition tables and file systems.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// One run of a tool, with an environment in which its output depends on nothing but its input.
pub(crate) struct Tool {
    name: &'static str,
    package: &'static str,
    command: Command,
}

impl Tool {
    /// The program `name` of Debian's package `package`; `time` is what it takes for now, in
    /// seconds since 1970.
    pub(crate) fn new(name: &'static str, package: &'static str, time: u64) -> Tool {
        let mut command = Command::new(name);
        command
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .env("SOURCE_DATE_EPOCH", time.to_string())
            .env("E2FSPROGS_FAKE_TIME", time.to_string())
            .env("MTOOLS_SKIP_CHECK", "1")
            .env("MTOOLSRC", "/dev/null")
            .stdin(Stdio::null());
        // Where an administrator's tools are is not in everybody's search path.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
        dirs.extend(["/usr/sbin", "/sbin"].map(Into::into));
        if let Ok(path) = std::env::join_paths(dirs) {
            command.env("PATH", path);
        }
        Tool {
            name,
            package,
            command,
        }
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Tool {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Tool {
        self.command.args(arguments);
        self
    }

    /// Reads its standard input from a file.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(crate) fn stdin(mut self, file: &Path) -> Result<Tool> {
        let file =
            std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        self.command.stdin(file);
        Ok(self)
    }

    /// Runs it to its end: its standard output and its standard error.
    ///
    /// # Errors
    /// When it is not installed, or fails; the message has its last words.
    pub(crate) fn run(self) -> Result<Said> {
        self.run_with(&[0])
    }

    /// Runs it to its end; these exit codes are no failure.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub(crate) fn run_with(mut self, good: &[i32]) -> Result<Said> {
        let output = self.command.output().map_err(|err| {
            let installed = err.kind() != std::io::ErrorKind::NotFound;
            let err = anyhow::Error::new(err);
            if installed {
                err.context(format!("cannot run {}", self.name))
            } else {
                err.context(format!(
                    "cannot run {}: install the package {}",
                    self.name, self.package
                ))
            }
        })?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let said = Said {
            answer: text(&output.stdout),
            complaints: text(&output.stderr),
        };
        if !output
            .status
            .code()
            .is_some_and(|code| good.contains(&code))
        {
            let words = match said.complaints.is_empty() {
                true => &said.answer,
                false => &said.complaints,
            };
            bail!("{} fails ({}): {words}", self.name, output.status);
        }
        Ok(said)
    }
}

/// What a tool printed.
pub(crate) struct Said {
    /// On standard output.
    pub(crate) answer: String,
    /// On standard error.
    pub(crate) complaints: String,
}
