//! The manual page and the shells' completions, made from the arguments themselves.

use std::io::{self, Write};

use clap_complete::Shell;

use super::args::{self, EXAMPLES, Generate, NOTES};

const EXIT_CODES: [(&str, &str); 3] = [
    (
        "0",
        "Ended by a signal, by --stop-after, or because the reader of stdout left and nothing \
         else was captured.",
    ),
    ("1", "Something failed at run time, also a capture that was detached."),
    ("2", "Wrong usage."),
];

const SIGNALS: [(&str, &str); 3] = [
    ("SIGINT, SIGTERM", "End it, the first gracefully, the second at once."),
    (
        "SIGHUP",
        "Ends it when it comes from a terminal that closes, unless nohup started it. Any other \
         begins a new file of the capture, or ends it where there is none.",
    ),
    ("SIGUSR1", "Prints the table of connections and the counters on stderr."),
];

/// Writes it to `output`.
pub(super) fn write(what: Generate, output: &mut impl Write) -> io::Result<()> {
    let mut command = args::command();
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
    list("EXIT STATUS", &EXIT_CODES, output)?;
    list("SIGNALS", &SIGNALS, output)?;
    man.render_version_section(output)
}

/// A section of words, each with what it means.
fn list(title: &str, rows: &[(&str, &str)], output: &mut impl Write) -> io::Result<()> {
    writeln!(output, ".SH {title}")?;
    for (word, meaning) in rows {
        writeln!(output, ".TP\n\\fB{}\\fR\n{}", roff(word), roff(meaning))?;
    }
    Ok(())
}

/// Text as roff has it: backslashes and hyphens are what they are.
fn roff(text: &str) -> String {
    text.replace('\\', "\\e").replace('-', "\\-")
}
