//! The manual page and the shells' completions, made from the arguments themselves.

use std::io::{self, Write};

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::args::Args;

/// What `--generate` can make.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Generate {
    Man,
    CompleteBash,
    CompleteZsh,
    CompleteFish,
}

/// Writes it to `output`.
pub(super) fn write(what: Generate, output: &mut impl Write) -> io::Result<()> {
    let mut command = Args::command();
    let shell = match what {
        Generate::Man => return clap_mangen::Man::new(command).render(output),
        Generate::CompleteBash => Shell::Bash,
        Generate::CompleteZsh => Shell::Zsh,
        Generate::CompleteFish => Shell::Fish,
    };
    // Into memory first: clap_complete panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tcp_tunn", &mut script);
    output.write_all(&script)
}
