//! A measured run: relay and upstream, what the relay used before, during and after the work, and
//! the line of JSON that says so.

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::Usage;
use crate::relay::{Relay, Server};

/// What the work itself counts.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) connections: u64,
    /// Payload bytes that were verified by the end that received them, both directions.
    pub(crate) verified_bytes: u64,
    /// Requests that were answered, and how long each took, in nanoseconds.
    pub(crate) latencies: Vec<u32>,
    /// Resets of the server that the client saw as resets.
    pub(crate) resets: u64,
    pub(crate) errors: u64,
}

/// The set-up that a workload runs in.
pub(crate) struct Bench {
    /// Where clients connect: the relay, or the server itself where there is no relay.
    pub(crate) address: SocketAddr,
    relay: Option<Relay>,
    server: Server,
    /// Before any connection, or after those that warmed it up were gone.
    before: Usage,
    began: Instant,
    cpu_s_at_begin: f64,
    idle: Option<Usage>,
    /// What the relay took of a core while nothing passed, in percent.
    idle_cpu: Option<f64>,
}

impl Bench {
    pub(crate) fn start(template: Option<&str>, log: Option<&std::path::Path>) -> Result<Self> {
        let server = Server::start()?;
        let relay =
            template.map(|template| Relay::start(template, server.address, log)).transpose()?;
        let address = relay.as_ref().map_or(server.address, |relay| relay.address);
        let before = relay.as_ref().map(Relay::rest).transpose()?.unwrap_or_default();
        let began = Instant::now();
        Ok(Self {
            address,
            relay,
            server,
            before,
            began,
            cpu_s_at_begin: 0.0,
            idle: None,
            idle_cpu: None,
        })
    }

    fn usage(&self) -> Result<Usage> {
        Ok(self.relay.as_ref().map(Relay::usage).transpose()?.unwrap_or_default())
    }

    /// From here on it counts. `warm` when connections have already come and gone: then what they
    /// left behind is waited for.
    pub(crate) fn begin(&mut self, warm: bool) -> Result<()> {
        if let Some(relay) = &self.relay
            && warm
        {
            self.before = relay.settle(self.before.fds)?;
        }
        self.cpu_s_at_begin = self.usage()?.cpu_s;
        self.began = Instant::now();
        Ok(())
    }

    /// Takes note of what idle connections hold.
    pub(crate) fn note_idle(&mut self) -> Result<()> {
        self.idle = Some(self.usage()?);
        Ok(())
    }

    /// Takes note of what it cost to hold them, for this long since they were noted.
    pub(crate) fn note_idle_cpu(&mut self, time: Duration) -> Result<()> {
        let before = self.idle.as_ref().map_or(0.0, |idle| idle.cpu_s);
        self.idle_cpu = Some(100.0 * (self.usage()?.cpu_s - before) / time.as_secs_f64());
        Ok(())
    }

    /// The work is done, all clients are closed: ends the relay and reports.
    pub(crate) fn finish(self, seconds: f64, outcome: &Outcome) -> Result<Report> {
        let mut report = Report::default();
        report.work(seconds, outcome);
        if let Some(percent) = self.idle_cpu {
            report.decimal("idle_cpu_percent", percent);
        }
        if let Some(relay) = self.relay {
            let after = relay.settle(self.before.fds)?;
            report.resources(&self.before, self.idle.as_ref(), &after, outcome.connections);
            let ended = relay.stop()?;
            report.cost(seconds, ended.stop_s, ended.cpu_s - self.cpu_s_at_begin, outcome);
        }
        drop(self.server);
        Ok(report)
    }

    /// Seconds since [`Bench::begin`].
    pub(crate) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// Names and numbers in order; displayed as one flat JSON object.
#[derive(Default)]
pub(crate) struct Report(Vec<(&'static str, String)>);

impl Report {
    pub(crate) fn text(&mut self, name: &'static str, value: &str) {
        self.0.push((name, format!("\"{}\"", value.escape_default())));
    }

    pub(crate) fn count(&mut self, name: &'static str, value: impl Display) {
        self.0.push((name, value.to_string()));
    }

    pub(crate) fn decimal(&mut self, name: &'static str, value: f64) {
        // JSON has no infinity: what was divided by nothing is left out.
        if value.is_finite() {
            self.0.push((name, format!("{value:.4}")));
        }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    fn work(&mut self, seconds: f64, outcome: &Outcome) {
        self.decimal("seconds", seconds);
        self.count("connections", outcome.connections);
        self.decimal("connections_per_s", outcome.connections as f64 / seconds);
        self.count("verified_bytes", outcome.verified_bytes);
        self.decimal("gb_per_s", gigabytes(outcome) / seconds);
        self.count("errors", outcome.errors);
        if outcome.resets > 0 {
            self.count("resets_seen", outcome.resets);
        }
        let mut latencies = outcome.latencies.clone();
        if !latencies.is_empty() {
            latencies.sort_unstable();
            let percentile = |p: usize| f64::from(latencies[(latencies.len() - 1) * p / 100]) / 1e3;
            self.decimal("requests_per_s", latencies.len() as f64 / seconds);
            self.decimal("p50_us", percentile(50));
            self.decimal("p99_us", percentile(99));
        }
    }

    fn resources(&mut self, before: &Usage, idle: Option<&Usage>, after: &Usage, connections: u64) {
        if let Some(idle) = idle {
            let grown = idle.rss_kb.saturating_sub(before.rss_kb);
            self.count("idle_rss_kb", idle.rss_kb);
            self.decimal("idle_kb_per_connection", grown as f64 / connections as f64);
            self.count("idle_fds", idle.fds);
            self.count("idle_threads", idle.threads);
        }
        self.count("rss_before_kb", before.rss_kb);
        self.count("rss_after_kb", after.rss_kb);
        self.count("rss_peak_kb", after.peak_kb);
        self.count("fds_before", before.fds);
        self.count("fds_after", after.fds);
        self.count("threads_before", before.threads);
        self.count("threads_after", after.threads);
    }

    fn cost(&mut self, seconds: f64, stop_s: f64, cpu_s: f64, outcome: &Outcome) {
        let requests = outcome.latencies.len() as f64;
        self.decimal("stop_s", stop_s);
        // What a relay has only buffered when the last byte is verified it has yet to write out.
        self.decimal("flushed_gb_per_s", gigabytes(outcome) / (seconds + stop_s));
        self.decimal("cpu_s", cpu_s);
        self.decimal("cpu_s_per_gb", cpu_s / gigabytes(outcome));
        self.decimal("cpu_us_per_request", cpu_s * 1e6 / requests);
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<String> =
            self.0.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        write!(f, "{{{}}}", fields.join(","))
    }
}

fn gigabytes(outcome: &Outcome) -> f64 {
    outcome.verified_bytes as f64 / 1e9
}
