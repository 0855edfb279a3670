//! Where a connection's events enter the queues.

use std::cell::Cell;
use std::sync::Arc;

use super::lane::{EVENT_COST, Lane, OPEN_COST};
use super::recorder::Recorder;
use crate::event::{ConnectionId, Direction, Event, EventKind, Leg, Open, Timestamp, View};
use bytes::Bytes;

/// Which sinks go without something: a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Missing(u64);

/// Records the events of one connection; holds their order and their times.
pub(crate) struct Tap {
    recorder: Recorder,
    connection: ConnectionId,
    last: Cell<Timestamp>,
    /// The sinks that were too slow to take even the connection's opening. They see nothing of
    /// the connection, so that a sink that hangs does not gather them without bound.
    skipped: Cell<Missing>,
}

/// Bytes that passed one leg.
pub(crate) struct Chunk {
    pub(crate) direction: Direction,
    /// How many bytes of this direction and leg came before.
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

impl Tap {
    /// Records the connection's first event, waiting for room as for data.
    pub(crate) async fn open(
        recorder: Recorder,
        connection: ConnectionId,
        time: Timestamp,
        open: Arc<Open>,
    ) -> Self {
        let skipped = Cell::default();
        let tap = Self { recorder, connection, last: Cell::new(time), skipped };
        let cost = |_: &Lane| Some(OPEN_COST);
        let skipped = tap.reserve(Missing::default(), cost).await;
        tap.skipped.set(skipped);
        tap.send(time, EventKind::Open(open), skipped, cost);
        tap
    }

    /// Whether some sink wants the data of `leg`.
    pub(crate) fn wants(&self, leg: Leg) -> bool {
        self.recorder.interest.wants(leg)
    }

    /// Records a later event other than data. Never waits: its room was taken at the opening.
    pub(crate) fn lifecycle(&self, time: Timestamp, kind: EventKind) {
        self.send(time, kind, self.skipped.get(), |_| Some(0));
    }

    /// Records data as received, waiting for room where a sink is slow and must not miss
    /// anything; which sinks missed it.
    pub(crate) async fn received(&self, time: Timestamp, chunk: Chunk) -> Missing {
        let cost = EVENT_COST + chunk.bytes.len();
        self.data(time, Leg::Received, chunk, self.skipped.get(), |_| cost).await
    }

    /// Records data as sent, waiting as [`received`](Self::received) does. `as_received` tells
    /// where the same bytes were recorded for the other leg: they count once in a queue, and a
    /// sink that missed them there misses them here too.
    pub(crate) async fn sent(&self, time: Timestamp, chunk: Chunk, as_received: Option<Missing>) {
        let len = chunk.bytes.len();
        let cost = |lane: &Lane| match as_received {
            Some(_) if lane.interest.received => EVENT_COST,
            _ => EVENT_COST + len,
        };
        let missing = as_received.unwrap_or_else(|| self.skipped.get());
        self.data(time, Leg::Sent, chunk, missing, cost).await;
    }

    /// Room is taken in every queue first and the event sent after, without a wait between: so
    /// the two directions of a connection, which both pass here, stay in one order in every
    /// queue.
    async fn data(
        &self,
        time: Timestamp,
        leg: Leg,
        Chunk { direction, offset, bytes }: Chunk,
        missing: Missing,
        cost: impl Fn(&Lane) -> usize,
    ) -> Missing {
        let cost = |lane: &Lane| lane.interest.wants(leg).then(|| cost(lane));
        let missing = self.reserve(missing, cost).await;
        self.send(
            time,
            EventKind::Data { direction, leg, view: View::Wire, offset, bytes },
            missing,
            cost,
        );
        missing
    }

    /// Takes room for one event in the queues of all sinks for which it has a cost, beside those
    /// that are `missing` already; all that have to go without.
    async fn reserve(
        &self,
        Missing(mut missing): Missing,
        cost: impl Fn(&Lane) -> Option<usize>,
    ) -> Missing {
        for (bit, lane) in self.recorder.lanes() {
            if let Some(cost) = cost(lane)
                && missing & bit == 0
                && !lane.reserve(cost).await
            {
                missing |= bit;
            }
        }
        Missing(missing)
    }

    /// Queues an event where room was reserved, and counts it elsewhere. It is not before the
    /// event before it, also where it had to wait for its turn.
    fn send(
        &self,
        time: Timestamp,
        kind: EventKind,
        Missing(missing): Missing,
        cost: impl Fn(&Lane) -> Option<usize>,
    ) {
        let time = time.max(self.last.get());
        self.last.set(time);
        let event = Event { connection: self.connection, time, kind };
        for (bit, lane) in self.recorder.lanes() {
            let Some(cost) = cost(lane) else { continue };
            if missing & bit == 0 {
                lane.send(&event, cost);
            } else {
                lane.dropped.count(&event);
            }
        }
    }
}
