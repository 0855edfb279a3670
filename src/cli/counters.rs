//! The tunnel's counters in words.

use std::fmt::Display;
use std::time::{Duration, Instant};

use indicatif::HumanBytes;
use tcp_tunn::capture::CaptureStats;
use tcp_tunn::sink::SinkReport;
use tcp_tunn::tunnel::{ChosenIo, Counts, Handle, Stats, Summary};

use super::web::PAGE;

/// What the captures hold. Where there are two they show the same.
#[derive(Clone, Default)]
pub(super) struct Captures(pub(super) Vec<CaptureStats>);

impl Captures {
    fn largest(&self, of: impl Fn(&CaptureStats) -> u64) -> Option<u64> {
        self.0.iter().map(of).max()
    }
}

/// Bytes a second, in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rates {
    to_server: u64,
    to_client: u64,
}

/// Tells how fast bytes passed since it was last asked.
struct Meter {
    at: Instant,
    counts: Counts,
}

impl Meter {
    fn rates(&mut self, now: Instant, counts: Counts) -> Rates {
        let elapsed = now.duration_since(self.at);
        let rate = |of: fn(&Counts) -> u64| {
            a_second(of(&counts).saturating_sub(of(&self.counts)), elapsed)
        };
        let rates = Rates { to_server: rate(to_server), to_client: rate(to_client) };
        (self.at, self.counts) = (now, counts);
        rates
    }
}

fn a_second(bytes: u64, elapsed: Duration) -> u64 {
    // A moment that is too short would make much of little.
    (bytes as f64 / elapsed.as_secs_f64().max(1e-3)).round() as u64
}

fn to_server(counts: &Counts) -> u64 {
    counts.totals.client_to_server.received
}

fn to_client(counts: &Counts) -> u64 {
    counts.totals.server_to_client.received
}

/// Watches a tunnel that runs.
pub(super) struct Gauge {
    handle: Handle,
    captures: Captures,
    meter: Meter,
}

impl Gauge {
    pub(super) fn new(handle: Handle, captures: Captures) -> Self {
        let meter = Meter { at: Instant::now(), counts: Counts::default() };
        Self { handle, captures, meter }
    }

    /// All there is to know, the rates since the last time.
    pub(super) fn full(&mut self) -> String {
        let (stats, rates) = self.read();
        full(&stats, rates)
    }

    /// What fits a line of a terminal, the rates since the last time.
    pub(super) fn short(&mut self) -> String {
        let (stats, rates) = self.read();
        short(&stats, rates, self.captures.largest(CaptureStats::bytes))
    }

    /// What a tunnel that shall end waits for, and how that is now.
    pub(super) fn waits_for(&self) -> (String, String) {
        waits_for(&self.handle.stats())
    }

    fn read(&mut self) -> (Stats, Rates) {
        let stats = self.handle.stats();
        let rates = self.meter.rates(Instant::now(), stats.counts);
        (stats, rates)
    }
}

fn full(stats: &Stats, rates: Rates) -> String {
    let counts = &stats.counts;
    let mut line = [
        format!("{} of {}", counted(open(counts), "connection", " open"), counts.connections),
        passed(to_server(counts), " client to server", rates.to_server),
        passed(to_client(counts), " server to client", rates.to_client),
    ]
    .join(", ");
    for sink in &stats.sinks {
        let (queued, room) = (sink.queued_bytes, counted(sink.buffer_bytes as u64, "byte", ""));
        line += &format!("; {}: {queued} of {room} queued", sink.name);
        line += &format!(", {}", counted(sink.dropped_bytes, "byte", " dropped"));
    }
    line
}

fn waits_for(stats: &Stats) -> (String, String) {
    let open = open(&stats.counts);
    if open > 0 {
        return ("connections to finish".to_owned(), format!(", {open} left"));
    }
    match stats.sinks.iter().find(|sink| !sink.has_ended) {
        Some(sink) => {
            let queued = counted(sink.queued_bytes as u64, "byte", " queued");
            (sink.name.clone(), format!(", {queued}"))
        }
        None => ("its sinks".to_owned(), String::new()),
    }
}

fn passed(bytes: u64, way: &str, rate: u64) -> String {
    format!("{} at {}", counted(bytes, "byte", way), counted(rate, "byte", "/s"))
}

fn short(stats: &Stats, rates: Rates, captured: Option<u64>) -> String {
    let counts = &stats.counts;
    let mut parts = vec![
        format!("{} open of {}", open(counts), counts.connections),
        format!("-> {}/s", HumanBytes(rates.to_server)),
        format!("<- {}/s", HumanBytes(rates.to_client)),
    ];
    parts.extend(captured.map(|bytes| format!("{} captured", HumanBytes(bytes))));
    let outputs = stats.sinks.iter().filter(|sink| sink.name != PAGE);
    let dropped = outputs.map(|sink| sink.dropped_bytes).sum();
    parts.push(format!("{} dropped", HumanBytes(dropped)));
    parts.join(", ")
}

fn open(counts: &Counts) -> u64 {
    counts.connections.saturating_sub(counts.closed)
}

/// What a tunnel did, when it has ended, and why it did so by epoll where it had to.
pub(super) fn summary(summary: &Summary, captures: &Captures, io: &ChosenIo) -> String {
    let counts = &summary.counts;
    // What the page misses has a figure of its own: no output lacks it.
    let outputs = || summary.sinks.iter().filter(|sink| sink.name != PAGE);
    let sum = |of: fn(&SinkReport) -> u64| outputs().map(of).sum::<u64>();
    let dropped = sum(|sink| sink.dropped_bytes);
    let (sent, answered) = (sum(|sink| sink.dropped_to_server), sum(|sink| sink.dropped_to_client));
    let by_direction = match dropped {
        0 => " dropped".to_owned(),
        _ => format!(" dropped ({sent} client to server, {answered} server to client)"),
    };
    let figures = [
        counted(counts.connections, "connection", ""),
        counted(to_server(counts), "byte", " client to server"),
        counted(to_client(counts), "byte", " server to client"),
        counted(captures.largest(CaptureStats::packets).unwrap_or_default(), "packet", ""),
        counted(dropped, "byte", by_direction),
    ];
    let page = summary.sinks.iter().find(|sink| sink.name == PAGE && sink.dropped_bytes > 0);
    let page = page.map(|page| counted(page.dropped_bytes, "byte", " missed by the page"));
    let rejected = (counts.rejected > 0).then(|| format!("{} rejected", counts.rejected));
    let io = io.why.as_ref().map(|why| format!("io {}: {why}", io.backend));
    figures.into_iter().chain(page).chain(rejected).chain(io).collect::<Vec<_>>().join(", ")
}

fn counted(count: u64, what: &str, how: impl Display) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}{how}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_of_one_is_singular() {
        assert_eq!(counted(0, "byte", "/s"), "0 bytes/s");
        assert_eq!(counted(1, "connection", " open"), "1 connection open");
        assert_eq!(counted(2, "connection", " open"), "2 connections open");
    }

    #[test]
    fn rate_covers_time_since_last_report() {
        let start = Instant::now();
        let mut meter = Meter { at: start, counts: Counts::default() };
        let mut counts = Counts::default();
        counts.totals.client_to_server.received = 3000;
        counts.totals.server_to_client.received = 500;
        let rates = meter.rates(start + Duration::from_secs(2), counts);
        assert_eq!(rates, Rates { to_server: 1500, to_client: 250 });
        counts.totals.server_to_client.received = 600;
        let rates = meter.rates(start + Duration::from_millis(2100), counts);
        assert_eq!(rates, Rates { to_server: 0, to_client: 1000 });
        assert_eq!(a_second(7, Duration::ZERO), 7000, "no division by zero");
    }
}
