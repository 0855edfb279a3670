//! Running the tunnel that the arguments describe.

use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use anyhow::Context;
use tcp_tunn::capture::RotateHandle;
use tcp_tunn::console::summary::{ConnectionTable, TopConnections};
use tcp_tunn::launch::LaunchError;
use tcp_tunn::os_error::Sentence;
use tcp_tunn::sink::{SinkOptions, SinkReport};
use tcp_tunn::tunnel::{Builder, Launched, Tunnel, raise_open_files_limit};
use tracing::level_filters::LevelFilter;

use super::args::Args;
use super::console::wants_color;
use super::counters::{self, Captures, Gauge};
use super::ending::Ending;
use super::leaving::UntilReaderLeaves;
use super::program::{Program, Running};
use super::report::{FAILED, complain, tell};
use super::signals::Signals;
use super::status::Stderr;
use super::stop::{StopAfter, StopAfterConnections, stop_in, stop_with_reader};
use super::systemd::{Manager, passed_sockets};

/// How many connections the table at the end has.
const TABLE_ROWS: usize = 20;

/// The exit code of a program that SIGINT has ended.
const INTERRUPTED: u8 = 130;

/// Relays until a signal, a condition or a failing sink ends it.
pub(super) fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    let stderr = Stderr::new();
    log_to(&stderr, args.verbose);
    raise_limits();
    let passed = passed_sockets()?;
    let mut program = Program::new(&args.program);
    if let Some(program) = &mut program {
        args.tls.prepare(program)?;
    }
    let mut tunnel = bind(&args, passed)?;
    let attached = attach_sinks(&mut tunnel, &args)?;
    let table = attach_table(&mut tunnel);
    let gauge = || Gauge::new(tunnel.handle(), attached.captures.clone());
    // Wireshark takes every line for an error.
    let silent = args.extcap.capture;
    let manager = Manager::keep_informed(&tunnel.handle())?;
    let signals = Signals {
        handle: tunnel.handle(),
        rotate: attached.rotate.clone(),
        table: table.clone(),
        gauge: gauge(),
        stderr: stderr.clone(),
        ending: (!silent).then(|| Ending { gauge: gauge(), stderr: stderr.clone() }),
        manager: manager.clone(),
    };
    signals.watch().context("cannot watch for signals")?;
    if !silent {
        tell_where(&tunnel, &attached);
    }
    start_clock(&tunnel, &args)?;
    if attached.to_stdout.contains(&true) && args.sinks.stops_on_error() && !silent {
        let handle = tunnel.handle();
        stop_with_reader(move || handle.stop()).context("cannot watch the reader of stdout")?;
    }
    let shows_status = args.console.is_quiet() && !silent && program.is_none();
    let status = shows_status.then(|| stderr.show_status(gauge()));
    let status = status.transpose().context("cannot show the status line")?;
    let running = match start(program, &mut tunnel, &args) {
        Ok(running) => running,
        Err(error) => {
            complain(&error);
            return Ok(ExitCode::from(error.exit_code()));
        }
    };
    let io = tunnel.io().clone();
    manager.ready();
    let summary = tunnel.run();
    drop(status);
    let summary = summary?;
    let code = match running {
        Some(running) => running.wait().context("cannot wait for the program")?,
        None => 0,
    };
    if code == INTERRUPTED && io::stderr().is_terminal() {
        // The terminal shows `^C`: what follows begins a new line.
        tell("");
    }
    let failed = report_failures(&summary.sinks, &attached.to_stdout);
    if !silent {
        if !table.is_empty() {
            tell(table.to_string().trim_end());
        }
        tell(counters::summary(&summary, &attached.captures, &io));
    }
    // A program's own failure says more.
    Ok(ExitCode::from(if failed && code == 0 { FAILED } else { code }))
}

fn raise_limits() {
    if let Err(error) = raise_open_files_limit() {
        tracing::warn!("cannot raise the limit of open files: {}", Sentence(&error));
    }
}

/// Starts the program, if there is one.
fn start(
    program: Option<Program>,
    tunnel: &mut Tunnel,
    args: &Args,
) -> Result<Option<Running>, LaunchError> {
    let Some(program) = program else { return Ok(None) };
    let launched = Launched::new(tunnel.catcher(), args.filter.filter());
    program.start(launched, tunnel.handle()).map(Some)
}

/// Tells where clients and readers may connect to.
fn tell_where(tunnel: &Tunnel, attached: &Attached) {
    for listening in tunnel.listening() {
        tell(format_args!("listening on {listening}"));
    }
    if let Some(address) = attached.over_ip {
        let reachable = from_here(address);
        tell(format_args!("capture on {address} (try 'wireshark -k -i TCP@{reachable}')"));
    }
    if let Some(address) = &attached.pushed_to {
        tell(format_args!("capture pushed to {address}"));
    }
    if let Some((address, token)) = &attached.page {
        tell(format_args!("web on http://{}/?token={token}", from_here(*address)));
    }
    if let Some(address) = attached.metrics {
        tell(format_args!("metrics on http://{}/metrics", from_here(address)));
    }
}

/// Where this machine reaches what listens on `address`.
const fn from_here(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        _ => {}
    }
    address
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

pub(super) fn log_to(stderr: &Stderr, verbose: u8) {
    let level = match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let colored = wants_color(&io::stderr());
    let log = tracing_subscriber::fmt().with_max_level(level);
    log.with_ansi(colored).with_writer(stderr.clone()).init();
}

fn bind(args: &Args, passed: Vec<OwnedFd>) -> anyhow::Result<Tunnel> {
    let mut builder = Builder::default()
        .listening_sockets(passed)
        .limits(args.relay.limits())
        .io(args.relay.backend())
        .outgoing(args.outgoing.outgoing())
        .record_only(args.filter.filter());
    for (from, to) in args.from.iter().zip(&args.to) {
        builder = builder.route(from, to);
    }
    builder = args.ingress.add_to(builder);
    if let Some(key_log) = args.tls.decrypts_by() {
        builder = builder.decrypt_tls(key_log);
    }
    builder = args.tls.add_to(builder)?;
    if let Some(interval) = args.look.sample {
        builder = builder.sample(interval);
    }
    if let Some(workers) = args.relay.workers {
        builder = builder.workers(usize::try_from(workers).unwrap_or(usize::MAX));
    }
    Ok(builder.bind()?)
}

/// What is known of the sinks after they were given away.
#[derive(Default)]
struct Attached {
    /// In the order of the tunnel's reports: whether the tunnel ends well when the sink's reader
    /// leaves.
    to_stdout: Vec<bool>,
    captures: Captures,
    /// What begins a new file of the capture, if it goes to files.
    rotate: Option<RotateHandle>,
    over_ip: Option<SocketAddr>,
    /// The collector that the capture goes to.
    pushed_to: Option<String>,
    /// The page's address and token.
    page: Option<(SocketAddr, String)>,
    metrics: Option<SocketAddr>,
}

/// Makes the sinks. Only now that the tunnel listens, and files last: a port in use leaves no
/// empty file.
fn attach_sinks(tunnel: &mut Tunnel, args: &Args) -> anyhow::Result<Attached> {
    let mut attached = Attached::default();
    let named = |name: String| args.sinks.options(name);
    if let Some(console) = args.console.open(args.place(), &args.look, args.verbose)? {
        let options = named(format!("the console on {}", console.name));
        let is_alone = !args.capture.is_any();
        attached.to_stdout.push(console.is_stdout && is_alone);
        if console.is_stdout && !is_alone {
            tunnel.add_sink(options, UntilReaderLeaves::new(console.sink));
        } else {
            tunnel.add_sink(options, console.sink);
        }
    }
    if let Some((options, sink)) = args.web.page(args.capture.options(&args.tls, &args.look))? {
        attached.page = Some((sink.address(), sink.token().to_owned()));
        attached.to_stdout.push(false);
        tunnel.add_sink(options, sink);
    }
    if let Some((options, sink)) = args.web.metrics(tunnel, !args.program.is_empty())? {
        attached.metrics = Some(sink.address());
        attached.to_stdout.push(false);
        tunnel.add_sink(options, sink);
    }
    // Before the file: a port in use must not cost the capture that the file has held so far.
    let options = named("the capture over IP".to_owned());
    if let Some(sink) = args.capture.serve(&args.tls, &args.look, &options)? {
        attached.captures.0.push(sink.stats());
        attached.over_ip = Some(sink.address());
        attached.to_stdout.push(false);
        tunnel.add_sink(options, sink);
    }
    if let Some((address, sink)) = args.capture.push(&args.tls, &args.look)? {
        attached.captures.0.push(sink.stats());
        attached.to_stdout.push(false);
        tunnel.add_sink(named(format!("the capture pushed to {address}")), sink);
        attached.pushed_to = Some(address);
    }
    #[cfg(feature = "fleet")]
    if let Some((server, sink)) = args.fleet.publish()? {
        attached.to_stdout.push(false);
        tunnel.add_sink(named(format!("the events published to {server}")), sink);
    }
    let handle = tunnel.handle();
    if let Some(capture) = args.capture.open(&args.tls, &args.look, move || handle.stop())? {
        attached.captures.0.push(capture.sink.stats());
        attached.rotate = capture.sink.rotate_handle();
        // Wireshark, too, leaves when it has seen enough.
        attached.to_stdout.push(capture.is_stdout || args.extcap.capture);
        tunnel.add_sink(named(format!("the capture to {}", capture.name)), capture.sink);
    }
    if let Some((sink, path)) = args.tls.key_log_out()? {
        attached.to_stdout.push(false);
        tunnel.add_sink(named(format!("the key log to {}", path.display())), sink);
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
        complain(format_args!("{} failed: {} ({hint})", sink.name, Sentence(error)));
    }
    failed
}
