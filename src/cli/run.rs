//! Running the tunnel that the arguments describe.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context, bail};
use tcp_tunn::sink::SinkReport;
use tcp_tunn::sink::pcapng::CaptureStats;
use tcp_tunn::tunnel::{Summary, Tunnel, raise_open_files_limit};
use tracing::level_filters::LevelFilter;

use super::args::Args;
use super::console::no_color;
use super::signals::stop_on_signals;
use super::{FAILED, complain, tell};

/// What is known of the sinks after they were given away.
#[derive(Default)]
struct Attached {
    /// In the order of the tunnel's reports: whether the sink writes to stdout.
    to_stdout: Vec<bool>,
    capture: CaptureStats,
}

/// Relays until a signal or a failing sink ends it.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    log_to_stderr(args.verbose);
    if let Err(error) = raise_open_files_limit() {
        tracing::warn!("cannot raise the limit of open files: {error}");
    }
    let mut tunnel = bind(&args)?;
    let attached = attach_sinks(&mut tunnel, &args)?;
    stop_on_signals(tunnel.handle()).context("cannot watch for signals")?;
    for route in tunnel.routes() {
        tell(format_args!("listening on {} -> {}", route.listening(), route.target()));
    }
    let summary = tunnel.run()?;
    let failed = report_failures(&summary.sinks, &attached.to_stdout);
    tell(summary_line(&summary, &attached.capture));
    Ok(if failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
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

/// Makes the sinks. Only now that the tunnel listens: a port in use leaves no empty file.
fn attach_sinks(tunnel: &mut Tunnel, args: &Args) -> anyhow::Result<Attached> {
    let mut attached = Attached::default();
    if let Some(console) = args.console.open(args.capture.is_stdout())? {
        attached.to_stdout.push(console.is_stdout);
        let name = format!("the console on {}", console.name);
        tunnel.add_sink(args.sinks.options(name), console.sink);
    }
    if let Some(capture) = args.capture.open()? {
        attached.capture = capture.sink.stats();
        attached.to_stdout.push(capture.is_stdout);
        let name = format!("the capture to {}", capture.name);
        tunnel.add_sink(args.sinks.options(name), capture.sink);
    }
    Ok(attached)
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

fn summary_line(summary: &Summary, capture: &CaptureStats) -> String {
    let counts = &summary.counts;
    let dropped = summary.sinks.iter().map(|sink| sink.dropped_bytes).sum();
    [
        counted(counts.connections, "connection", ""),
        counted(counts.totals.client_to_server.received, "byte", " client to server"),
        counted(counts.totals.server_to_client.received, "byte", " server to client"),
        counted(capture.packets(), "packet", ""),
        counted(dropped, "byte", " dropped"),
    ]
    .join(", ")
}

fn counted(count: u64, what: &str, how: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}{how}")
}
