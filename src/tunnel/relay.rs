//! The two directions of a connected connection, and what ends both.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};
use tokio::time::sleep;

use super::counters::Passed;
use super::pump::Pump;
use super::stop::Phase;
use super::worker::Worker;
use crate::event::{CloseReason, Direction, Side, Timestamp};
use crate::net::Socket;
use crate::sink::Tap;
use crate::transform::Pair;

/// How long a write may be stuck before it is watched whether its sender is still there, and how
/// long a peer may take in nothing before a reset by the other is no longer kept from it.
const STALL: Duration = Duration::from_secs(1);

/// What both directions of a connection share.
pub(super) struct Relay<'a> {
    pub(super) worker: &'a Rc<Worker>,
    pub(super) tap: &'a Tap,
    client: Socket,
    server: Socket,
    /// One write at a time: with two the kernel may change their order. Only a transform that
    /// answers to the sender makes a second writer.
    writing: [Mutex<()>; 2],
    /// Outlives the relay, so that a close after a panic tells it, too.
    pub(super) passed: &'a Passed,
    last_activity: Cell<Timestamp>,
    /// The directions whose receiver was told that nothing more comes.
    ended: Cell<[bool; 2]>,
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
        passed: &'a Passed,
        client: Socket,
        server: Socket,
    ) -> Self {
        Self {
            worker,
            tap,
            client,
            server,
            writing: [Mutex::new(()), Mutex::new(())],
            passed,
            last_activity: Cell::new(worker.shared.clock.now()),
            ended: Cell::default(),
            finished: Cell::default(),
            failure: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// Relays until both directions have ended; how they did.
    pub(super) async fn run(self, pair: Pair) -> CloseReason {
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
                self.reset();
                directions.await;
            }
        }
        self.see_off().await;
        let failure = self.failure.take();
        let first = self.finished.get()[0].unwrap_or(Side::Client);
        failure.unwrap_or(CloseReason::Finished { first })
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

    /// Ends both directions, so that what is pending on their sockets comes back: reset, so that
    /// neither peer takes what it got for all there was.
    pub(super) fn fail(&self, reason: CloseReason) {
        if self.has_failed() {
            return;
        }
        match reason {
            CloseReason::Reset { by } | CloseReason::Failed { side: by, .. } => {
                self.socket(by).abort();
                // The other first gets what was sent before the reset; then see_off resets it.
                self.socket(!by).stop_reading();
            }
            _ => self.reset(),
        }
        self.failure.replace(Some(reason));
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

    fn reset(&self) {
        self.client.abort();
        self.server.abort();
    }

    /// After a reset by one peer: resets the other when it has got all that was said before, as
    /// it would have on a straight connection, where those bytes were in its own kernel already.
    async fn see_off(&self) {
        let Some(by) = self.failure.borrow().as_ref().map(CloseReason::by) else { return };
        if let Some(other) = by.map(|by| self.socket(!by)) {
            tokio::select! {
                () = other.acknowledged(STALL) => {}
                Ok(_) = other.failure() => {}
                () = self.worker.shared.phases.reached(Phase::Ending) => {}
            }
        }
        self.reset();
    }

    /// Tells the receiver of `direction` that nothing more comes, unless it knows.
    pub(super) async fn end(&self, direction: Direction) -> io::Result<()> {
        let receiver = direction.receiver();
        // Not in the middle of what the other direction's transform replies to the receiver.
        let _turn = self.writing(receiver).lock().await;
        let mut ended = self.ended.get();
        if std::mem::replace(&mut ended[direction as usize], true) {
            return Ok(());
        }
        self.ended.set(ended);
        self.socket(receiver).shutdown_write()
    }

    pub(super) fn has_ended(&self, direction: Direction) -> bool {
        self.ended.get()[direction as usize]
    }

    /// Waits, after `side` has ended its direction, until the connection is over; a failure of
    /// its socket ends the connection.
    pub(super) async fn outlast(&self, side: Side) {
        loop {
            let changed = self.changed.notified();
            if self.has_failed() || self.has_finished(!side) {
                return;
            }
            tokio::select! {
                () = changed => {}
                Ok(error) = self.socket(side).failure() => return self.fail_by(side, &error),
            }
        }
    }

    /// Completes when a write of what `sender` said has been stuck for long and the sender is
    /// gone: the connection has failed then, and the write is not worth the wait.
    pub(super) async fn deserted(&self, sender: Side) {
        sleep(STALL).await;
        tokio::select! {
            biased;
            () = self.failed() => sleep(STALL).await,
            Ok(error) = self.socket(sender).failure() => self.fail_by(sender, &error),
        }
    }

    /// Completes when the connection fails.
    pub(super) async fn failed(&self) {
        loop {
            let changed = self.changed.notified();
            if self.has_failed() {
                return;
            }
            changed.await;
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

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        // Left by a panic, of a transform's destructor say: no end that a peer may take for one.
        if self.finished.get()[1].is_none() {
            self.reset();
        }
    }
}
