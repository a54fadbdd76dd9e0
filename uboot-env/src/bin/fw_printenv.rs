//! `fw_printenv`: one of the two names of one program, see [`tandem_uboot_env::command`].

fn main() -> std::process::ExitCode {
    tandem_uboot_env::command::main()
}
