//! Looks at the sockets of open connections again and again, while a sink asks for it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::clock::Clock;
use super::counters::Passed;
use super::tcp_info;
use crate::event::{BothTotals, ConnectionId, EventKind, Info, Side, TcpInfo};
use crate::net::Socket;
use crate::sink::ConnectionRecorder;

/// So many connections are looked at in one go, or a worker with thousands would do nothing else
/// for that long.
const AT_ONCE: usize = 256;
/// The rest of a round is not put off for longer than this, where the round is longer.
const STEP: Duration = Duration::from_millis(10);

/// The open connections of a worker that are looked at.
pub(super) struct Samples {
    clock: Clock,
    open: RefCell<BTreeMap<ConnectionId, Rc<Sampled>>>,
}

/// What is looked at of a connection.
struct Sampled {
    tap: Rc<ConnectionRecorder>,
    /// By side.
    sockets: [Socket; 2],
    passed: Arc<Passed>,
    /// What was seen last, by side: a leg at rest is not worth an event.
    last: [Cell<Option<TcpInfo>>; 2],
    /// What had passed when nothing was new: until more passes, nothing will be.
    at_rest: Cell<Option<BothTotals>>,
}

/// Has a connection looked at until this is dropped.
pub(super) struct Sampling {
    samples: Rc<Samples>,
    connection: ConnectionId,
}

impl Sampling {
    /// Looks at the sockets of a connection now and at every sample.
    pub(super) fn start(
        samples: &Rc<Samples>,
        tap: &Rc<ConnectionRecorder>,
        sockets: [Socket; 2],
        passed: Arc<Passed>,
    ) -> Self {
        let (connection, tap) = (tap.connection(), Rc::clone(tap));
        let (last, at_rest) = Default::default();
        let sampled = Rc::new(Sampled { tap, sockets, passed, last, at_rest });
        sampled.look(&samples.clock);
        samples.open.borrow_mut().insert(connection, sampled);
        Self { samples: Rc::clone(samples), connection }
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        self.samples.open.borrow_mut().remove(&self.connection);
    }
}

impl Sampled {
    fn look(&self, clock: &Clock) {
        let passed = self.passed.totals();
        if self.at_rest.get() == Some(passed) {
            return;
        }
        let mut is_new = false;
        for (side, (socket, last)) in
            [Side::Client, Side::Server].into_iter().zip(self.sockets.iter().zip(&self.last))
        {
            let Some(tcp) = tcp_info::of(socket) else { continue };
            if last.replace(Some(tcp)) != Some(tcp) {
                is_new = true;
                let now = clock.now().time;
                self.tap.sample(now, EventKind::Info(Info::new(side, tcp).into()));
            }
        }
        self.at_rest.set((!is_new).then_some(passed));
    }
}

impl Samples {
    /// No connection so far; `clock` tells when it is looked at.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, open: RefCell::default() }
    }

    /// The next connections after `after`, and how many are open.
    fn next(&self, after: ConnectionId, count: usize) -> Vec<Rc<Sampled>> {
        let open = self.open.borrow();
        let from = ConnectionId(after.0.saturating_add(1));
        open.range(from..).take(count).map(|(_, sampled)| Rc::clone(sampled)).collect()
    }

    fn len(&self) -> usize {
        self.open.borrow().len()
    }
}

/// Looks at all connections of a worker once an interval, a part of them at a time.
pub(super) async fn sample(samples: &Samples, interval: Duration) {
    loop {
        let began = tokio::time::Instant::now();
        let parts = samples.len().div_ceil(AT_ONCE).max(1);
        let pause = (interval / u32::try_from(parts).unwrap_or(u32::MAX)).min(STEP);
        let mut last = ConnectionId(0);
        loop {
            let some = samples.next(last, AT_ONCE);
            let Some(end) = some.last() else { break };
            last = end.tap.connection();
            some.iter().for_each(|sampled| sampled.look(&samples.clock));
            drop(some);
            tokio::time::sleep(pause).await;
        }
        tokio::time::sleep_until(began + interval).await;
    }
}
