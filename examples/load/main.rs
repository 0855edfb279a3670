//! Loads a relay and says what it did and what it cost, as one line of JSON.
//!
//! ```text
//! load --relay 'socat TCP-LISTEN:{from_port},bind=127.0.0.1,fork TCP:{to}' bulk --connections 8
//! ```
//!
//! It starts its own upstream (a second process), then the relay from the template, waits until it
//! listens, does the work, ends the relay with SIGTERM and ends everything that it started, also
//! when it is interrupted. Without `--relay` clients connect to the upstream directly, which is
//! the figure to compare with. All traffic stays on 127.0.0.1, and each byte of it is verified by
//! the end that receives it; the exit code is 1 when one was wrong or any connection failed.
//!
//! Figures: GB is 10^9 bytes of payload, both directions; CPU is user and system time of the
//! relay's whole process tree, from the beginning of the work until it has ended.

mod client;
mod follow;
mod measure;
mod pattern;
mod process;
mod relay;
mod server;
mod wire;
mod workloads;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use measure::{Bench, Outcome, Report};
use workloads::Storm;

#[derive(Parser)]
#[command(about = "Load a TCP relay over loopback, verify every byte, print what it cost")]
struct Arguments {
    /// Command of the relay; {from}, {to}, {from_port}, {to_port} are filled in
    #[arg(long)]
    relay: Option<String>,
    /// Name of this run in the output, as ROW/RELAY
    #[arg(long, default_value = "load/relay")]
    name: String,
    /// Append what the relay writes to standard error to this file
    #[arg(long)]
    log: Option<PathBuf>,
    /// Most that the whole run may take, in seconds
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// One way, as fast as it goes
    Bulk {
        #[arg(long, default_value_t = 1)]
        connections: usize,
        /// In all, spread over the connections
        #[arg(long, default_value_t = 1_000_000_000)]
        bytes: u64,
    },
    /// Ping-pong on every connection: requests/s and latency
    Rr {
        #[arg(long, default_value_t = 1)]
        connections: usize,
        #[arg(long, default_value_t = 64)]
        size: usize,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Connect, one exchange, close, again and again: connections/s, and what is left behind
    Connect(StormArguments),
    /// Connections that end in resets, by client and server, early and late
    Abort(StormArguments),
    /// Connections open all at once: idle, then each exchanging messages of random sizes
    Hold {
        #[arg(long, default_value_t = 1000)]
        connections: usize,
        /// Exchanges of each connection, of up to 4096 bytes
        #[arg(long, default_value_t = 10)]
        rounds: u32,
        /// How long they are idle while the relay's CPU is measured
        #[arg(long, default_value_t = 0.0)]
        idle_seconds: f64,
    },
    /// Both directions at once in random chunks, paced, with half-closes; see `follow`
    Streams {
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Of each connection, each way
        #[arg(long, default_value_t = 1_000_000)]
        bytes: u64,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
    },
    /// Time from start to the line that begins with `listening`, and memory then
    Start,
    /// Verify tshark's followed streams of a capture of `streams`, from standard input
    Follow,
    /// The upstream alone, until standard input ends
    Server {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

#[derive(clap::Args, Clone, Copy)]
struct StormArguments {
    /// Connections open at once
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Connections in all
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    count: u64,
    /// Ends then, whatever was reached
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Connections before the measurement begins
    #[arg(long, default_value_t = 0)]
    warm_up: u64,
}

impl From<StormArguments> for Storm {
    fn from(arguments: StormArguments) -> Self {
        Self {
            at_once: arguments.connections,
            count: arguments.count,
            time: Duration::from_secs_f64(arguments.seconds),
            warm_up: arguments.warm_up,
        }
    }
}

/// Bytes of the one exchange of a short connection.
const SHORT: usize = 64;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let time = Duration::from_secs(arguments.timeout);
    let result = tokio::select! {
        result = tokio::time::timeout(time, run(arguments)) => {
            result.unwrap_or_else(|_| Err(anyhow::anyhow!("the run took longer than {time:?}")))
        }
        result = interrupted() => result,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends with an error when somebody wants this program to end; what it started ends with it.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    bail!("interrupted")
}

async fn run(arguments: Arguments) -> Result<()> {
    let mut report = Report::default();
    let (row, relay) = arguments.name.split_once('/').context("--name wants ROW/RELAY")?;
    report.text("row", row);
    report.text("relay", relay);
    let mut errors = 0;
    match arguments.work {
        Work::Server { listen } => return server::run(listen).await,
        Work::Follow => {
            let followed = follow::verify(io::stdin().lock())?;
            report.count("streams", followed.streams);
            report.count("verified_bytes", followed.bytes);
        }
        Work::Start => {
            let template = arguments.relay.context("start wants --relay")?;
            let (seconds, usage) = relay::time_to_listen(&template)?;
            report.decimal("start_ms", seconds * 1e3);
            report.count("rss_start_kb", usage.rss_kb);
        }
        work => {
            let mut bench = Bench::start(arguments.relay.as_deref(), arguments.log.as_deref())?;
            let outcome = load(&mut bench, work).await?;
            let seconds = bench.seconds();
            errors = outcome.errors;
            report.extend(bench.finish(seconds, &outcome)?);
        }
    }
    writeln!(io::stdout(), "{report}")?;
    anyhow::ensure!(errors == 0, "{errors} tasks failed");
    Ok(())
}

async fn load(bench: &mut Bench, work: Work) -> Result<Outcome> {
    match work {
        Work::Bulk { connections, bytes } => workloads::bulk(bench, connections, bytes).await,
        Work::Rr { connections, size, seconds } => {
            let time = Duration::from_secs_f64(seconds);
            workloads::ping_pong(bench, connections, size, time).await
        }
        Work::Connect(storm) => workloads::short_connections(bench, storm.into(), SHORT).await,
        Work::Abort(storm) => workloads::resets(bench, storm.into()).await,
        Work::Hold { connections, rounds, idle_seconds } => {
            let idle = Duration::from_secs_f64(idle_seconds);
            workloads::hold(bench, connections, rounds, idle).await
        }
        Work::Streams { connections, bytes, seconds } => {
            let time = Duration::from_secs_f64(seconds);
            workloads::streams(bench, connections, bytes, time).await
        }
        Work::Start | Work::Follow | Work::Server { .. } => bail!("no load"),
    }
}
