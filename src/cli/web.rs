//! The live page and the metrics: `--web` and what belongs to it.

use std::io;

use anyhow::anyhow;
use tcp_tunn::capture::PcapngOptions;
use tcp_tunn::metrics::{MetricsOptions, MetricsSink, Sample};
use tcp_tunn::os_error::Sentence;
use tcp_tunn::sink::{OnError, OnSlow, SinkOptions};
use tcp_tunn::tunnel::{Address, Listening, Target, Tunnel};
use tcp_tunn::web::{WebOptions, WebSink};

use super::ranges::number;
use super::values::http_address;

/// The name of the page's sink in messages.
pub(super) const PAGE: &str = "the page";
/// The share of the memory that is the page's queue, and its most in bytes.
const QUEUE_SHARE: usize = 4;
const QUEUE_MAX: usize = 16 << 20;

/// What can be looked at by HTTP.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Console and page options")]
pub(super) struct WebArgs {
    /// Show connections on a live page at this address
    ///
    /// Show connections and their data on a live page at this address, such as 127.0.0.1:0. A line
    /// on stderr names its URL, with a token in it: nobody can open the page without that.
    #[arg(long, value_name = "ADDR", env = "TCP_TUNN_WEB", hide_env = true)]
    #[arg(value_parser = http_address())]
    web: Option<Address>,

    /// Serve metrics for Prometheus at this address
    ///
    /// Serve metrics for Prometheus at this address, such as 127.0.0.1:9090, under /metrics. Who
    /// can connect to it can read them.
    #[arg(long, value_name = "ADDR", value_parser = http_address(), hide_short_help = true)]
    metrics: Option<Address>,

    /// Hold at most this much for the page; the oldest data goes first
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = number("web-buffer"))]
    #[arg(hide_short_help = true)]
    web_buffer: u64,
}

impl WebArgs {
    /// Starts the page, if it is asked for. `capture` is how its downloads are made.
    pub(super) fn page(
        &self,
        capture: PcapngOptions,
    ) -> anyhow::Result<Option<(SinkOptions, WebSink)>> {
        let Some(address) = &self.web else { return Ok(None) };
        let memory = usize::try_from(self.web_buffer).unwrap_or(usize::MAX);
        let queue = (memory / QUEUE_SHARE).min(QUEUE_MAX);
        let mut options = WebOptions::default();
        options.buffer_bytes = memory - queue;
        options.capture = capture;
        if let Address::Name { host, .. } = address {
            options.host_names.push(host.clone());
        }
        let sink = WebSink::bind(listened(address), options);
        let sink = sink.map_err(|error| cannot_serve("the page", address, &error))?;
        // Whatever becomes of the page, what it shows goes on.
        let sink_options = SinkOptions::named(PAGE)
            .buffer_bytes(queue)
            .on_slow(OnSlow::Drop)
            .on_error(OnError::Detach);
        Ok(Some((sink_options, sink)))
    }

    /// Starts to serve metrics of `tunnel`, if that is asked for.
    pub(super) fn metrics(
        &self,
        tunnel: &Tunnel,
        is_run: bool,
    ) -> anyhow::Result<Option<(SinkOptions, MetricsSink)>> {
        let Some(address) = &self.metrics else { return Ok(None) };
        let handle = tunnel.handle();
        let sample = move || Sample { open: handle.connections(), sinks: handle.stats().sinks };
        let sink = MetricsSink::bind(listened(address), names(tunnel, is_run), sample);
        let sink = sink.map_err(|error| cannot_serve("metrics", address, &error))?;
        Ok(Some((SinkOptions::named("the metrics").on_error(OnError::Detach), sink)))
    }
}

/// How the metrics call a tunnel's connections.
fn names(tunnel: &Tunnel, is_run: bool) -> MetricsOptions {
    let listening = tunnel.listening();
    let name = |listening: &Listening| (listening.address().clone(), listening.to_string());
    let mut options = MetricsOptions::default();
    options.tunnels = listening.iter().map(name).collect();
    // Where the kernel or a header names the listener, it may be any.
    let is_original = |listening: &&Listening| matches!(listening.target(), Target::Original);
    let alone = Some(listening).filter(|all| all.len() == 1).and_then(<[_]>::first);
    let other = alone.or_else(|| listening.iter().find(is_original));
    let otherwise = if is_run { "run" } else { "other" };
    options.other = other.map_or_else(|| otherwise.to_owned(), ToString::to_string);
    options.backend = tunnel.io().backend.to_string();
    options
}

/// The address as the standard library takes it.
fn listened(address: &Address) -> String {
    match address {
        Address::Any { port } => format!("[::]:{port}"),
        other => other.to_string(),
    }
}

fn cannot_serve(what: &str, address: &Address, error: &io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "choose another port, or 0 for any that is free",
        io::ErrorKind::PermissionDenied => "choose a port from 1024 up",
        _ => "choose an address of this machine, such as 127.0.0.1:0",
    };
    anyhow!("cannot serve {what} on {address}: {} ({hint})", Sentence(error))
}
