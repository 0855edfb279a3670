//! After a reset by one peer: the other is reset too, but first gets what was said before.
//!
//! On a straight connection those bytes would be in its own kernel already, where a reset does not
//! overtake them for a peer that reads. A peer that does not read is waited for no longer than
//! [`STALL`].

use std::time::Duration;

use super::drain::{Acknowledged, Drain};
use super::flow::{Source, Stage};
use super::machine::{Relay, State};
use super::outlet::{End, Work};
use super::{Action, Actions, Fault, Input, Payload, STALL};
use crate::event::{Direction, Side};

/// How soon the kernel is asked again how much is not acknowledged, at first and at most.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

impl<P: Payload> Relay<P> {
    /// Nothing more comes from `side`, which has failed.
    pub(super) fn failed(&mut self, side: Side, fault: Fault, now: Duration, out: &mut Actions<P>) {
        let flow = self.flow(Direction::from(side));
        flow.source = Source::Ended;
        if flow.is_reading() {
            flow.stop();
        }
        self.reset(side, out);
        self.drain(side, fault, now, out);
    }

    /// Nothing can be said to `side` any more; what it has said is still read.
    pub(super) fn write_failed(
        &mut self,
        side: Side,
        fault: Fault,
        now: Duration,
        out: &mut Actions<P>,
    ) {
        self.forget_outputs(side);
        self.outlets[side as usize].end = End::Shut;
        if self.flow(Direction::from(side)).is_over() {
            self.reset(side, out);
        }
        self.drain(side, fault, now, out);
    }

    fn drain(&mut self, by: Side, fault: Fault, now: Duration, out: &mut Actions<P>) {
        self.flow(Direction::from(!by)).stop();
        let reason = fault.reason(by);
        let acknowledged = Acknowledged::NotAsked;
        self.state = State::Draining(Drain { by, reason, since: now, acknowledged });
        // It may have waited for what cannot be said to its sender any more.
        self.go_on(Direction::from(by), now, out);
        self.drain_on(now, out);
    }

    pub(super) fn draining(&mut self, input: Input<P>, now: Duration, out: &mut Actions<P>) {
        let State::Draining(drain) = &self.state else { return };
        let (by, direction) = (drain.by, Direction::from(drain.by));
        match input {
            Input::Read { from, payload } if from == by => self.received(from, payload, now, out),
            Input::Ended { from: side } | Input::Failed { side, .. } if side == by => {
                self.flow(direction).source = Source::Ended;
                if self.flow(direction).is_reading() {
                    self.flow(direction).stop();
                }
            }
            Input::Wrote { to, len } => self.wrote(to, len, now, out),
            Input::Recorded { direction, leg } => self.recorded(direction, leg, now, out),
            Input::Transformed { direction, steps } => {
                self.transformed(direction, steps, now, out);
            }
            Input::Broken { .. } => self.flow(direction).stop(),
            Input::Failed { side, .. } | Input::WriteFailed { side, .. } if side != by => {
                return self.end_drain(out);
            }
            Input::ShutdownAsked => return self.end_drain(out),
            Input::Unacknowledged { side, bytes } if side != by => {
                return self.measured(bytes, now, out);
            }
            Input::TimePassed => return self.drain_time_passed(now, out),
            _ => return,
        }
        self.drain_on(now, out);
    }

    /// Goes on when nothing of what was said before is on its way through here any more.
    fn drain_on(&mut self, now: Duration, out: &mut Actions<P>) {
        let State::Draining(Drain { by, acknowledged: Acknowledged::NotAsked, .. }) = self.state
        else {
            return;
        };
        let flow = self.flow(Direction::from(by));
        // A delay is not worth the wait any more, and nobody releases what holds.
        if matches!(flow.stage, Stage::Delaying { .. } | Stage::Holding) {
            flow.stop();
        }
        if !flow.is_over() {
            return;
        }
        self.reset(by, out);
        let outlet = &self.outlets[!by as usize];
        if !outlet.is_idle() || !outlet.queue.is_empty() {
            return;
        }
        if let State::Draining(drain) = &mut self.state {
            drain.acknowledged = Acknowledged::Asking {
                left: usize::MAX,
                progress: now,
                pause: PAUSE,
                next: now + STALL,
            };
        }
        out.extend([Action::Watch { side: !by }, Action::Measure { side: !by }]);
    }

    fn measured(&mut self, bytes: usize, now: Duration, out: &mut Actions<P>) {
        let State::Draining(drain) = &mut self.state else { return };
        let Acknowledged::Asking { left, progress, pause, next } = &mut drain.acknowledged else {
            return;
        };
        if bytes < *left {
            (*left, *progress) = (bytes, now);
        }
        if bytes == 0 || *progress + STALL <= now {
            return self.end_drain(out);
        }
        *next = now + *pause;
        *pause = (*pause * 2).min(PAUSE_MAX);
    }

    fn drain_time_passed(&mut self, now: Duration, out: &mut Actions<P>) {
        let State::Draining(drain) = &self.state else { return };
        if self.drain_deadline(drain).is_none_or(|deadline| deadline > now) {
            return;
        }
        let by = drain.by;
        match drain.acknowledged {
            Acknowledged::Asking { .. } => out.push_back(Action::Measure { side: !by }),
            Acknowledged::NotAsked => {
                let is_reading = self.flow(Direction::from(by)).is_reading();
                if !is_reading || !self.outlets[!by as usize].is_idle() {
                    return self.end_drain(out);
                }
                self.flow(Direction::from(by)).stop();
                self.drain_on(now, out);
            }
        }
    }

    pub(super) fn drain_deadline(&self, drain: &Drain) -> Option<Duration> {
        match drain.acknowledged {
            Acknowledged::Asking { next, .. } => Some(next),
            Acknowledged::NotAsked => match self.outlets[!drain.by as usize].work {
                Work::Writing { progress, .. } => Some(progress + STALL),
                Work::Recording { .. } => None,
                Work::Idle => {
                    let flow = &self.flows[Direction::from(drain.by) as usize];
                    flow.is_reading().then(|| drain.since + STALL)
                }
            },
        }
    }

    fn end_drain(&mut self, out: &mut Actions<P>) {
        if let State::Draining(drain) = &self.state {
            let reason = drain.reason.clone();
            self.close(reason, out);
        }
    }
}
