//! The two directions of a connected connection, and what ends both.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::sleep;

use super::pump::Pump;
use super::stop::Phase;
use super::worker::Worker;
use crate::event::{BothTotals, CloseReason, Direction, Side, Timestamp};
use crate::ring::Socket;
use crate::sink::Tap;
use crate::transform::Pair;

/// What both directions of a connection share.
pub(super) struct Relay<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) tap: &'a Tap,
    client: Socket,
    server: Socket,
    /// One write at a time: with two the kernel may change their order. Only a transform that
    /// answers to the sender makes a second writer.
    writing: [Mutex<()>; 2],
    pub(super) totals: Cell<BothTotals>,
    last_activity: Cell<Timestamp>,
    /// Who ended its direction, in order.
    finished: Cell<[Option<Side>; 2]>,
    /// Why the connection ends, where not by both sides' FIN.
    failure: RefCell<Option<CloseReason>>,
    /// A direction ended, or the connection fails.
    changed: Notify,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        worker: &'a Rc<Worker>,
        tap: &'a Tap,
        client: Socket,
        server: Socket,
    ) -> Self {
        Self {
            worker,
            tap,
            client,
            server,
            writing: [Mutex::new(()), Mutex::new(())],
            totals: Cell::default(),
            last_activity: Cell::new(worker.shared.clock.now()),
            finished: Cell::default(),
            failure: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// Relays until both directions have ended; how, and what passed.
    pub(super) async fn run(self, pair: Pair) -> (CloseReason, BothTotals) {
        let directions = async {
            tokio::join!(
                Pump::new(&self, Direction::ClientToServer, pair.encoder).run(),
                Pump::new(&self, Direction::ServerToClient, pair.decoder).run(),
            )
        };
        tokio::pin!(directions);
        // The directions are never dropped before their end: bytes in flight would be lost.
        tokio::select! {
            biased;
            _ = &mut directions => {}
            reason = self.watch() => {
                self.fail(reason);
                directions.await;
            }
        }
        let failure = self.failure.take();
        let first = self.finished.get()[0].unwrap_or(Side::Client);
        (failure.unwrap_or(CloseReason::Finished { first }), self.totals.get())
    }

    pub(super) const fn socket(&self, side: Side) -> &Socket {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// Held while writing to `side`.
    pub(super) const fn writing(&self, side: Side) -> &Mutex<()> {
        &self.writing[side as usize]
    }

    pub(super) fn now(&self) -> Timestamp {
        self.worker.shared.clock.now()
    }

    pub(super) fn touch(&self, now: Timestamp) {
        self.last_activity.set(now);
    }

    /// `side` has ended its direction, and the other was told.
    pub(super) fn finish(&self, side: Side) {
        let [first, _] = self.finished.get();
        let finished = if first.is_none() { [Some(side), None] } else { [first, Some(side)] };
        self.finished.set(finished);
        self.touch(self.now());
        self.changed.notify_waiters();
    }

    pub(super) fn has_finished(&self, side: Side) -> bool {
        self.finished.get().contains(&Some(side))
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// Ends both directions: resets both sockets, so that what is pending on them comes back and
    /// neither peer takes what it got for all there was.
    pub(super) fn fail(&self, reason: CloseReason) {
        self.failure.borrow_mut().get_or_insert(reason);
        self.client.abort();
        self.server.abort();
        self.changed.notify_waiters();
    }

    /// Ends both directions because the socket of `side` failed.
    pub(super) fn fail_by(&self, side: Side, error: &io::Error) {
        use libc::{ECONNRESET, ENOTCONN, EPIPE};
        self.fail(match error.raw_os_error() {
            Some(ECONNRESET | EPIPE | ENOTCONN) | None => CloseReason::Reset { by: side },
            Some(errno) => CloseReason::Failed { side, errno },
        });
    }

    /// Waits, after `side` has ended its direction, until the connection is over; a reset from
    /// it ends the connection.
    pub(super) async fn outlast(&self, side: Side) {
        if self.has_failed() || self.has_finished(!side) {
            return;
        }
        let was_reset = self.socket(side).hung_up().await;
        if !self.has_finished(!side) && was_reset.unwrap_or(true) {
            self.fail(CloseReason::Reset { by: side });
        }
    }

    /// Completes when the connection has to end although its peers go on.
    async fn watch(&self) -> CloseReason {
        tokio::select! {
            reason = self.silence() => reason,
            () = self.worker.shared.phases.reached(Phase::Ending) => CloseReason::Stopped,
        }
    }

    /// Completes when it has been silent for too long.
    async fn silence(&self) -> CloseReason {
        loop {
            let limits = &self.worker.shared.limits;
            let half_closed = self.finished.get()[0].is_some();
            let half_close = half_closed.then_some(limits.half_close_timeout);
            let (limit, reason) = match (limits.idle_timeout, half_close) {
                (Some(idle), Some(half)) if half < idle => (half, CloseReason::HalfCloseTimeout),
                (Some(idle), _) => (idle, CloseReason::IdleTimeout),
                (None, Some(half)) => (half, CloseReason::HalfCloseTimeout),
                (None, None) => {
                    self.changed.notified().await;
                    continue;
                }
            };
            let silent_ns = self.now().nanos_since(self.last_activity.get());
            let left = limit.saturating_sub(Duration::from_nanos(silent_ns));
            if left.is_zero() {
                return reason;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                () = sleep(left) => {}
            }
        }
    }
}
