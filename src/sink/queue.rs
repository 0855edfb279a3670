//! The way to one sink: its queue, bounded in bytes, and the count of what did not fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;

use tokio::sync::{Semaphore, TryAcquireError};

use super::options::{BUFFER_BYTES, OnSlow, SinkOptions, SinkStats};
use super::{Interest, Kept, Sink};
use crate::event::{Direction, Event, EventKind, Leg};

/// What an event costs in its queue beside its data.
pub(super) const EVENT_COST: usize = 128;
/// What a connection's opening costs: enough for all its events without data.
pub(super) const OPEN_COST: usize = 5 * EVENT_COST;

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

/// What a sink missed.
pub(super) struct Dropped {
    pub(super) interest: Interest,
    events: AtomicU64,
    /// By direction.
    bytes: [AtomicU64; 2],
}

impl Dropped {
    const fn new(interest: Interest) -> Self {
        let bytes = [AtomicU64::new(0), AtomicU64::new(0)];
        Self { interest, events: AtomicU64::new(0), bytes }
    }

    /// Counts `event`, if it is data that the sink wants.
    pub(super) fn count(&self, event: &Event) {
        self.count_event(event);
        if let Some((direction, bytes)) = self.data(event) {
            self.count_bytes(direction, bytes);
        }
    }

    /// Counts `event` without its bytes.
    pub(super) fn count_event(&self, event: &Event) {
        let is_wanted = |leg: Leg| self.interest.wants(leg);
        if matches!(event.kind, EventKind::Data { leg, .. } if is_wanted(leg)) {
            self.events.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn count_bytes(&self, direction: Direction, bytes: u64) {
        self.bytes[direction as usize].fetch_add(bytes, Relaxed);
    }

    /// The direction and the bytes that `event` has for the sink.
    pub(super) fn data(&self, event: &Event) -> Option<(Direction, u64)> {
        Kept::data(event, self.interest)
    }

    pub(super) fn events(&self) -> u64 {
        self.events.load(Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.iter().map(|bytes| bytes.load(Relaxed)).sum()
    }

    /// The bytes of one direction.
    pub(super) fn bytes_of(&self, direction: Direction) -> u64 {
        self.bytes[direction as usize].load(Relaxed)
    }
}

/// Whether there was room in a queue.
pub(super) enum Reserved {
    Taken,
    /// The event has to be left out.
    LeftOut,
    /// The event has to wait.
    Full,
}

/// The way to one sink.
pub(super) struct SinkQueue {
    pub(super) options: SinkOptions,
    pub(super) interest: Interest,
    pub(super) capacity: usize,
    pub(super) dropped: Arc<Dropped>,
    pub(super) has_ended: Arc<AtomicBool>,
    queue: mpsc::Sender<Message>,
    /// The bytes that are free in the queue; closed when the sink has failed.
    pub(super) free: Arc<Semaphore>,
    /// Whether the last event has been queued.
    pub(super) is_complete: Arc<AtomicBool>,
    /// Never has a permit; closed when nobody is to wait for room any more.
    closing: Semaphore,
}

impl SinkQueue {
    pub(super) fn new(options: SinkOptions, sink: &dyn Sink) -> (Self, mpsc::Receiver<Message>) {
        let (queue, incoming) = mpsc::channel();
        let capacity = options.buffer_bytes.clamp(OPEN_COST, *BUFFER_BYTES.end() as usize);
        let interest = sink.interest();
        let queue = Self {
            options,
            interest,
            capacity,
            dropped: Arc::new(Dropped::new(interest)),
            has_ended: Arc::default(),
            queue,
            free: Arc::new(Semaphore::new(capacity)),
            is_complete: Arc::default(),
            closing: Semaphore::new(0),
        };
        (queue, incoming)
    }

    /// Takes room in the queue; false where the event must be left out.
    pub(super) async fn reserve(&self, cost: usize) -> bool {
        let permits = self.clamped(cost);
        let taken = match self.free.try_acquire_many(permits) {
            Err(TryAcquireError::NoPermits) if self.options.on_slow == OnSlow::Block => {
                tokio::select! {
                    biased;
                    taken = self.free.acquire_many(permits) => taken.ok(),
                    _ = self.closing.acquire() => None,
                }
            }
            taken => taken.ok(),
        };
        taken.map(|taken| taken.forget()).is_some()
    }

    /// As [`reserve`](Self::reserve), but never waits.
    pub(super) fn try_reserve(&self, cost: usize) -> Reserved {
        match self.free.try_acquire_many(self.clamped(cost)) {
            Ok(taken) => {
                taken.forget();
                Reserved::Taken
            }
            Err(TryAcquireError::NoPermits)
                if self.options.on_slow == OnSlow::Block && !self.closing.is_closed() =>
            {
                Reserved::Full
            }
            Err(_) => Reserved::LeftOut,
        }
    }

    /// Gives back what was reserved and not sent.
    pub(super) fn give_back(&self, cost: usize) {
        self.free.add_permits(self.clamped(cost) as usize);
    }

    /// From now on nobody waits for room: what finds none is left out.
    pub(super) fn stop_waiting(&self) {
        self.closing.close();
    }

    /// What an event takes of the queue: no more than there is, or it would wait for ever.
    fn clamped(&self, cost: usize) -> u32 {
        u32::try_from(cost.min(self.capacity)).unwrap_or(u32::MAX)
    }

    /// Queues an event for which room was reserved.
    pub(super) fn send(&self, event: &Event, cost: usize) {
        let cost = self.clamped(cost) as usize;
        // Somebody listens until `finish`, even after the sink has failed.
        let _ = self.queue.send(Message::Event { event: event.clone(), cost });
    }

    /// Tells the sink's thread that there are no more events.
    pub(super) fn finish(&self) {
        self.is_complete.store(true, Relaxed);
        let _ = self.queue.send(Message::Finish);
    }

    pub(super) fn stats(&self) -> SinkStats {
        SinkStats {
            name: self.options.name.clone(),
            queued_bytes: self.capacity.saturating_sub(self.free.available_permits()),
            buffer_bytes: self.capacity,
            dropped_bytes: self.dropped.bytes(),
            has_ended: self.has_ended.load(Relaxed),
        }
    }
}

impl Drop for SinkQueue {
    fn drop(&mut self) {
        self.is_complete.store(true, Relaxed);
    }
}
