//! The batches that the server has not acknowledged, between the sink and what ships them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

/// A batch on its way.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) subject: String,
    pub(super) id: String,
    /// How long it is.
    pub(super) len: usize,
    /// It, unless it is in the file alone.
    pub(super) payload: Option<Bytes>,
    /// Where it is kept until it is acknowledged, if it is.
    pub(super) file: Option<PathBuf>,
    /// How much data of clients and of servers is in it.
    pub(super) data: [u64; 2],
}

/// Batches in the order in which they were made.
#[derive(Default)]
pub(super) struct Outbox {
    state: Mutex<State>,
    /// Signaled when a batch was acknowledged, or nothing is shipped any more.
    progress: Condvar,
    /// Signaled when there is one to ship, or no more will be.
    work: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Parcel>,
    under_way: HashMap<u64, Parcel>,
    /// Of all of them.
    bytes: usize,
    /// How many were ever taken.
    taken: u64,
    failure: Option<String>,
    is_closed: bool,
}

impl State {
    fn check(&self) -> io::Result<()> {
        self.failure.as_ref().map_or(Ok(()), |why| Err(io::Error::other(why.clone())))
    }
}

impl Outbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, parcel: Parcel) {
        let mut state = self.state();
        state.bytes += parcel.len;
        state.waiting.push_back(parcel);
        self.work.notify_one();
    }

    /// How many bytes are not acknowledged.
    pub(super) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// Waits for at most `limit` until less than `most` bytes are left; whether they are.
    pub(super) fn wait_below(&self, most: usize, limit: Duration) -> io::Result<bool> {
        let is_full = |state: &mut State| state.bytes >= most && state.failure.is_none();
        let waited = self.progress.wait_timeout_while(self.state(), limit, is_full);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.check()?;
        Ok(state.bytes < most)
    }

    /// Waits until nothing is left, or for `patience` nothing was acknowledged; whether all was.
    pub(super) fn wait_until_empty(&self, patience: Duration) -> io::Result<bool> {
        let mut left = self.bytes();
        let mut since = Instant::now();
        while left > 0 && since.elapsed() < patience {
            self.wait_below(left, patience.saturating_sub(since.elapsed()))?;
            let now = self.bytes();
            if now < left {
                since = Instant::now();
            }
            left = now;
        }
        Ok(left == 0)
    }

    /// How much data of clients and of servers is in memory alone.
    pub(super) fn data_at_risk(&self) -> [u64; 2] {
        let state = self.state();
        let all = state.waiting.iter().chain(state.under_way.values());
        all.filter(|parcel| parcel.file.is_none())
            .fold([0, 0], |[a, b], parcel| [a + parcel.data[0], b + parcel.data[1]])
    }

    /// From now on nothing more is shipped.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.work.notify_one();
    }

    /// The next batch to ship, with its ticket; waits for one. `None` once nothing more is shipped.
    pub(super) async fn next(&self) -> Option<(u64, Parcel)> {
        loop {
            let working = self.work.notified();
            if let Some(next) = self.try_next()? {
                return Some(next);
            }
            working.await;
        }
    }

    fn try_next(&self) -> Option<Option<(u64, Parcel)>> {
        let mut state = self.state();
        if state.is_closed {
            return None;
        }
        let Some(parcel) = state.waiting.pop_front() else { return Some(None) };
        state.taken += 1;
        let ticket = state.taken;
        state.under_way.insert(ticket, parcel.clone());
        Some(Some((ticket, parcel)))
    }

    /// The server has the batch of this ticket.
    pub(super) fn acknowledged(&self, ticket: u64) {
        let mut state = self.state();
        if let Some(parcel) = state.under_way.remove(&ticket) {
            state.bytes -= parcel.len;
        }
        self.progress.notify_all();
    }

    /// Nothing can be shipped.
    pub(super) fn fail(&self, why: String) {
        self.state().failure.get_or_insert(why);
        self.progress.notify_all();
    }
}
