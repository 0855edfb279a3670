//! The command `tcp_tunn`: its arguments become calls of the library.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
