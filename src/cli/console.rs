//! The console: what is shown, and how.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::num::NonZero;
use std::os::fd::AsFd;

use anyhow::Context;
use clap::ValueEnum;
use regex::bytes::Regex;
use tcp_tunn::event::{ConnectionId, Side};
use tcp_tunn::sink::console::{Console, ConsoleOptions, Format, TimeStyle};

use super::values::size;

/// What people and programs read while it happens.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Console options")]
pub(super) struct ConsoleArgs {
    /// How to show what is said [default: hexdump; none with --pcap -]
    #[arg(long, value_enum, value_name = "FORMAT")]
    console: Option<ConsoleFormat>,

    /// Show nothing, as --console none
    #[arg(short, long, conflicts_with = "console")]
    quiet: bool,

    /// When to use colours; auto is on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    color: Color,

    /// What time to show: of the day, since the first event, or since the connection's last one
    #[arg(long, value_enum, value_name = "STYLE", default_value_t)]
    time: Time,

    /// Show so many bytes of a chunk at most [default: all]
    #[arg(long, value_name = "BYTES", value_parser = size)]
    max_print: Option<NonZero<u64>>,

    /// Show what this side says alone
    #[arg(long, value_enum, value_name = "SIDE")]
    only: Option<OnlySide>,

    /// Show the N-th connection alone
    #[arg(long, value_name = "N")]
    connection: Option<u64>,

    /// Show the chunks that match alone; bytes that are no text are written as in (?-u)\xff
    #[arg(long, value_name = "REGEX", value_parser = Regex::new)]
    grep: Option<Regex>,

    /// Show that something was said and how much, but not what
    #[arg(long)]
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

/// A console that is ready to show.
pub(super) struct Shown {
    /// What it is called in messages.
    pub(super) name: &'static str,
    pub(super) is_stdout: bool,
    pub(super) sink: Console<File>,
}

impl ConsoleArgs {
    /// The console that is asked for, if one is. It leaves stdout to the capture where that has
    /// taken it.
    pub(super) fn open(&self, stdout_is_taken: bool) -> anyhow::Result<Option<Shown>> {
        let Some(format) = self.format(stdout_is_taken) else { return Ok(None) };
        let (name, fd, is_terminal) = if stdout_is_taken {
            let stderr = io::stderr();
            ("stderr", stderr.as_fd().try_clone_to_owned(), stderr.is_terminal())
        } else {
            let stdout = io::stdout();
            ("stdout", stdout.as_fd().try_clone_to_owned(), stdout.is_terminal())
        };
        let output = fd.with_context(|| format!("cannot open {name} for the console"))?;
        let sink = Console::new(output.into(), self.options(format, is_terminal));
        Ok(Some(Shown { name, is_stdout: !stdout_is_taken, sink }))
    }

    fn format(&self, stdout_is_taken: bool) -> Option<Format> {
        match self.console {
            _ if self.quiet => None,
            None if stdout_is_taken => None,
            None | Some(ConsoleFormat::Hexdump) => Some(Format::Hexdump),
            Some(ConsoleFormat::Text) => Some(Format::Text),
            Some(ConsoleFormat::Json) => Some(Format::Json),
            Some(ConsoleFormat::Raw) => Some(Format::Raw),
            Some(ConsoleFormat::None) => None,
        }
    }

    fn options(&self, format: Format, is_terminal: bool) -> ConsoleOptions {
        let mut options = ConsoleOptions::default();
        options.format = format;
        options.colour = match self.color {
            Color::Auto => is_terminal && !no_color(),
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
        let most = |bytes: NonZero<u64>| usize::try_from(bytes.get()).unwrap_or(usize::MAX);
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

/// Whether the user wants no colours anywhere (<https://no-color.org>).
pub(super) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
