//! The console: what is shown, and how.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use anyhow::anyhow;
use clap::ValueEnum;
use rustix::termios::tcgetwinsize;
use tcp_tunn::console::{Console, ConsoleOptions, Expression, Format, TimeStyle};
use tcp_tunn::event::{ConnectionId, Side};
use tcp_tunn::os_error::Sentence;
use tcp_tunn::sink::create_file;

use super::look::LookArgs;
use super::ranges::number;
use super::report::file_hint;
use super::stdio::Patient;

/// What people and programs read while it happens.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Console and page options")]
pub(super) struct ConsoleArgs {
    /// hexdump, text, json, raw or none [default: hexdump]
    ///
    /// Print the bytes that each side sends as hexdump, text, json, raw or none. With --pcap - the
    /// default is none, and what you ask for goes to stderr. Raw bytes can control a terminal: give
    /// raw twice to send them to one.
    #[arg(long, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    #[arg(env = "TCP_TUNN_CONSOLE", hide_env = true)]
    console: Vec<ConsoleFormat>,

    /// Print nothing, as --console none
    ///
    /// Print nothing, as --console none. On a terminal, one line on stderr shows the counters.
    #[arg(short, long)]
    pub(super) quiet: bool,

    /// Write the console to this file [default: stdout; run: stderr]
    ///
    /// Write the console to this file instead of stdout (or, with run, stderr). A file that exists
    /// is overwritten.
    #[arg(short, long, value_name = "FILE", hide_short_help = true)]
    output: Option<PathBuf>,

    /// Use colors: auto, always or never
    ///
    /// When to use colors. auto: on a terminal that supports them, unless NO_COLOR is set or
    /// CLICOLOR is 0; with CLICOLOR_FORCE=1 everywhere.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t, hide_possible_values = true)]
    #[arg(hide_short_help = true, overrides_with = "color")]
    color: Color,

    /// Print times as local, utc, relative, delta or none
    ///
    /// Which time to print: the local time of day, UTC, the time since the first event (relative),
    /// or the time since the connection's last event (delta).
    #[arg(long, value_enum, value_name = "STYLE", default_value_t, hide_possible_values = true)]
    #[arg(env = "TCP_TUNN_TIME", hide_env = true)]
    #[arg(hide_short_help = true)]
    time: Time,

    /// Print at most this many bytes of each chunk [default: all]
    ///
    /// Print at most this many bytes of each chunk, or with --hide-data none [default: all].
    #[arg(long, value_name = "BYTES", value_parser = number("max-print"))]
    #[arg(hide_short_help = true)]
    max_print: Option<u64>,

    /// Print only what this side sends: client or server
    #[arg(long, value_enum, value_name = "SIDE", hide_possible_values = true)]
    #[arg(hide_short_help = true)]
    only: Option<OnlySide>,

    /// Print only connection N
    #[arg(long, value_name = "N", value_parser = number("connection"))]
    #[arg(hide_short_help = true)]
    connection: Option<u64>,

    /// Print only chunks that match this expression
    ///
    /// Print only chunks that match this expression (the syntax of https://docs.rs/regex). It is
    /// matched against bytes; write bytes that are not text as in (?-u)\xff.
    #[arg(long, value_name = "REGEX")]
    grep: Option<Expression>,

    /// Print how many bytes pass, but not the bytes
    #[arg(long, hide_short_help = true)]
    hide_data: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConsoleFormat {
    Hexdump,
    Text,
    Json,
    Raw,
    None,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Time {
    #[default]
    Local,
    Utc,
    Relative,
    Delta,
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnlySide {
    Client,
    Server,
}

/// Where the console goes unless it goes to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Stdout,
    /// Stdout is a program's.
    Stderr,
    /// Stdout is the capture's.
    StderrIfAsked,
}

/// A console that is ready to show.
pub(super) struct Shown {
    /// What it is called in messages.
    pub(super) name: String,
    pub(super) is_stdout: bool,
    pub(super) sink: Console<Patient>,
}

impl ConsoleArgs {
    /// The console that is asked for, if one is.
    pub(super) fn open(
        &self,
        place: Place,
        look: &LookArgs,
        verbose: u8,
    ) -> anyhow::Result<Option<Shown>> {
        let Some(format) = self.format(place) else { return Ok(None) };
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let (name, output, color) = match (&self.output, place) {
            (Some(path), _) => (path.display().to_string(), create_file(path), false),
            (None, Place::Stdout) => {
                let file = stdout.as_fd().try_clone_to_owned().map(File::from);
                ("stdout".to_owned(), file, wants_color(&stdout))
            }
            (None, Place::Stderr | Place::StderrIfAsked) => {
                let file = stderr.as_fd().try_clone_to_owned().map(File::from);
                ("stderr".to_owned(), file, wants_color(&stderr))
            }
        };
        let output = output.map_err(|error| {
            let hint = file_hint(&error);
            anyhow!("cannot write the console to {name}: {} ({hint})", Sentence(&error))
        })?;
        let mut options = self.options(format, color);
        options.columns = columns(&output);
        options.certificates = verbose > 0;
        options.info = look.wants_info();
        let sink = Console::new(Patient(output), options);
        let is_stdout = place == Place::Stdout && self.output.is_none();
        Ok(Some(Shown { name, is_stdout, sink }))
    }

    /// What should not be done, if anything.
    pub(super) fn check(&self, place: Place) -> Result<(), String> {
        if self.output.is_some() && self.format(place).is_none() {
            let what = "--output has no effect without a console";
            return Err(format!("{what} (try '--console hexdump')"));
        }
        let is_terminal = match place {
            _ if self.output.is_some() => false,
            Place::Stdout => io::stdout().is_terminal(),
            Place::Stderr | Place::StderrIfAsked => io::stderr().is_terminal(),
        };
        let is_meant =
            self.console.iter().filter(|format| **format == ConsoleFormat::Raw).count() > 1;
        if is_terminal && !is_meant && self.format(place) == Some(Format::Raw) {
            let what = "raw bytes can control the terminal";
            return Err(format!("{what} (try '| less', or give '--console raw' twice)"));
        }
        if self.hide_data && self.format(place) == Some(Format::Raw) {
            return Err(
                "--hide-data has no effect with --console raw (try '--console text')".into()
            );
        }
        Ok(())
    }

    /// Shows nothing, whatever was asked for.
    pub(super) const fn be_quiet(&mut self) {
        self.quiet = true;
    }

    /// Whether the user asks for silence, so that there is room for a status line.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet || self.console.last() == Some(&ConsoleFormat::None)
    }

    /// The last one that is asked for.
    fn format(&self, place: Place) -> Option<Format> {
        match self.console.last() {
            _ if self.quiet => None,
            None if place == Place::StderrIfAsked && self.output.is_none() => None,
            None | Some(ConsoleFormat::Hexdump) => Some(Format::Hexdump),
            Some(ConsoleFormat::Text) => Some(Format::Text),
            Some(ConsoleFormat::Json) => Some(Format::Json),
            Some(ConsoleFormat::Raw) => Some(Format::Raw),
            Some(ConsoleFormat::None) => None,
        }
    }

    fn options(&self, format: Format, auto: bool) -> ConsoleOptions {
        let mut options = ConsoleOptions::default();
        options.format = format;
        options.color = match self.color {
            Color::Auto => auto,
            Color::Always => true,
            Color::Never => false,
        };
        options.time = match self.time {
            Time::Local => TimeStyle::Local,
            Time::Utc => TimeStyle::Utc,
            Time::Relative => TimeStyle::Relative,
            Time::Delta => TimeStyle::Delta,
            Time::None => TimeStyle::None,
        };
        let most = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        options.max_print = self.max_print.map(most);
        options.only = self.only.map(|side| match side {
            OnlySide::Client => Side::Client,
            OnlySide::Server => Side::Server,
        });
        options.connection = self.connection.map(ConnectionId);
        options.grep = self.grep.clone();
        options.hide_data = self.hide_data;
        options
    }
}

/// How many columns a terminal has.
fn columns(output: &impl AsFd) -> Option<usize> {
    // None, or one that does not tell: 0.
    let size = tcgetwinsize(output).ok().filter(|size| size.ws_col > 0);
    size.map(|size| size.ws_col.into())
}

/// Whether colors are for whoever reads `stream`: by NO_COLOR, CLICOLOR and CLICOLOR_FORCE, TERM
/// and whether it is a terminal (<https://no-color.org>, <https://bixense.com/clicolors>).
pub(super) fn wants_color(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) == ColorChoice::Always
}
