//! Where a connection's events enter the queues.

use std::cell::Cell;
use std::sync::Arc;

use super::queue::{EVENT_COST, OPEN_COST, Reserved, SinkQueue};
use super::recorder::Recorder;
use crate::event::{ConnectionId, Direction, Event, EventKind, Leg, Open, Timestamp, View};
use bytes::Bytes;

/// Which sinks go without something: a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SkippedSinks(u64);

/// Records the events of one connection; holds their order and their times.
pub(crate) struct ConnectionRecorder {
    recorder: Recorder,
    connection: ConnectionId,
    last: Cell<Timestamp>,
    /// The sinks that were too slow to take even the connection's opening. They see nothing of
    /// the connection, so that a sink that hangs does not gather them without bound.
    skipped: Cell<SkippedSinks>,
}

/// Bytes that passed one leg.
#[derive(Clone)]
pub(crate) struct Chunk {
    pub(crate) direction: Direction,
    /// How many bytes of this direction and leg came before.
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

impl ConnectionRecorder {
    /// Records the connection's first event, waiting for room as for data.
    pub(crate) async fn open(
        recorder: Recorder,
        connection: ConnectionId,
        time: Timestamp,
        open: Arc<Open>,
    ) -> Self {
        let skipped = Cell::default();
        let tap = Self { recorder, connection, last: Cell::new(time), skipped };
        let cost = |_: &SinkQueue| Some(OPEN_COST);
        let skipped = tap.reserve(SkippedSinks::default(), cost).await;
        tap.skipped.set(skipped);
        tap.send(time, EventKind::Open(open), skipped, cost);
        tap
    }

    /// The connection's number.
    pub(crate) const fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Whether some sink wants the data of `leg`.
    pub(crate) fn wants(&self, leg: Leg) -> bool {
        self.recorder.interest.wants(leg)
    }

    /// Whether some sink wants to know where the time went.
    pub(crate) const fn wants_verdict(&self) -> bool {
        self.recorder.interest.verdict
    }

    /// Whether some sink asks for what the kernel knows of sockets.
    pub(crate) const fn wants_info(&self) -> bool {
        self.recorder.wants_info()
    }

    /// Records an event of which there may be any number, where it is wanted and there is room;
    /// elsewhere the next one will do.
    pub(crate) fn sample(&self, time: Timestamp, kind: EventKind) {
        let SkippedSinks(mut missing) = self.skipped.get();
        for (bit, queue) in self.recorder.queues() {
            let is_wanted = missing & bit == 0 && queue.interest.takes(&kind);
            if !is_wanted || !matches!(queue.try_reserve(EVENT_COST), Reserved::Taken) {
                missing |= bit;
            }
        }
        self.send(time, kind, SkippedSinks(missing), |_| Some(EVENT_COST));
    }

    /// Records a later event other than data, where it is wanted. Never waits: its room was taken
    /// at the opening.
    pub(crate) fn lifecycle(&self, time: Timestamp, kind: EventKind) {
        let same = kind.clone();
        let cost = |queue: &SinkQueue| queue.interest.takes(&same).then_some(0);
        self.send(time, kind, self.skipped.get(), cost);
    }

    /// Records data where every sink that waits has room now; the chunk comes back where one has
    /// none, for [`data`](Self::data). Which sinks missed it.
    pub(crate) fn data_now(
        &self,
        time: Timestamp,
        leg: Leg,
        chunk: Chunk,
        as_received: Option<SkippedSinks>,
    ) -> Result<SkippedSinks, Chunk> {
        let len = chunk.bytes.len();
        let missing = as_received.unwrap_or_else(|| self.skipped.get());
        let cost = |queue: &SinkQueue| cost(queue, leg, len, as_received.is_some());
        match self.try_reserve(missing, cost) {
            Some(missing) => {
                self.send_data(time, leg, chunk, missing, cost);
                Ok(missing)
            }
            None => Err(chunk),
        }
    }

    /// Records data, waiting for room where a sink is slow and must not miss anything; which sinks
    /// missed it. `as_received` tells where the same bytes were recorded for the other leg: they
    /// count once in a queue, and a sink that missed them there misses them here too.
    ///
    /// Room is taken in every queue first and the event sent after, without a wait between: so
    /// the two directions of a connection, which both pass here, stay in one order in every
    /// queue.
    pub(crate) async fn data(
        &self,
        time: Timestamp,
        leg: Leg,
        chunk: Chunk,
        as_received: Option<SkippedSinks>,
    ) -> SkippedSinks {
        let len = chunk.bytes.len();
        let missing = as_received.unwrap_or_else(|| self.skipped.get());
        let cost = |queue: &SinkQueue| cost(queue, leg, len, as_received.is_some());
        let missing = self.reserve(missing, cost).await;
        self.send_data(time, leg, chunk, missing, cost);
        missing
    }

    /// Records data where there is room now, and counts it as missed elsewhere.
    pub(crate) fn data_where_room(
        &self,
        time: Timestamp,
        leg: Leg,
        chunk: Chunk,
        as_received: Option<SkippedSinks>,
    ) {
        let len = chunk.bytes.len();
        let SkippedSinks(mut missing) = as_received.unwrap_or_else(|| self.skipped.get());
        let cost = |queue: &SinkQueue| cost(queue, leg, len, as_received.is_some());
        for (bit, queue) in self.recorder.queues() {
            let wanted = cost(queue).filter(|_| missing & bit == 0);
            if wanted.is_some_and(|cost| !matches!(queue.try_reserve(cost), Reserved::Taken)) {
                missing |= bit;
            }
        }
        self.send_data(time, leg, chunk, SkippedSinks(missing), cost);
    }

    fn send_data(
        &self,
        time: Timestamp,
        leg: Leg,
        Chunk { direction, offset, bytes }: Chunk,
        missing: SkippedSinks,
        cost: impl Fn(&SinkQueue) -> Option<usize>,
    ) {
        let view = View::Wire;
        self.send(time, EventKind::Data { direction, leg, view, offset, bytes }, missing, cost);
    }

    /// As [`reserve`](Self::reserve), but takes nothing and says `None` where it would wait.
    fn try_reserve(
        &self,
        SkippedSinks(mut missing): SkippedSinks,
        cost: impl Fn(&SinkQueue) -> Option<usize>,
    ) -> Option<SkippedSinks> {
        for (bit, queue) in self.recorder.queues() {
            let Some(cost_here) = cost(queue).filter(|_| missing & bit == 0) else { continue };
            match queue.try_reserve(cost_here) {
                Reserved::Taken => {}
                Reserved::LeftOut => missing |= bit,
                Reserved::Full => {
                    let taken = |&(other, _): &(u64, &SinkQueue)| other < bit;
                    for (other, queue) in self.recorder.queues().take_while(taken) {
                        if let Some(cost) = cost(queue).filter(|_| missing & other == 0) {
                            queue.give_back(cost);
                        }
                    }
                    return None;
                }
            }
        }
        Some(SkippedSinks(missing))
    }

    /// Takes room for one event in the queues of all sinks for which it has a cost, beside those
    /// that are `missing` already; all that have to go without.
    async fn reserve(
        &self,
        SkippedSinks(mut missing): SkippedSinks,
        cost: impl Fn(&SinkQueue) -> Option<usize>,
    ) -> SkippedSinks {
        for (bit, queue) in self.recorder.queues() {
            if let Some(cost) = cost(queue)
                && missing & bit == 0
                && !queue.reserve(cost).await
            {
                missing |= bit;
            }
        }
        SkippedSinks(missing)
    }

    /// Queues an event where room was reserved, and counts it elsewhere. It is not before the
    /// event before it, also where it had to wait for its turn.
    fn send(
        &self,
        time: Timestamp,
        kind: EventKind,
        SkippedSinks(missing): SkippedSinks,
        cost: impl Fn(&SinkQueue) -> Option<usize>,
    ) {
        let time = time.max(self.last.get());
        self.last.set(time);
        let event = Event { connection: self.connection, time, kind };
        for (bit, queue) in self.recorder.queues() {
            let Some(cost) = cost(queue) else { continue };
            if missing & bit == 0 {
                queue.send(&event, cost);
            } else {
                queue.dropped.count(&event);
            }
        }
    }
}

/// What data of a leg takes of a sink's queue, `None` where the sink does not want it.
fn cost(queue: &SinkQueue, leg: Leg, len: usize, is_as_received: bool) -> Option<usize> {
    queue.interest.wants(leg).then_some(match leg {
        Leg::Sent if is_as_received && queue.interest.received => EVENT_COST,
        _ => EVENT_COST + len,
    })
}
