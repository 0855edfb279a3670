//! The command line.

pub(crate) mod args;
mod capture;
mod console;
mod counters;
mod ending;
mod extcap;
mod generate;
mod ingress;
mod leaving;
mod program;
mod run;
mod signals;
mod status;
mod stdio;
mod stop;
pub(crate) mod usage;
mod values;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// Something failed at run time.
const FAILED: u8 = 1;
/// The arguments make no sense.
const WRONG_USAGE: u8 = 2;

/// Does what the arguments say. The exit code is 0 where all went as the user wanted, 1 where
/// something failed at run time and 2 where the arguments make no sense.
pub(crate) fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            complain(usage::one_line(&error));
            return ExitCode::from(WRONG_USAGE);
        }
        Err(help_or_version) => return written(help_or_version.print()),
    };
    if let Some(what) = args.generate {
        return written(generate::write(what, &mut io::stdout().lock()));
    }
    if let Some(answer) = args.extcap.answer() {
        return match answer {
            Ok(answer) => written(io::stdout().lock().write_all(answer.as_bytes())),
            Err(error) => {
                complain(format_args!("cannot install the interface: {error} (is HOME right?)"));
                ExitCode::from(FAILED)
            }
        };
    }
    match run::run(args) {
        Ok(code) => code,
        Err(error) => {
            complain(with_causes(&error));
            ExitCode::from(FAILED)
        }
    }
}

/// An error and its causes, but for those that it tells itself.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().skip(1).fold(error.to_string(), |told, cause| {
        let cause = cause.to_string();
        if told.contains(&cause) { told } else { format!("{told}: {cause}") }
    })
}

/// Tells the user one line. Where nobody reads it there is nobody else to tell.
fn complain(what: impl Display) {
    tell(format_args!("tcp_tunn: {what}"));
}

/// Puts one line on stderr, at once, or several.
fn tell(lines: impl Display) {
    let lines = printable(&lines.to_string());
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{lines}").and_then(|()| stderr.flush());
}

/// The lines, with nothing in them that a terminal would obey: a path may hold anything.
fn printable(lines: &str) -> String {
    let escaped = |c: char| match c {
        '\n' => c.to_string(),
        '\0'..='\x7f' if c.is_control() => format!("\\x{:02x}", c as u32),
        c if c.is_control() || turns_writing(c) => c.escape_unicode().to_string(),
        c => c.to_string(),
    };
    lines.chars().map(escaped).collect()
}

/// Whether what follows is written the other way round, or on another line.
const fn turns_writing(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}')
}

/// The exit code after writing to stdout; whoever closed it has read enough.
fn written(result: io::Result<()>) -> ExitCode {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("cannot write to stdout: {error}"));
            ExitCode::from(FAILED)
        }
        _ => ExitCode::SUCCESS,
    }
}
