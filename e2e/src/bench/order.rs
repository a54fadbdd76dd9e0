//! In which order the agent writes, as strace(1) sees it: the image, one flush, and only then the
//! boot environment.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::active_root::ENV;
use crate::case::Source;
use crate::contender::Contender;
use crate::inside::BENCH;
use crate::lab::Lab;
use crate::sample::Image;
use crate::workplace::remove_if_there;

/// The file that strace writes to, in the workplace.
const TRACE: &str = "order.trace";

/// Installs `artifact` once more, under observation; what is wrong with the order of its writes.
///
/// # Errors
/// When it cannot be observed, or does not install.
pub(crate) fn observe(
    lab: &Lab,
    contender: &Contender,
    artifact: &Path,
    image: &Image,
) -> Result<Option<String>> {
    lab.slot.fill(lab.interrupt)?;
    lab.root.reset_boot_environment()?;
    contender.reset(lab)?;
    let trace = lab.workplace.path(TRACE);
    remove_if_there(&trace)?;
    let name = artifact.file_name().context("an artifact has a name")?;
    let place = format!("{BENCH}/{}", name.to_string_lossy());
    let (install, env) = contender.install(place, Source::File);
    let strace = ["strace", "--follow-forks", "--decode-fds=path", "-qq"];
    let calls = "--trace=write,writev,pwrite64,pwritev,fsync,fdatasync";
    let mut command: Vec<_> = strace.map(Into::into).into();
    command.extend([calls.into(), format!("--output={BENCH}/{TRACE}").into()]);
    command.extend(install);
    let mut outside = lab.enter(contender, command, env).outside()?;
    lab.interrupt.run(&mut outside)?;
    ensure!(
        lab.slot.holds(&image.path, lab.interrupt)?,
        "the slot is not right"
    );
    let text = fs::read_to_string(&trace)?;
    let slot = lab.slot.device().path().to_string_lossy();
    match judge(&text, &slot, &format!("/{ENV}")) {
        Ok(()) => Ok(None),
        Err(wrong) => Ok(Some(format!("{wrong:#}"))),
    }
}

/// Says what is wrong with the order of the system calls in `trace`, if anything is.
fn judge(trace: &str, slot: &str, environment: &str) -> Result<()> {
    let (slot, environment) = (format!("<{slot}>"), format!("<{environment}>"));
    let (mut written, mut flushed, mut selected) = (None, None, None);
    for (number, line) in trace.lines().enumerate() {
        let is_sync = line.contains("fsync(") || line.contains("fdatasync(");
        let what = line.split(',').next().unwrap_or_default();
        if what.contains(&slot) && is_sync {
            ensure!(flushed.is_none(), "the slot is flushed twice");
            flushed = Some(number);
        } else if what.contains(&slot) {
            written = Some(number);
        } else if what.contains(&environment) && !is_sync && selected.is_none() {
            selected = Some(number);
        }
    }
    match (written, flushed, selected) {
        (Some(written), Some(flushed), Some(selected)) => {
            ensure!(written < flushed, "the slot is written to after its flush");
            ensure!(
                flushed < selected,
                "the boot environment is written before the flush"
            );
            Ok(())
        }
        _ => bail!("writes to the slot, its flush, or the boot environment were not seen"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: &str = "7 pwrite64(5</dev/loop1>, \"a, b\"..., 524288, 0 <unfinished ...>\n";
    const FLUSH: &str = "6 fsync(5</dev/loop1>) = 0\n";
    const SELECT: &str = "6 pwrite64(8</var/env>, \"...\", 16384, 0) = 16384\n";
    const KEEP: &str = "6 fsync(8</var/env>) = 0\n";

    #[track_caller]
    fn check(trace: &[&str], wrong: Option<&str>) {
        let found = judge(&trace.concat(), "/dev/loop1", "/var/env").err();
        assert_eq!(found.map(|err| err.to_string()).as_deref(), wrong);
    }

    #[test]
    fn the_flush_comes_after_the_last_byte_and_before_the_selection() {
        check(&[WRITE, WRITE, FLUSH, SELECT, KEEP], None);
        check(
            &[WRITE, FLUSH, WRITE, SELECT, KEEP],
            Some("the slot is written to after its flush"),
        );
        check(
            &[WRITE, SELECT, KEEP, FLUSH],
            Some("the boot environment is written before the flush"),
        );
        check(
            &[WRITE, FLUSH, FLUSH, SELECT],
            Some("the slot is flushed twice"),
        );
        check(
            &[WRITE, SELECT, KEEP],
            Some("writes to the slot, its flush, or the boot environment were not seen"),
        );
    }
}
