//! The manual page and the shells' completions, made from the arguments themselves.

use std::io::{self, Write};

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::args::{Args, EXAMPLES, NOTES};

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
        Generate::Man => return man(command, output),
        Generate::CompleteBash => Shell::Bash,
        Generate::CompleteZsh => Shell::Zsh,
        Generate::CompleteFish => Shell::Fish,
    };
    // Into memory first: clap_complete panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tcp_tunn", &mut script);
    output.write_all(&script)
}

/// The manual page. The examples keep their lines, which clap_mangen would fill.
fn man(command: clap::Command, output: &mut impl Write) -> io::Result<()> {
    // What the short help leaves out, clap_mangen would leave unexplained.
    let command = command.mut_args(|arg| arg.hide_short_help(false));
    let man = clap_mangen::Man::new(command).manual("User Commands");
    man.render_title(output)?;
    man.render_name_section(output)?;
    man.render_synopsis_section(output)?;
    man.render_description_section(output)?;
    man.render_options_section(output)?;
    writeln!(output, ".SH EXAMPLES\n.nf\n{}\n.fi", roff(EXAMPLES))?;
    writeln!(output, ".SH NOTES\n{}", roff(NOTES).replace("\n\n", "\n.PP\n"))?;
    man.render_version_section(output)
}

/// Text as roff has it: backslashes and hyphens are what they are.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}
