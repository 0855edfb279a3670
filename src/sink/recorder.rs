//! The recorder: brings the events of all workers to every sink.
//!
//! Each sink has a thread and a queue bounded in bytes. A worker that finds the queue full waits
//! ([`OnSlow::Block`]) or leaves the data out ([`OnSlow::Drop`]); events without data always
//! pass, there are only a few for each connection.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, TryAcquireError};

use super::feeder::Feeder;
use super::{Interest, Sink};
use crate::event::{ConnectionId, Event, EventKind, Leg, Open, Timestamp};

/// What becomes of data when a sink's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSlow {
    /// The relay waits: nothing is lost, and the peers feel the sink's speed.
    #[default]
    Block,
    /// The relay goes on and the sink misses the chunk; how much is counted.
    Drop,
}

/// What becomes of the tunnel when a sink fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The tunnel stops gracefully: better no traffic than traffic unrecorded.
    #[default]
    Stop,
    /// The tunnel and the other sinks go on.
    Detach,
}

/// How a sink is fed.
///
/// ```
/// use tcp_tunn::sink::{OnError, SinkOptions};
///
/// let options = SinkOptions::named("audit").buffer_bytes(1 << 20).on_error(OnError::Detach);
/// assert_eq!(options.name, "audit");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkOptions {
    /// What the sink is called in messages, `sink` by default.
    pub name: String,
    /// How many bytes may wait for the sink, 64 MiB by default. Each event counts for its data
    /// and a little for itself; a chunk larger than the whole queue passes alone.
    pub buffer_bytes: usize,
    /// What happens when more would have to wait; by default the relay waits.
    pub on_slow: OnSlow,
    /// What happens when the sink fails; by default the tunnel stops.
    pub on_error: OnError,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            name: "sink".to_owned(),
            buffer_bytes: 64 * 1024 * 1024,
            on_slow: OnSlow::default(),
            on_error: OnError::default(),
        }
    }
}

impl SinkOptions {
    /// The default options under another name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same with another [`buffer_bytes`](field@Self::buffer_bytes).
    #[must_use]
    pub const fn buffer_bytes(mut self, buffer_bytes: usize) -> Self {
        self.buffer_bytes = buffer_bytes;
        self
    }

    /// The same with another [`on_slow`](field@Self::on_slow).
    #[must_use]
    pub const fn on_slow(mut self, on_slow: OnSlow) -> Self {
        self.on_slow = on_slow;
        self
    }

    /// The same with another [`on_error`](field@Self::on_error).
    #[must_use]
    pub const fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }
}

/// What became of a sink.
#[derive(Debug)]
#[non_exhaustive]
pub struct SinkReport {
    /// Its name from [`SinkOptions`].
    pub name: String,
    /// `Data` events that the sink missed because it was slow.
    pub dropped_events: u64,
    /// Bytes that peers said and the sink missed because it was slow.
    pub dropped_bytes: u64,
    /// Why it failed, if it did.
    pub error: Option<io::Error>,
}

/// A sink's queue as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkStats {
    /// Its name from [`SinkOptions`].
    pub name: String,
    /// Bytes that wait for it.
    pub queued_bytes: usize,
    /// The most that may wait.
    pub buffer_bytes: usize,
    /// Bytes that peers said and the sink missed so far.
    pub dropped_bytes: u64,
}

/// What an event costs in its queue beside its data.
const EVENT_COST: usize = 128;
/// What a connection's opening costs: enough for all its events without data.
const OPEN_COST: usize = 5 * EVENT_COST;
/// Room that events took of a queue is handed back in this many lots, and whenever the queue is
/// empty: each hand-over may wake a worker.
const RELEASES: usize = 16;
/// A bit of a word stands for each sink.
const SINKS_MAX: usize = 64;

/// One message for a sink's thread.
pub(super) enum Message {
    Event {
        event: Event,
        /// What it holds of the queue's bytes, to be given back when the sink has it.
        cost: usize,
    },
    /// There are no more events.
    Finish,
}

/// The way to one sink.
struct Lane {
    options: SinkOptions,
    interest: Interest,
    queue: mpsc::Sender<Message>,
    /// The bytes that are free in the queue; closed when the sink has failed or nobody is to
    /// wait for it any more.
    free: Arc<Semaphore>,
    capacity: usize,
    dropped_events: AtomicU64,
    dropped_bytes: AtomicU64,
}

impl Lane {
    fn new(options: SinkOptions, interest: Interest) -> (Self, mpsc::Receiver<Message>) {
        let (queue, incoming) = mpsc::channel();
        let capacity = options.buffer_bytes.clamp(OPEN_COST, u32::MAX as usize);
        let lane = Self {
            options,
            interest,
            queue,
            free: Arc::new(Semaphore::new(capacity)),
            capacity,
            dropped_events: AtomicU64::new(0),
            dropped_bytes: AtomicU64::new(0),
        };
        (lane, incoming)
    }

    /// Takes room in the queue; false where the data must be left out.
    async fn reserve(&self, cost: usize) -> bool {
        let permits = self.clamped(cost);
        match self.free.try_acquire_many(permits) {
            Ok(taken) => {
                taken.forget();
                true
            }
            Err(TryAcquireError::NoPermits) if self.options.on_slow == OnSlow::Block => {
                self.free.acquire_many(permits).await.map(|taken| taken.forget()).is_ok()
            }
            Err(_) => false,
        }
    }

    /// What an event takes of the queue: no more than there is, or it would wait for ever.
    fn clamped(&self, cost: usize) -> u32 {
        u32::try_from(cost.min(self.capacity)).unwrap_or(u32::MAX)
    }

    fn count_dropped(&self, leg: Leg, len: usize) {
        self.dropped_events.fetch_add(1, Relaxed);
        if leg == Leg::Received {
            self.dropped_bytes.fetch_add(len as u64, Relaxed);
        }
    }

    fn send(&self, event: &Event, cost: usize) {
        // Nobody listens only after the sink has failed, which its thread reports.
        let cost = self.clamped(cost) as usize;
        let _ = self.queue.send(Message::Event { event: event.clone(), cost });
    }
}

/// Feeds all sinks of a tunnel. Clones feed the same sinks.
#[derive(Clone)]
pub(crate) struct Recorder {
    lanes: Arc<[Lane]>,
    interest: Interest,
}

impl Recorder {
    /// Starts a thread for each sink. `on_failure` is called, from a sink's thread, when a sink
    /// fails that the tunnel shall not outlive. `clock` tells ticking sinks the time.
    pub(crate) fn start(
        sinks: Vec<(SinkOptions, Box<dyn Sink>)>,
        clock: impl Fn() -> Timestamp + Clone + Send + 'static,
        on_failure: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<(Self, SinkThreads)> {
        if sinks.len() > SINKS_MAX {
            return Err(io::Error::other(format!(
                "{} sinks are more than {SINKS_MAX}",
                sinks.len()
            )));
        }
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for (options, sink) in sinks {
            let (lane, incoming) = Lane::new(options, sink.interest());
            let feeder =
                Feeder::new(sink, incoming, Arc::clone(&lane.free), lane.capacity / RELEASES);
            let stop = lane.options.on_error == OnError::Stop;
            let on_failure = on_failure.clone();
            let on_failure = move || {
                if stop {
                    on_failure();
                }
            };
            threads.push(SinkThread::start(&lane.options.name, feeder, clock.clone(), on_failure)?);
            lanes.push(lane);
        }
        let wants = |leg| lanes.iter().any(|lane: &Lane| lane.interest.wants(leg));
        let interest = Interest { received: wants(Leg::Received), sent: wants(Leg::Sent) };
        Ok((Self { lanes: lanes.into(), interest }, SinkThreads(threads)))
    }

    /// From now on nobody waits for a slow sink; it may miss data.
    pub(crate) fn stop_waiting(&self) {
        for lane in self.lanes.iter() {
            lane.free.close();
        }
    }

    /// How the queues are filled now.
    pub(crate) fn stats(&self) -> Vec<SinkStats> {
        let stats = |lane: &Lane| SinkStats {
            name: lane.options.name.clone(),
            queued_bytes: lane.capacity.saturating_sub(lane.free.available_permits()),
            buffer_bytes: lane.capacity,
            dropped_bytes: lane.dropped_bytes.load(Relaxed),
        };
        self.lanes.iter().map(stats).collect()
    }

    /// The ways to all sinks, each with its bit.
    fn lanes(&self) -> impl Iterator<Item = (u64, &Lane)> {
        self.lanes.iter().enumerate().map(|(index, lane)| (1 << index, lane))
    }

    /// Tells every sink that there are no more events, waits until it has finished, and tells
    /// what became of it. A sink that is still at work when `patience` has come to nothing is
    /// left behind, as failed.
    pub(crate) fn finish(
        &self,
        threads: SinkThreads,
        mut patience: impl FnMut() -> Option<Duration>,
    ) -> Vec<SinkReport> {
        for lane in self.lanes.iter() {
            // Nobody listens where the sink has failed.
            let _ = lane.queue.send(Message::Finish);
        }
        let report = |(lane, thread): (&Lane, SinkThread)| SinkReport {
            name: lane.options.name.clone(),
            error: thread.join(&mut patience),
            dropped_events: lane.dropped_events.load(Relaxed),
            dropped_bytes: lane.dropped_bytes.load(Relaxed),
        };
        self.lanes.iter().zip(threads.0).map(report).collect()
    }
}

/// The sinks' threads, to be handed to [`Recorder::finish`].
pub(crate) struct SinkThreads(Vec<SinkThread>);

struct SinkThread {
    thread: JoinHandle<Option<io::Error>>,
    /// Disconnected when the thread has ended.
    ended: mpsc::Receiver<()>,
}

impl SinkThread {
    /// Starts to feed a sink; `on_failure` is called on its thread when it fails.
    fn start(
        name: &str,
        feeder: Feeder,
        clock: impl Fn() -> Timestamp + Send + 'static,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (ending, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name(format!("sink-{name}")).spawn(move || {
            let _ending = ending;
            let error = feeder.run(&clock);
            if error.is_some() {
                on_failure();
            }
            error
        })?;
        Ok(Self { thread, ended })
    }

    /// Why the sink failed, if it did.
    fn join(self, patience: &mut impl FnMut() -> Option<Duration>) -> Option<io::Error> {
        const LOOK_UP: Duration = Duration::from_millis(100);
        while self.ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            let left = patience();
            if left.is_some_and(|left| left.is_zero()) {
                let message = "it did not finish in time; its output may be incomplete";
                return Some(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            let _ = self.ended.recv_timeout(left.unwrap_or(LOOK_UP).min(LOOK_UP));
        }
        self.thread.join().unwrap_or_else(|_| Some(io::Error::other("its thread panicked")))
    }
}

/// Records the events of one connection; holds their order and their times.
pub(crate) struct Tap {
    recorder: Recorder,
    connection: ConnectionId,
    last: Cell<Timestamp>,
    /// A bit for each sink that was too slow to take even the connection's opening. It sees
    /// nothing of the connection, so that a sink that hangs does not gather them without bound.
    skipped: Cell<u64>,
}

impl Tap {
    /// Records the connection's first event, waiting for room as [`data`](Self::data) does.
    pub(crate) async fn open(
        recorder: Recorder,
        connection: ConnectionId,
        time: Timestamp,
        open: Arc<Open>,
    ) -> Self {
        let tap = Self { recorder, connection, last: Cell::new(time), skipped: Cell::new(0) };
        let skipped = tap.reserve(OPEN_COST, |_| true).await;
        tap.skipped.set(skipped);
        let event = tap.event(time, EventKind::Open(open));
        tap.send(&event, OPEN_COST, skipped, |_| true);
        tap
    }

    /// Whether some sink wants the data of `leg`.
    pub(crate) fn wants(&self, leg: Leg) -> bool {
        self.recorder.interest.wants(leg)
    }

    /// Records a later event other than data. Never waits: its room was taken at the opening.
    pub(crate) fn lifecycle(&self, time: Timestamp, kind: EventKind) {
        let event = self.event(time, kind);
        self.send(&event, 0, self.skipped.get(), |_| true);
    }

    /// Records data, waiting for room where a sink is slow and must not miss anything.
    ///
    /// `shared` says that the same bytes wait in the queue already, for the other leg.
    pub(crate) async fn data(&self, time: Timestamp, kind: EventKind, shared: bool) {
        let EventKind::Data { leg, ref bytes, .. } = kind else { return };
        let len = bytes.len();
        let cost = EVENT_COST + if shared { 0 } else { len };
        let wants = |lane: &Lane| lane.interest.wants(leg);
        // Room is taken in every queue first and the event sent after, without a wait between:
        // so the two directions of a connection, which both pass here, stay in one order in
        // every queue.
        let missing = self.reserve(cost, wants).await;
        let event = self.event(time, kind);
        self.send(&event, cost, missing, wants);
        for (bit, lane) in self.recorder.lanes() {
            if missing & bit != 0 {
                lane.count_dropped(leg, len);
            }
        }
    }

    /// Takes room for one event in the queues of all sinks that want it; the bits of those that
    /// have to go without.
    async fn reserve(&self, cost: usize, wants: impl Fn(&Lane) -> bool) -> u64 {
        let mut missing = self.skipped.get();
        for (bit, lane) in self.recorder.lanes() {
            if wants(lane) && missing & bit == 0 && !lane.reserve(cost).await {
                missing |= bit;
            }
        }
        missing
    }

    fn send(&self, event: &Event, cost: usize, missing: u64, wants: impl Fn(&Lane) -> bool) {
        for (bit, lane) in self.recorder.lanes() {
            if wants(lane) && missing & bit == 0 {
                lane.send(event, cost);
            }
        }
    }

    /// An event that is not before the one before it, also where it had to wait for its turn.
    fn event(&self, time: Timestamp, kind: EventKind) -> Event {
        let time = time.max(self.last.get());
        self.last.set(time);
        Event { connection: self.connection, time, kind }
    }
}
