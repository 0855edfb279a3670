//! What is counted, and how it comes up to date.

use std::collections::HashMap;
use std::fmt;

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{Build, End, LegName, SinkName, Way};
use super::options::{MetricsOptions, Sample};
use crate::event::{
    BothTotals, ConnectionId, Direction, Endpoint, Event, EventKind, Info, Timestamp,
};

/// Upper bounds of the time that connects take, in seconds.
const CONNECT_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of round-trip times, in seconds.
const RTT_SECONDS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Two formats of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `text/plain; version=0.0.4`, which everything reads.
    Prometheus,
    /// `application/openmetrics-text`, which Prometheus asks for.
    OpenMetrics,
}

/// The metrics of a tunnel.
pub(super) struct Counted {
    registry: Registry,
    connections: Counter,
    active: Gauge,
    closed: Family<End, Counter>,
    bytes: Family<Way, Counter>,
    dropped: Family<SinkName, Counter>,
    queued: Family<SinkName, Gauge>,
    connect_seconds: Histogram,
    rtt_seconds: Family<LegName, Histogram, fn() -> Histogram>,
    retransmits: Family<LegName, Counter>,
    open_fds: Gauge,
    /// Of the tunnels, by their listeners.
    names: Vec<(Endpoint, String)>,
    other: String,
    open: HashMap<ConnectionId, Open>,
}

/// A connection that is open.
struct Open {
    at: Timestamp,
    tunnel: String,
    /// What was counted of it so far.
    counted: BothTotals,
    /// The segments that each leg was known to have sent again, by side.
    retransmits: [u64; 2],
}

impl Counted {
    pub(super) fn new(options: MetricsOptions) -> Self {
        let mut counted = Self {
            registry: Registry::default(),
            connections: Counter::default(),
            active: Gauge::default(),
            closed: Family::default(),
            bytes: Family::default(),
            dropped: Family::default(),
            queued: Family::default(),
            connect_seconds: Histogram::new(CONNECT_SECONDS),
            rtt_seconds: Family::new_with_constructor(|| Histogram::new(RTT_SECONDS)),
            retransmits: Family::default(),
            open_fds: Gauge::default(),
            names: options.tunnels,
            other: options.other,
            open: HashMap::new(),
        };
        counted.register(options.backend);
        for (_, tunnel) in &counted.names {
            counted.count(tunnel, BothTotals::default(), BothTotals::default());
        }
        counted
    }

    fn register(&mut self, backend: String) {
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION"), backend }).set(1);
        let registry = self.registry.sub_registry_with_prefix("tcp_tunn");
        registry.register("build_info", "The version and the way to the kernel", build);
        registry.register("connections", "Connections accepted", self.connections.clone());
        registry.register("connections_active", "Connections that are open", self.active.clone());
        registry.register(
            "connections_closed",
            "Connections that have ended, by reason and by who ended them",
            self.closed.clone(),
        );
        registry.register(
            "bytes",
            "Bytes received from clients and from servers, those of open connections included",
            self.bytes.clone(),
        );
        registry.register(
            "sink_dropped_bytes",
            "Bytes that a sink wanted and missed",
            self.dropped.clone(),
        );
        registry.register("sink_queue_bytes", "Bytes that wait for a sink", self.queued.clone());
        registry.register_with_unit(
            "connect",
            "Time from accepting a client until its server answered",
            Unit::Seconds,
            self.connect_seconds.clone(),
        );
        let registry = self.registry.sub_registry_with_prefix("tcp_tunn");
        registry.register_with_unit(
            "tcp_rtt",
            "Round-trip times of open connections, at each sample",
            Unit::Seconds,
            self.rtt_seconds.clone(),
        );
        registry.register(
            "tcp_retransmits",
            "Segments that were sent again",
            self.retransmits.clone(),
        );
        self.registry.register(
            "process_open_fds",
            "Number of open file descriptors",
            self.open_fds.clone(),
        );
    }

    /// Counts an event.
    pub(super) fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Open(open) => {
                self.connections.inc();
                self.active.inc();
                let tunnel = self.name(&open.listener).to_owned();
                let (counted, retransmits) = (BothTotals::default(), [0; 2]);
                let open = Open { at: event.time, tunnel, counted, retransmits };
                self.open.insert(event.connection, open);
            }
            EventKind::Connected(_) => {
                if let Some(open) = self.open.get(&event.connection) {
                    let nanos = event.time.nanos_since(open.at);
                    self.connect_seconds.observe(nanos as f64 / 1e9);
                }
            }
            EventKind::Info(info) => self.info(event.connection, info),
            EventKind::Close { reason, totals } => {
                let by = reason.by().map_or("tunnel", |side| side.name());
                self.closed.get_or_create(&End { reason: reason.name(), by }).inc();
                if let Some(open) = self.open.remove(&event.connection) {
                    self.active.dec();
                    self.count(&open.tunnel, open.counted, *totals);
                }
            }
            _ => {}
        }
    }

    /// Counts what the kernel knows of a leg.
    fn info(&mut self, id: ConnectionId, info: &Info) {
        let leg = LegName { leg: info.leg.name() };
        if let Some(rtt) = info.tcp.rtt {
            self.rtt_seconds.get_or_create(&leg).observe(rtt.as_secs_f64());
        }
        if let (Some(now), Some(open)) = (info.tcp.retransmits, self.open.get_mut(&id)) {
            let before = std::mem::replace(&mut open.retransmits[info.leg as usize], now);
            self.retransmits.get_or_create(&leg).inc_by(now.saturating_sub(before));
        }
    }

    /// The name of the tunnel that a listener belongs to.
    fn name(&self, listener: &Endpoint) -> &str {
        let is_it = |known: &Endpoint| match (known.socket_addr(), listener.socket_addr()) {
            (Some(known), Some(found)) if known.ip().is_unspecified() => {
                known.port() == found.port()
            }
            _ => known == listener,
        };
        let found = self.names.iter().find(|(known, _)| is_it(known));
        found.map_or(&self.other, |(_, name)| name)
    }

    /// Counts what a connection's totals have grown by.
    fn count(&self, tunnel: &str, before: BothTotals, now: BothTotals) {
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            let grown = now.get(direction).received.saturating_sub(before.get(direction).received);
            let direction = match direction {
                Direction::ClientToServer => "client_to_server",
                Direction::ServerToClient => "server_to_client",
            };
            let way = Way { tunnel: tunnel.to_owned(), direction };
            self.bytes.get_or_create(&way).inc_by(grown);
        }
    }

    /// Brings everything up to date.
    pub(super) fn update(&mut self, sample: Sample) {
        for progress in sample.open {
            let Some(mut open) = self.open.remove(&progress.connection) else { continue };
            self.count(&open.tunnel, open.counted, progress.totals);
            open.counted = progress.totals;
            self.open.insert(progress.connection, open);
        }
        for sink in sample.sinks {
            let name = SinkName { sink: sink.name };
            self.queued.get_or_create(&name).set(sink.queued_bytes as i64);
            let dropped = self.dropped.get_or_create(&name);
            dropped.inc_by(sink.dropped_bytes.saturating_sub(dropped.get()));
        }
        if let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") {
            // The one by which they are counted is not counted.
            self.open_fds.set((descriptors.count() as i64 - 1).max(0));
        }
    }

    /// Appends all metrics.
    pub(super) fn encode(&self, format: Format, out: &mut String) -> fmt::Result {
        match format {
            Format::Prometheus => prometheus_text::encode(out, &self.registry),
            Format::OpenMetrics => text::encode(out, &self.registry),
        }
    }
}

#[cfg(test)]
mod tests;
