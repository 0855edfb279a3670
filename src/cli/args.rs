//! The arguments. Scripts depend on their names.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, ValueEnum};
use tcp_tunn::sink::{OnError, OnSlow, SinkOptions};
use tcp_tunn::tunnel::{Address, Backend, Limits};

use super::capture::CaptureArgs;
use super::console::{ConsoleArgs, Place};
use super::extcap::ExtcapArgs;
#[cfg(feature = "fleet")]
use super::fleet::FleetArgs;
use super::ingress::{FilterArgs, IngressArgs, OutgoingArgs};
use super::look::LookArgs;
use super::ranges::{self, number, time};
use super::run_args;
use super::tls::TlsArgs;
use super::values::{address, target};
use super::web::WebArgs;

/// Where to begin.
pub(super) const EXAMPLES: &str =
    "  See what a browser and a server say, and keep it for Wireshark:
    tcp_tunn --from 127.0.0.1:8080 --to example.com:80 --pcap out.pcapng

  Watch it in Wireshark while it happens:
    tcp_tunn --from 127.0.0.1:8080 --to example.com:80 --pcap - | wireshark -k -i -

  Two tunnels at once, one of them to a unix socket:
    tcp_tunn --from 127.0.0.1:5433 --to db.example.com:5432 \\
             --from 127.0.0.1:8080 --to unix:/run/app.sock";

/// What holds for several options.
pub(super) const NOTES: &str = "\
ADDR is IP:PORT, [IPv6]:PORT, HOST:PORT or unix:/path. PORT alone means 127.0.0.1, :PORT listens on
all addresses. --to takes URLs, too, such as https://example.com. Port 0 listens on any free port.
DUR is a duration such as 90s or 1h30m, SIZE a number of bytes such as 100MB or 64MiB.

TCP_TUNN_FROM, TCP_TUNN_TO, TCP_TUNN_CONSOLE, TCP_TUNN_TIME, TCP_TUNN_PCAP,
TCP_TUNN_PCAP_OVER_IP and TCP_TUNN_WEB in the environment stand for the options of that name where
those are not given. NO_COLOR, CLICOLOR and CLICOLOR_FORCE are honored.";

/// What is answered without a tunnel.
const ANSWERS: [&str; 5] =
    ["generate", "install_extcap", "extcap_interfaces", "extcap_dlts", "extcap_config"];

/// Relays TCP connections and shows their bytes, on the console and in Wireshark
#[derive(Debug, Parser)]
#[command(name = "tcp_tunn", version)]
#[command(after_long_help = format!("Examples:\n{EXAMPLES}\n\n{NOTES}"))]
#[command(override_usage = "tcp_tunn --from ADDR --to ADDR [OPTIONS]\n       \
                            tcp_tunn run [OPTIONS] [--] CMD [ARG...]")]
pub(crate) struct Args {
    /// Listen here; the n-th --from goes with the n-th --to
    #[arg(long, value_name = "ADDR", env = "TCP_TUNN_FROM", hide_env = true)]
    #[arg(value_parser = address())]
    pub(super) from: Vec<Address>,

    /// Connect each client to this address
    ///
    /// Connect each client to this address. A name is resolved for each client, and all its
    /// addresses are tried.
    #[arg(long, value_name = "ADDR", env = "TCP_TUNN_TO", hide_env = true)]
    #[arg(value_parser = target())]
    pub(super) to: Vec<Address>,

    #[command(flatten)]
    pub(super) ingress: IngressArgs,

    /// Log more to stderr; give it again for still more
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,

    /// Print the manual page or a shell's completions, and do nothing else
    #[arg(long, value_enum, value_name = "WHAT", hide_short_help = true)]
    pub(super) generate: Option<Generate>,

    /// With `run`, the program and its arguments.
    #[arg(skip)]
    pub(super) program: Vec<OsString>,

    #[command(flatten)]
    pub(super) extcap: ExtcapArgs,

    // What is flattened takes the headings of its own, and keeps them for all that follows.
    #[command(flatten)]
    pub(super) console: ConsoleArgs,

    #[command(flatten)]
    pub(super) capture: CaptureArgs,

    #[command(flatten)]
    pub(super) tls: TlsArgs,

    #[command(flatten)]
    pub(super) look: LookArgs,

    #[command(flatten)]
    pub(super) filter: FilterArgs,

    #[command(flatten)]
    pub(super) outgoing: OutgoingArgs,

    #[command(flatten)]
    pub(super) relay: RelayArgs,

    #[command(flatten)]
    pub(super) sinks: SinkArgs,

    #[command(flatten)]
    pub(super) web: WebArgs,

    #[cfg(feature = "fleet")]
    #[command(flatten)]
    pub(super) fleet: FleetArgs,
}

/// What `--generate` can make.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Generate {
    Man,
    CompleteBash,
    CompleteZsh,
    CompleteFish,
}

/// How connections are relayed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Relay options")]
pub(super) struct RelayArgs {
    /// Give up on one server address after this long and try the next
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = time("connect-timeout"))]
    #[arg(hide_short_help = true)]
    connect_timeout: Duration,

    /// Reset a connection that is silent in both directions for this long [default: none]
    #[arg(long, value_name = "DUR", value_parser = time("idle-timeout"))]
    #[arg(hide_short_help = true)]
    idle_timeout: Option<Duration>,

    /// After one side has closed, reset the connection if the other stays silent this long
    #[arg(long, value_name = "DUR", default_value = "60s")]
    #[arg(hide_short_help = true, value_parser = time("half-close-timeout"))]
    half_close_timeout: Duration,

    /// Accept at most this many connections at a time; more clients wait
    ///
    /// Accept at most this many connections at a time; more clients wait in the kernel's queue.
    #[arg(long, value_name = "N", default_value = "10000")]
    #[arg(hide_short_help = true, value_parser = number("max-connections"))]
    max_connections: u64,

    /// Use this many worker threads [default: the number of cores, at most 4]
    #[arg(long, value_name = "N", hide_short_help = true, value_parser = number("workers"))]
    pub(super) workers: Option<u64>,

    /// Let open connections finish for this long after SIGINT or SIGTERM
    ///
    /// Let open connections finish for this long after SIGINT or SIGTERM, and reset those that are
    /// left. A second signal resets them at once.
    #[arg(long, value_name = "DUR", default_value = "5s")]
    #[arg(hide_short_help = true, value_parser = time("shutdown-timeout"))]
    shutdown_timeout: Duration,

    /// How to talk to the kernel: auto, uring or epoll
    ///
    /// How to talk to the kernel. auto takes io_uring, and epoll where io_uring is not permitted.
    #[arg(long, value_enum, value_name = "WAY", default_value_t, hide_possible_values = true)]
    #[arg(env = "TCP_TUNN_IO", hide_env = true, hide_short_help = true)]
    io: IoChoice,
}

/// The way to the kernel, by the name of a [`Backend`].
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum IoChoice {
    #[default]
    Auto,
    Uring,
    Epoll,
}

impl RelayArgs {
    pub(super) const fn backend(&self) -> Backend {
        match self.io {
            IoChoice::Auto => Backend::Auto,
            IoChoice::Uring => Backend::Uring,
            IoChoice::Epoll => Backend::Epoll,
        }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits::default()
            .connect_timeout(self.connect_timeout)
            .idle_timeout(self.idle_timeout)
            .half_close_timeout(self.half_close_timeout)
            .max_connections(usize::try_from(self.max_connections).unwrap_or(usize::MAX))
            .shutdown_timeout(self.shutdown_timeout)
    }
}

/// What becomes of data that the console or the capture cannot take.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sink options (console and capture)")]
pub(super) struct SinkArgs {
    /// What to do when the console or the capture is slow: block or drop
    ///
    /// What to do when the console or the capture is slow. block: let the relay wait. drop: leave
    /// data out and count it.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, hide_possible_values = true)]
    #[arg(hide_short_help = true)]
    on_slow_sink: OnSlowSink,

    /// Queue at most this many bytes for the console, and as many for the capture
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = number("sink-buffer"))]
    #[arg(hide_short_help = true)]
    sink_buffer: u64,

    /// What to do when the console or the capture fails: stop or detach
    ///
    /// What to do when the console or the capture fails, such as on a full disk. stop: relay
    /// nothing more, reset the open connections, and exit with 1. detach: go on without it, also
    /// when there is room again, and exit with 1 at the end. What it wrote stays readable.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t, hide_possible_values = true)]
    #[arg(hide_short_help = true)]
    on_sink_error: OnSinkError,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum OnSlowSink {
    #[default]
    Block,
    Drop,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum OnSinkError {
    #[default]
    Stop,
    Detach,
}

impl SinkArgs {
    /// The options of a sink that is called `name` in messages.
    pub(super) fn options(&self, name: String) -> SinkOptions {
        let on_slow = match self.on_slow_sink {
            OnSlowSink::Block => OnSlow::Block,
            OnSlowSink::Drop => OnSlow::Drop,
        };
        let on_error = match self.on_sink_error {
            OnSinkError::Stop => OnError::Stop,
            OnSinkError::Detach => OnError::Detach,
        };
        SinkOptions::named(name)
            .buffer_bytes(usize::try_from(self.sink_buffer).unwrap_or(usize::MAX))
            .on_slow(on_slow)
            .on_error(on_error)
    }

    /// Whether a sink that fails ends the tunnel.
    pub(super) fn stops_on_error(&self) -> bool {
        matches!(self.on_sink_error, OnSinkError::Stop)
    }
}

/// Reads the command line. `--help` and `--version` come back as errors that go to stdout.
pub(crate) fn parse<T>(args: impl IntoIterator<Item = T>) -> Result<Args, clap::Error>
where
    T: Into<OsString> + Clone,
{
    // What the environment has, but empty, is not given.
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let mut words = args.into_iter().map(Into::into).collect::<Vec<OsString>>();
    let is_run = words.get(1).is_some_and(|word| word == "run");
    if is_run {
        words.remove(1);
    }
    let whole = if is_run { run_command() } else { command() };
    let whole = whole.mut_args(|arg| {
        if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg }
    });
    let mut matches = ranges::parse(whole, &words)?;
    if is_run {
        run_args::refuse_useless(command(), &ANSWERS, &matches)?;
    }
    let program = is_run.then(|| matches.remove_many(run_args::PROGRAM)).flatten();
    let mut args = Args::from_arg_matches(&matches)?;
    args.program = program.map(Iterator::collect).unwrap_or_default();
    if let Some(fifo) = args.extcap.fifo.take() {
        args.capture.write_to(fifo);
        args.console.be_quiet();
    }
    // Half of what a tunnel needs may be in the environment.
    let is_asked = |answer| matches.value_source(answer) == Some(ValueSource::CommandLine);
    if ANSWERS.into_iter().any(is_asked) {
        return Ok(args);
    }
    let wrong = |kind, what| command().error(kind, what);
    // One that the environment asks for gives way.
    if args.console.quiet && matches.value_source("console") == Some(ValueSource::CommandLine) {
        let what = "'--quiet' cannot be used with '--console' (try one of them)";
        return Err(wrong(ErrorKind::ArgumentConflict, what.to_owned()));
    }
    let (from, to) = (args.from.len(), args.to.len());
    if from + to == 0 && !is_run && !args.ingress.is_any() {
        let what = "nothing to relay (give '--from ADDR --to ADDR', or try 'run CMD')";
        return Err(wrong(ErrorKind::MissingRequiredArgument, what.to_owned()));
    }
    if from != to {
        let what = format!("{from} --from but {to} --to (give them in pairs, in order)");
        return Err(wrong(ErrorKind::WrongNumberOfValues, what));
    }
    args.check().map_err(|what| wrong(ErrorKind::ArgumentConflict, what))?;
    Ok(args)
}

/// The command with all options.
pub(super) fn command() -> clap::Command {
    ranges::named_in_help(Args::command())
}

/// The command `tcp_tunn run`.
pub(super) fn run_command() -> clap::Command {
    run_args::command(command(), &ANSWERS)
}

impl Args {
    /// Where the console goes.
    pub(super) fn place(&self) -> Place {
        match self {
            _ if !self.program.is_empty() => Place::Stderr,
            _ if self.capture.is_stdout() => Place::StderrIfAsked,
            _ => Place::Stdout,
        }
    }

    /// What cannot work, if anything.
    fn check(&self) -> Result<(), String> {
        if !self.program.is_empty() && self.capture.is_stdout() {
            return Err("with run, stdout is the program's (try '--pcap FILE')".to_owned());
        }
        self.ingress.check(!self.from.is_empty() || self.ingress.is_any())?;
        self.capture.check()?;
        self.tls.check(!self.program.is_empty(), self.capture.is_any())?;
        self.console.check(self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Args {
        parse(["tcp_tunn"].into_iter().chain(line.split_whitespace())).expect(line)
    }

    #[test]
    fn arguments_pass_claps_checks() {
        command().debug_assert();
    }

    #[test]
    fn short_help_fits_one_screen() {
        let help = command().term_width(80).render_help().to_string();
        // The last row of 24 is the prompt's.
        assert!(help.lines().count() <= 23, "{} lines:\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }

    #[test]
    fn defaults_match_library() {
        let args = parsed("--from 127.0.0.1:0 --to [::1]:80");
        assert_eq!(args.relay.limits(), Limits::default());
        assert_eq!(args.sinks.options("x".to_owned()), SinkOptions::named("x"));
        assert!(args.relay.workers.is_none());
    }

    #[test]
    fn given_values_replace_defaults() {
        let args = parsed(
            "--from 127.0.0.1:0 --to [::1]:80 --from unix:/a --to h:1 --connect-timeout 1s \
             --idle-timeout 2s --half-close-timeout 3s --max-connections 4 --workers 5 \
             --shutdown-timeout 0s --on-slow-sink drop --sink-buffer 1KiB --on-sink-error detach",
        );
        let second = Duration::from_secs(1);
        let limits = Limits::default()
            .connect_timeout(second)
            .idle_timeout(2 * second)
            .half_close_timeout(3 * second)
            .max_connections(4)
            .shutdown_timeout(Duration::ZERO);
        assert_eq!(args.relay.limits(), limits);
        assert_eq!(args.relay.workers, Some(5));
        let options = args.sinks.options("x".to_owned());
        assert_eq!((options.on_slow, options.on_error), (OnSlow::Drop, OnError::Detach));
        assert_eq!(options.buffer_bytes, 1024);
        assert_eq!(args.from[1].to_string(), "unix:/a");
    }
}
