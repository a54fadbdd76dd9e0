//! `bench`: what installing costs, beside the peers, and whether that is within the budget.
//!
//! ```text
//! compare, size           the two things it does
//! symbols                 what of a program takes its room
//! idle, environment       beside installing: the daemon while it waits, fw_setenv
//! stage, tool             parts of an installation alone: the agent's own code, other programs
//! order                   what is written before what
//! lab                     the device: an active root, a passive slot, one run
//! contender/              the agent and its peers, each with its artifact, configuration, command
//! inside, measure         the process that enters the device and measures
//! figures, budget, report from runs to verdicts and pictures (plot); pure
//! ```

mod active_root;
mod budget;
mod case;
mod cli;
mod compare;
mod compression;
mod contender;
mod environment;
mod figures;
mod idle;
mod inside;
mod interrupt;
mod keys;
mod lab;
mod machine;
mod measure;
mod order;
mod plot;
mod repack;
mod report;
mod sample;
mod size;
mod slot;
mod stage;
mod symbols;
mod table;
mod tool;
mod web;
mod weight;
mod workplace;

use std::io::{Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use budget::Verdict;
use cli::{Cli, Verb};
use interrupt::Interrupt;

fn main() -> ExitCode {
    match run(&Cli::parse().verb) {
        Ok(code) => code,
        Err(err) => {
            say(&format!("bench: {err:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(verb: &Verb) -> Result<ExitCode> {
    let ((text, verdicts), strict) = match verb {
        Verb::Inside(inside) => {
            inside.run()?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Table(options) => {
            let text = symbols::table(&options.program, &Interrupt::catch()?)?;
            if let Some(out) = &options.out {
                workplace::write(out, &text)?;
            }
            write!(stdout(), "{text}")?;
            return Ok(ExitCode::SUCCESS);
        }
        Verb::Install(options) => {
            let interrupt = Interrupt::catch()?;
            (
                compare::compare(options, &interrupt)?,
                options.common.strict,
            )
        }
        Verb::Size(options) => {
            let interrupt = Interrupt::catch()?;
            (size::size(options, &interrupt)?, options.common.strict)
        }
    };
    write!(stdout(), "{text}")?;
    let met = verdicts.iter().all(Verdict::met);
    Ok(match strict && !met {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

/// A program of this workspace: the one named, or the one beside this program.
fn program(named: Option<&Path>, name: &str) -> Result<PathBuf> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => tandem_e2e::program(name),
    }
}

/// Tells the person who waits.
fn say(words: &str) {
    // If nobody reads it, nobody misses it.
    let _ = writeln!(stderr(), "{words}");
}
