//! Running the tunnel that the arguments describe.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tcp_tunn::sink::pcapng::{CaptureStats, RotateHandle};
use tcp_tunn::sink::summary::{ConnectionTable, TopConnections};
use tcp_tunn::sink::{SinkOptions, SinkReport};
use tcp_tunn::tunnel::{Summary, Tunnel, raise_open_files_limit};
use tracing::level_filters::LevelFilter;

use super::args::Args;
use super::console::no_color;
use super::signals::Signals;
use super::stop::{StopAfter, StopAfterConnections, stop_in, stop_with_reader};
use super::{FAILED, complain, counted, tell};

/// How many connections the table at the end has.
const TABLE_ROWS: usize = 20;

/// Relays until a signal, a condition or a failing sink ends it.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    log_to_stderr(args.verbose);
    if let Err(error) = raise_open_files_limit() {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
    let mut tunnel = bind(&args)?;
    let attached = attach_sinks(&mut tunnel, &args)?;
    let connections = attach_table(&mut tunnel);
    let handle = tunnel.handle();
    let signals = Signals { handle, rotate: attached.rotate.clone(), table: connections.clone() };
    signals.watch().context("cannot watch for signals")?;
    let silent = args.extcap.capture;
    for route in tunnel.routes().iter().filter(|_| !silent) {
        tell(format_args!("listening on {} -> {}", route.listening(), route.target()));
    }
    if let Some(address) = attached.over_ip {
        tell(format_args!("capture on {address} (try 'wireshark -k -i TCP@{address}')"));
    }
    start_clock(&tunnel, &args)?;
    if attached.to_stdout.contains(&true) && args.sinks.stops_on_error() && !silent {
        stop_with_reader(tunnel.handle()).context("cannot watch the reader of stdout")?;
    }
    let summary = tunnel.run()?;
    let failed = report_failures(&summary.sinks, &attached.to_stdout);
    if !silent {
        if !connections.is_empty() {
            tell(connections.to_string().trim_end());
        }
        tell(summary_line(&summary, attached.packets()));
    }
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// Starts the time that `--stop-after duration:` measures.
fn start_clock(tunnel: &Tunnel, args: &Args) -> anyhow::Result<()> {
    for stop in &args.capture.stop_after {
        if let StopAfter::Duration(duration) = *stop {
            stop_in(duration, tunnel.handle()).context("cannot start a timer")?;
        }
    }
    Ok(())
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let colored = io::stderr().is_terminal() && !no_color();
    let log = tracing_subscriber::fmt().with_max_level(level);
    log.with_ansi(colored).with_writer(io::stderr).init();
}

fn bind(args: &Args) -> anyhow::Result<Tunnel> {
    let mut pairs = args.from.iter().zip(&args.to);
    let Some((from, to)) = pairs.next() else { bail!("nothing to listen on (try '--help')") };
    let mut builder = Tunnel::builder(from, to).limits(args.relay.limits());
    for (from, to) in pairs {
        builder = builder.route(from, to);
    }
    if let Some(workers) = args.relay.workers {
        builder = builder.workers(workers.get());
    }
    Ok(builder.bind()?)
}

/// What is known of the sinks after they were given away.
#[derive(Default)]
struct Attached {
    /// In the order of the tunnel's reports: whether the sink writes to stdout.
    to_stdout: Vec<bool>,
    captures: Vec<CaptureStats>,
    /// What begins a new file of the capture, if it goes to files.
    rotate: Option<RotateHandle>,
    over_ip: Option<SocketAddr>,
}

impl Attached {
    /// Packets in the capture; where there are two they show the same.
    fn packets(&self) -> u64 {
        self.captures.iter().map(CaptureStats::packets).max().unwrap_or_default()
    }
}

/// Makes the sinks. Only now that the tunnel listens: a port in use leaves no empty file.
fn attach_sinks(tunnel: &mut Tunnel, args: &Args) -> anyhow::Result<Attached> {
    let mut attached = Attached::default();
    let named = |name: String| args.sinks.options(name);
    if let Some(console) = args.console.open(args.capture.is_stdout())? {
        attached.to_stdout.push(console.is_stdout);
        tunnel.add_sink(named(format!("the console on {}", console.name)), console.sink);
    }
    let handle = tunnel.handle();
    if let Some(capture) = args.capture.open(move || handle.stop())? {
        attached.captures.push(capture.sink.stats());
        attached.rotate = capture.sink.rotate_handle();
        // Wireshark, too, leaves when it has seen enough.
        attached.to_stdout.push(capture.is_stdout || args.extcap.capture);
        tunnel.add_sink(named(format!("the capture to {}", capture.name)), capture.sink);
    }
    let options = named("the capture over IP".to_owned());
    if let Some(sink) = args.capture.serve(&options)? {
        attached.captures.push(sink.stats());
        attached.over_ip = Some(sink.address());
        attached.to_stdout.push(false);
        tunnel.add_sink(options, sink);
    }
    for stop in &args.capture.stop_after {
        if let StopAfter::Connections(left) = *stop {
            attached.to_stdout.push(false);
            let sink = StopAfterConnections { left, handle: tunnel.handle() };
            tunnel.add_sink(named("the count of connections".to_owned()), sink);
        }
    }
    Ok(attached)
}

/// Adds what remembers the connections for the table at the end.
fn attach_table(tunnel: &mut Tunnel) -> ConnectionTable {
    let sink = TopConnections::new(TABLE_ROWS);
    let table = sink.table();
    tunnel.add_sink(SinkOptions::named("the table of connections"), sink);
    table
}

/// Tells which sinks failed, and whether any did. A reader of stdout who left has seen enough.
fn report_failures(sinks: &[SinkReport], to_stdout: &[bool]) -> bool {
    let mut failed = false;
    for (sink, to_stdout) in sinks.iter().zip(to_stdout) {
        let Some(error) = &sink.error else { continue };
        if *to_stdout && error.kind() == io::ErrorKind::BrokenPipe {
            continue;
        }
        failed = true;
        let hint = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room",
            io::ErrorKind::BrokenPipe => "its reader is gone",
            _ => "what it holds so far is good",
        };
        complain(format_args!("{} failed: {error} ({hint})", sink.name));
    }
    failed
}

fn summary_line(summary: &Summary, packets: u64) -> String {
    let counts = &summary.counts;
    let dropped = summary.sinks.iter().map(|sink| sink.dropped_bytes).sum();
    [
        counted(counts.connections, "connection", ""),
        counted(counts.totals.client_to_server.received, "byte", " client to server"),
        counted(counts.totals.server_to_client.received, "byte", " server to client"),
        counted(packets, "packet", ""),
        counted(dropped, "byte", " dropped"),
    ]
    .join(", ")
}
