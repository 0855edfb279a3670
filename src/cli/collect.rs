//! The command `tcp_tunn collect`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use clap::builder::{StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser};
use tcp_tunn::capture::PcapngOptions;
use tcp_tunn::event::Timestamp;
use tcp_tunn::fleet::{Archive, Collected, Collector, CollectorOptions, Server, Since, StopHandle};
use tcp_tunn::os_error::Sentence;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::capture::command_line;
use super::fleet::{known_to, server};
use super::ranges::{self, time};
use super::report::{file_hint, tell};
use super::run::log_to;
use super::status::Stderr;
use super::stdio::Patient;
use super::stop::stop_with_reader;

/// The word that asks for it.
pub(super) const COMMAND: &str = "collect";

/// Makes one capture, or tables, of what the tunnels of many hosts publish
#[derive(Debug, Parser)]
#[command(name = "tcp_tunn collect", version)]
#[command(override_usage = "tcp_tunn collect --from URL --pcap FILE|- [OPTIONS]\n       \
                            tcp_tunn collect --from URL --parquet DIR [OPTIONS]")]
pub(crate) struct CollectArgs {
    /// Read from this NATS server
    ///
    /// Read from this NATS server (nats://[USER:PASS@]HOST:PORT or tls://...). NATS_USER and
    /// NATS_PASSWORD, NATS_TOKEN or NATS_CREDS in the environment say who we are.
    #[arg(long, value_name = "URL", value_parser = server())]
    from: Server,

    /// Write a pcapng capture of all hosts to this file; - is stdout
    #[arg(long, value_name = "FILE|-", required_unless_present = "parquet")]
    pcap: Option<PathBuf>,

    /// Write Parquet tables of connections and chunks below this directory
    ///
    /// Write Parquet tables of connections and chunks below this directory. A later run goes on
    /// where one has stopped.
    #[arg(long, value_name = "DIR", conflicts_with = "pcap")]
    parquet: Option<PathBuf>,

    /// Continue with what comes; without --since, show nothing else
    #[arg(long)]
    follow: bool,

    /// Begin at this time, such as 2026-11-22T13:00:00Z, or this long ago
    #[arg(long, value_name = "TIME|DUR", value_parser = moment())]
    since: Option<SystemTime>,

    /// Leave out what happened from this time on
    #[arg(long, value_name = "TIME|DUR", value_parser = moment())]
    until: Option<SystemTime>,

    /// Show only the hosts of this site
    #[arg(long, value_name = "NAME")]
    site: Option<String>,

    /// Show only this host
    #[arg(long, value_name = "NAME")]
    host: Option<String>,

    /// Wait at most this long for a host that sends nothing
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = time("max-delay"))]
    max_delay: Duration,

    /// Log more to stderr; give it again for still more
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// A moment, or how long ago it was.
fn moment() -> impl TypedValueParser<Value = SystemTime> {
    StringValueParser::new().try_map(|text: String| {
        let ago = humantime::parse_duration(&text).ok();
        let then = ago.and_then(|ago| SystemTime::now().checked_sub(ago));
        let then = then.or_else(|| humantime::parse_rfc3339_weak(&text).ok());
        then.ok_or("not a time (expected a form such as '2026-11-22T13:00:00Z' or '90m')")
    })
}

/// Reads the command line after `collect`.
pub(super) fn parse(words: impl Iterator<Item = OsString>) -> Result<CollectArgs, clap::Error> {
    let mut words: Vec<_> = words.collect();
    words.remove(1);
    let matches = ranges::parse(ranges::named_in_help(CollectArgs::command()), &words)?;
    let args = <CollectArgs as clap::FromArgMatches>::from_arg_matches(&matches)?;
    if args.is_stdout() && io::stdout().is_terminal() {
        let what = "--pcap - would write a capture to the terminal";
        let what = format!("{what} (try '--pcap - | wireshark -k -i -' or '--pcap FILE')");
        return Err(CollectArgs::command().error(ErrorKind::ArgumentConflict, what));
    }
    Ok(args)
}

impl CollectArgs {
    fn is_stdout(&self) -> bool {
        self.pcap.as_deref() == Some(Path::new("-"))
    }

    fn options(&self) -> CollectorOptions {
        let mut options = CollectorOptions::new(known_to(self.from.clone()));
        options.site.clone_from(&self.site);
        options.host.clone_from(&self.host);
        options.follow = self.follow;
        options.max_delay = self.max_delay;
        options.since = match self.since {
            Some(since) => Since::Time(since),
            None if self.follow => Since::Now,
            None => Since::Start,
        };
        let nanos = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
        };
        options.until = self.until.map(nanos);
        options
    }

    fn output(&self) -> io::Result<Output> {
        if let Some(folder) = &self.parquet {
            let tables = Archive::new(self.options(), folder)?;
            return Ok(Output::Tables(Box::new(tables)));
        }
        let mut pcapng = PcapngOptions::default();
        pcapng.comment = Some(command_line());
        let collector = match &self.pcap {
            Some(path) if !self.is_stdout() => Collector::to_file(self.options(), path, pcapng),
            _ => {
                let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from)?;
                Collector::to_writer(self.options(), Patient(stdout), pcapng)
            }
        };
        collector.map(|collector| Output::Capture(Box::new(collector)))
    }

    /// What is written to.
    fn name(&self) -> String {
        let path = self.parquet.as_ref().or(self.pcap.as_ref());
        let path = path.filter(|_| !self.is_stdout());
        path.map_or_else(|| "stdout".to_owned(), |path| path.display().to_string())
    }
}

/// What the events become.
enum Output {
    Capture(Box<Collector>),
    Tables(Box<Archive>),
}

/// Collects until all is read, or a signal comes, or the reader leaves.
pub(super) fn run(args: CollectArgs) -> anyhow::Result<()> {
    log_to(&Stderr::new(), args.verbose);
    let output = args.output().map_err(|error| {
        let (name, hint) = (args.name(), file_hint(&error));
        anyhow!("cannot write to {name}: {} ({hint})", Sentence(&error))
    })?;
    let stop = match &output {
        Output::Capture(collector) => collector.stop_handle(),
        Output::Tables(archive) => archive.stop_handle(),
    };
    if args.is_stdout() {
        let stop = stop.clone();
        stop_with_reader(move || stop.stop()).context("cannot watch the reader of stdout")?;
    }
    stop_at_signal(stop).context("cannot watch for signals")?;
    if args.follow {
        tell(format_args!("collecting from {}", args.from));
    }
    let collected = match output {
        Output::Capture(collector) => collector.run(),
        Output::Tables(archive) => archive.run(),
    };
    match collected {
        Ok(collected) => tell(summary(&collected)),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && args.is_stdout() => {}
        Err(error) => {
            let (from, error) = (&args.from, Sentence(&error));
            return Err(anyhow!("cannot collect from {from}: {error}"));
        }
    }
    Ok(())
}

fn summary(collected: &Collected) -> String {
    let Collected { batches, duplicates, lost_batches, missing_bytes, packets, .. } = collected;
    format!(
        "{batches} batches, {packets} packets, {duplicates} duplicates, \
         {lost_batches} batches lost, {missing_bytes} bytes missing"
    )
}

/// Completes the capture at SIGINT or SIGTERM. When this returns they are caught.
fn stop_at_signal(stop: StopHandle) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        stop.stop();
    })?;
    Ok(())
}
