//! `fw_printenv`: one of the two names of one program, see [`tandem_uboot_env::command`].

use std::process::ExitCode;

use tandem_uboot_env::command;

fn main() -> ExitCode {
    command::main(std::env::args_os()).into()
}
