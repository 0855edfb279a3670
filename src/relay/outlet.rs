//! The writing end of one side: one thing at a time, in order.
//!
//! Most of the time only the direction toward the side uses it. A transform that answers to its
//! sender makes a second user, and the kernel would be free to change the order of two writes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::Direction;

/// Something to be written, and for whom.
#[derive(Debug)]
pub(super) struct Item<P> {
    /// The direction that waits for it.
    pub(super) producer: Direction,
    pub(super) what: Output<P>,
}

#[derive(Debug)]
pub(super) enum Output<P> {
    Bytes(P),
    /// FIN.
    End,
}

/// What an outlet is doing.
#[derive(Debug)]
pub(super) enum Work<P> {
    Idle,
    /// The kernel is taking bytes.
    Writing {
        producer: Direction,
        payload: P,
        left: usize,
        /// When the kernel last took some.
        progress: Duration,
        /// Whether the sender of the bytes is watched, since there was no progress for long.
        is_watched: bool,
    },
    /// The sinks are given what was sent.
    Recording {
        producer: Direction,
    },
}

#[derive(Debug)]
pub(super) struct Outlet<P> {
    pub(super) work: Work<P>,
    pub(super) queue: VecDeque<Item<P>>,
    pub(super) end: End,
}

/// How an outlet has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    /// FIN was sent.
    Shut,
    /// RST was sent.
    Reset,
}

impl<P> Outlet<P> {
    pub(super) const fn new() -> Self {
        Self { work: Work::Idle, queue: VecDeque::new(), end: End::Open }
    }

    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.work, Work::Idle)
    }

    /// Forgets what is under way and what waits; how much of it was for each direction.
    pub(super) fn clear(&mut self) -> [usize; 2] {
        let work = std::mem::replace(&mut self.work, Work::Idle);
        let under_way = match work {
            Work::Idle => None,
            Work::Writing { producer, .. } | Work::Recording { producer } => Some(producer),
        };
        let mut forgotten = [0; 2];
        for producer in self.queue.drain(..).map(|item| item.producer).chain(under_way) {
            forgotten[producer as usize] += 1;
        }
        forgotten
    }
}
