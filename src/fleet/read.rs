//! Reads batches from JetStream, in order and each once unless they were stored twice.

use std::error::Error;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, SystemTime};

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::origin::{Kind, Origin, PREFIX, token};
use super::server::Server;
use super::wire::{Batch, decode};

/// What is asked for at once. An ordered consumer, which bounds nothing, stalls on large messages.
const MESSAGES: usize = 256;
const BYTES: usize = 16 << 20;
/// How long the server waits for more when there is less.
const EXPIRES: Duration = Duration::from_millis(500);
/// How much later than that its answer may come.
const GRACE: Duration = Duration::from_secs(5);
/// How long the server keeps a consumer that asks for nothing.
const INACTIVE: Duration = Duration::from_secs(60);
/// How long to wait before a lost consumer is made again, or a stream is looked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// A batch that was read.
pub(super) struct Arrived {
    pub(super) origin: Origin,
    pub(super) kind: Kind,
    pub(super) batch: Batch,
    /// Which message of its stream it was.
    pub(super) sequence: u64,
}

/// Which batches are read.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) site: Option<String>,
    pub(super) host: Option<String>,
    pub(super) since: Since,
    pub(super) follow: bool,
    /// Which kinds, of which those that come first are read first.
    pub(super) kinds: &'static [Kind],
    /// Only messages after this one of the stream, if there is one; whatever `since` says.
    pub(super) after: Option<u64>,
}

/// From when on batches are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// From the first that the server has.
    #[default]
    Start,
    /// What comes from now on.
    Now,
    /// What the server has stored since this moment.
    Time(SystemTime),
}

type Failure = Box<dyn Error + Send + Sync>;

/// Reads until it is stopped, or all is read.
pub(super) fn run(
    server: &Server,
    selection: &Selection,
    to: &SyncSender<Arrived>,
    stop: &watch::Sender<bool>,
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let (_client, context) = server.connect().await?;
        let reading = async {
            if selection.follow {
                follow(&context, selection, to).await
            } else {
                read_history(&context, selection, to).await
            }
        };
        let mut stop = stop.subscribe();
        tokio::select! {
            read = reading => read,
            _ = stop.wait_for(|is_stopped| *is_stopped) => Ok(()),
        }
    })
}

impl Selection {
    /// The subjects of one kind of batches, or of all kinds.
    fn filter(&self, kind: Option<Kind>) -> String {
        let word = |name: &Option<String>| name.as_deref().map_or_else(|| "*".into(), token);
        let (site, host) = (word(&self.site), word(&self.host));
        let kind = kind.map_or("*", Kind::name);
        format!("{PREFIX}.{site}.{host}.*.*.{kind}")
    }
}

/// Reads all secrets, and then all data: there is no need to wait for any.
async fn read_history(
    context: &Context,
    selection: &Selection,
    to: &SyncSender<Arrived>,
) -> Result<(), String> {
    for &kind in selection.kinds {
        let stream = match stream_of(context, kind).await {
            Ok(stream) => stream,
            // Secrets may be kept from us.
            Err(_) if kind == Kind::Keys => continue,
            Err(error) => return Err(error),
        };
        // Those of connections that were open before are older.
        let since = if kind == Kind::Keys { Since::Start } else { selection.since };
        let filter = selection.filter(Some(kind));
        let after = selection.after;
        let reading = Reading { context, stream, filter, since, after, follow: false, to };
        reading.run().await;
    }
    Ok(())
}

/// Reads what comes, secrets and data alike.
async fn follow(
    context: &Context,
    selection: &Selection,
    to: &SyncSender<Arrived>,
) -> Result<(), String> {
    let data = loop {
        match stream_of(context, Kind::Data).await {
            Ok(stream) => break stream,
            Err(_) => sleep(AGAIN).await,
        }
    };
    let mut streams = vec![(data.clone(), selection.filter(Some(Kind::Data)))];
    if selection.kinds.contains(&Kind::Keys) {
        match stream_of(context, Kind::Keys).await {
            Ok(keys) if keys == data => streams = vec![(data, selection.filter(None))],
            Ok(keys) => streams.push((keys, selection.filter(Some(Kind::Keys)))),
            // Secrets may be kept from us.
            Err(_) => {}
        }
    }
    let mut reading = JoinSet::new();
    for (stream, filter) in streams {
        let Selection { since, after, .. } = *selection;
        let (context, to) = (context.clone(), to.clone());
        reading.spawn(async move {
            let (context, to) = (&context, &to);
            Reading { context, stream, filter, since, after, follow: true, to }.run().await;
        });
    }
    while reading.join_next().await.is_some() {}
    Ok(())
}

/// The stream that holds batches of a kind.
async fn stream_of(context: &Context, kind: Kind) -> Result<String, String> {
    let subject = format!("{PREFIX}.site.host.run.w0.{}", kind.name());
    loop {
        match timeout(GRACE, context.stream_by_subject(subject.clone())).await {
            Ok(Ok(name)) => return Ok(name),
            Ok(Err(error)) if error.to_string().contains("not found") => {
                return Err(format!("no stream has {PREFIX}.> (has anything been published?)"));
            }
            // The server is away, or not yet ready.
            Ok(Err(_)) | Err(_) => sleep(AGAIN).await,
        }
    }
}

/// Reads one stream.
struct Reading<'a> {
    context: &'a Context,
    stream: String,
    filter: String,
    since: Since,
    after: Option<u64>,
    follow: bool,
    to: &'a SyncSender<Arrived>,
}

/// Whether there is more to read.
#[derive(PartialEq, Eq)]
enum More {
    Yes,
    No,
}

impl Reading<'_> {
    /// Reads with one consumer after another: what the server lost is made again where it stopped.
    async fn run(&self) {
        let mut last = self.after;
        loop {
            match self.consume(&mut last).await {
                Ok(()) => return,
                Err(error) => tracing::debug!("a consumer of {} is lost: {error}", self.stream),
            }
            sleep(AGAIN).await;
        }
    }

    /// Reads with one consumer. `last` is the last message that was read.
    async fn consume(&self, last: &mut Option<u64>) -> Result<(), Failure> {
        let deliver_policy = match (*last, self.since) {
            (Some(last), _) => DeliverPolicy::ByStartSequence { start_sequence: last + 1 },
            (None, Since::Start) => DeliverPolicy::All,
            (None, Since::Now) => DeliverPolicy::New,
            (None, Since::Time(time)) => DeliverPolicy::ByStartTime { start_time: time.into() },
        };
        let config = Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            filter_subject: self.filter.clone(),
            inactive_threshold: INACTIVE,
            memory_storage: true,
            ..Config::default()
        };
        let stream = self.context.get_stream(&self.stream).await?;
        let mut consumer = stream.create_consumer(config).await?;
        loop {
            let asked = consumer.batch().max_messages(MESSAGES).max_bytes(BYTES).expires(EXPIRES);
            let mut batch = asked.messages().await?;
            let mut is_empty = true;
            while let Some(message) = timeout(EXPIRES + GRACE, batch.next()).await? {
                let message = message?;
                let info = message.info()?;
                let (sequence, pending) = (info.stream_sequence, info.pending);
                is_empty = false;
                if self.hand_on(&message.subject, &message.payload, sequence).await == More::No {
                    return Ok(());
                }
                *last = Some(sequence);
                if pending == 0 && !self.follow {
                    return Ok(());
                }
            }
            if is_empty && timeout(GRACE, consumer.info()).await??.num_pending == 0 && !self.follow
            {
                return Ok(());
            }
        }
    }

    /// Hands a batch on; whether anybody takes more.
    async fn hand_on(&self, subject: &str, payload: &[u8], sequence: u64) -> More {
        let Some((origin, kind)) = Origin::parse(subject) else { return More::Yes };
        let batch = match decode(payload) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!("a batch of {origin} is left out: {error}");
                return More::Yes;
            }
        };
        let is_taken = match self.to.try_send(Arrived { origin, kind, batch, sequence }) {
            Ok(()) => true,
            Err(TrySendError::Disconnected(_)) => false,
            // The writer is slow. The connection needs to be kept alive meanwhile.
            Err(TrySendError::Full(arrived)) => {
                let to = self.to.clone();
                spawn_blocking(move || to.send(arrived).is_ok()).await.unwrap_or(false)
            }
        };
        if is_taken { More::Yes } else { More::No }
    }
}
