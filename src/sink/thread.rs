//! A sink's thread: takes events from the queue and gives them to the sink.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::queue::{Dropped, Message, SinkQueue};
use super::{Kept, Sink};
use crate::event::{Direction, Event, Timestamp};

/// How long a flush may be put off while events keep coming, and how often a sink is ticked.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long a sink's thread lets events gather before it waits to be woken: each time it is woken
/// costs the relay a system call, and two threads a switch.
const COALESCE_DELAY: Duration = Duration::from_millis(1);
/// The room from which on a queue does not fill up in a nap.
const ROOM_TO_COALESCE: usize = 16 << 20;
/// So many bytes are worth being woken for, and are best taken while they are in the cache.
const WORTH_WAKING: usize = 64 << 10;

/// How long a sink may take to become ready once no more events come. Less than a tunnel waits for
/// its sinks when it is told to end at once, so that what is left is counted in any case.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What a sink's thread works on.
pub(super) struct SinkThread {
    sink: Box<dyn Sink>,
    incoming: Receiver<Message>,
    /// The free bytes of the queue.
    free: Arc<Semaphore>,
    dropped: Arc<Dropped>,
    /// The event that the sink is taking.
    current: Option<Event>,
    /// Bytes that events took of the queue, not handed back yet.
    freed: usize,
    /// How many of them are handed back at once while there is work.
    release_at: usize,
    /// Whether something was recorded since the last flush.
    dirty: bool,
    ticking: bool,
    /// Whether events may gather while the thread sleeps.
    coalesces: bool,
    /// What events took of the queue since it was last empty.
    bytes_since_idle: usize,
    /// What the sink was given.
    given: Kept,
    /// Whether the last event has been queued.
    is_complete: Arc<AtomicBool>,
    /// Since when the sink has not been ready though no more events come.
    refusing: Option<Instant>,
    /// Whether the queue's end has come.
    finishing: bool,
}

impl SinkThread {
    pub(super) fn new(
        sink: Box<dyn Sink>,
        incoming: Receiver<Message>,
        queue: &SinkQueue,
        release_at: usize,
    ) -> Self {
        let ticking = sink.wants_ticks();
        Self {
            sink,
            incoming,
            free: Arc::clone(&queue.free),
            dropped: Arc::clone(&queue.dropped),
            current: None,
            freed: 0,
            release_at,
            dirty: false,
            ticking,
            coalesces: queue.capacity >= ROOM_TO_COALESCE,
            bytes_since_idle: 0,
            given: Kept::default(),
            is_complete: Arc::clone(&queue.is_complete),
            refusing: None,
            finishing: false,
        }
    }

    /// Feeds the sink until the queue is closed and empty, or the sink fails; why, if it did.
    /// `on_failure` is called as soon as it has.
    pub(super) fn run(
        mut self,
        clock: &impl Fn() -> Timestamp,
        on_failure: impl FnOnce(&io::Error),
    ) -> Option<io::Error> {
        let fed = guarded(|| self.feed(clock));
        let mut on_failure = Some(on_failure);
        // First of all: what is let go below may pass unrecorded.
        if let Err(error) = &fed
            && let Some(on_failure) = on_failure.take()
        {
            on_failure(error);
        }
        // Nobody may wait for room that will never come.
        self.free.close();
        let kept = if fed.is_err() { self.salvage() } else { None };
        let Self { sink, incoming, dropped, current, given, finishing, .. } = self;
        // A sink may panic even as it goes.
        let gone = guarded(move || {
            drop(sink);
            Ok(())
        });
        let error = fed.and(gone).err()?;
        if let Some(on_failure) = on_failure {
            on_failure(&error);
        }
        match kept {
            Some(kept) => {
                current.iter().for_each(|event| dropped.count_event(event));
                for direction in [Direction::ClientToServer, Direction::ServerToClient] {
                    let lost = given.get(direction).saturating_sub(kept.get(direction));
                    dropped.count_bytes(direction, lost);
                }
            }
            None => current.iter().for_each(|event| dropped.count(event)),
        }
        if !finishing {
            discard(&incoming, &dropped);
        }
        Some(error)
    }

    /// Lets the sink keep what it can, now that it has failed.
    fn salvage(&mut self) -> Option<Kept> {
        let mut kept = None;
        let salvaged = guarded(|| {
            kept = self.sink.salvage();
            Ok(())
        });
        salvaged.ok().and(kept)
    }

    fn feed(&mut self, clock: &impl Fn() -> Timestamp) -> io::Result<()> {
        let mut beat = Instant::now();
        loop {
            match self.next_if_ready()? {
                Some(Message::Event { event, cost }) => {
                    self.given.add(&event, self.dropped.interest);
                    self.sink.record(self.current.insert(event))?;
                    self.current = None;
                    self.dirty = true;
                    self.freed += cost;
                    self.bytes_since_idle += cost;
                    if self.freed > self.release_at {
                        self.release();
                    }
                }
                Some(Message::Finish) => {
                    self.finishing = true;
                    return self.sink.finish();
                }
                None => {}
            }
            if (self.dirty || self.ticking) && beat.elapsed() >= INTERVAL {
                beat = Instant::now();
                if self.ticking {
                    self.sink.tick(clock())?;
                }
                self.flush()?;
            }
        }
    }

    /// The next message; `None` where the sink takes none now, or it is time for a tick first.
    fn next_if_ready(&mut self) -> io::Result<Option<Message>> {
        if self.sink.ready(INTERVAL)? {
            self.refusing = None;
            return self.next();
        }
        self.release();
        if self.is_complete.load(Relaxed)
            && self.refusing.get_or_insert_with(Instant::now).elapsed() >= LAST_WAIT
        {
            let why = format!("it did not take what was left within {LAST_WAIT:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        Ok(None)
    }

    /// The next message; `None` when it is time for a tick first.
    fn next(&mut self) -> io::Result<Option<Message>> {
        if let Some(message) = self.waiting() {
            return Ok(Some(message));
        }
        self.release();
        self.flush()?;
        if std::mem::take(&mut self.bytes_since_idle) < WORTH_WAKING && self.coalesces {
            std::thread::sleep(COALESCE_DELAY);
            if let Some(message) = self.waiting() {
                return Ok(Some(message));
            }
        }
        let limit = if self.ticking { INTERVAL } else { Duration::MAX };
        match self.incoming.recv_timeout(limit) {
            Ok(message) => Ok(Some(message)),
            Err(RecvTimeoutError::Disconnected) => Ok(Some(Message::Finish)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
        }
    }

    /// A message that is in the queue already.
    fn waiting(&self) -> Option<Message> {
        match self.incoming.try_recv() {
            Ok(message) => Some(message),
            Err(TryRecvError::Disconnected) => Some(Message::Finish),
            Err(TryRecvError::Empty) => None,
        }
    }

    fn release(&mut self) {
        if self.freed > 0 {
            self.free.add_permits(std::mem::take(&mut self.freed));
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.dirty) { self.sink.flush() } else { Ok(()) }
    }
}

/// Runs a sink's code; a panic of it is an error like another.
fn guarded(run: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        Err(io::Error::other(format!("it panicked: {}", words_of(&*panic))))
    })
}

/// Counts, until the queue's end, what a sink that has failed misses.
fn discard(incoming: &Receiver<Message>, dropped: &Dropped) {
    while let Ok(Message::Event { event, .. }) = incoming.recv() {
        dropped.count(&event);
    }
}

/// What a panic said, if it said it in words.
pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
