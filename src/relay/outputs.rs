//! What is written to each side, one thing after another, and who waits for it.

use std::time::Duration;

use super::flow::Stage;
use super::machine::Relay;
use super::outlet::{End, Item, Output, Work};
use super::{Action, Actions, Payload};
use crate::event::{Direction, Leg, Side};

impl<P: Payload> Relay<P> {
    /// Queues something for `to` on behalf of a direction, which waits until it is done.
    pub(super) fn send(
        &mut self,
        producer: Direction,
        to: Side,
        what: Output<P>,
        now: Duration,
        out: &mut Actions<P>,
    ) {
        self.flow(producer).outputs += 1;
        self.outlets[to as usize].queue.push_back(Item { producer, what });
        if self.outlets[to as usize].is_idle() {
            self.next_output(to, now, out);
        }
    }

    /// Begins the next of what waits to be written to `to`.
    pub(super) fn next_output(&mut self, to: Side, now: Duration, out: &mut Actions<P>) {
        let outlet = &mut self.outlets[to as usize];
        let Some(Item { producer, what }) = outlet.queue.pop_front() else { return };
        match what {
            // After its FIN, or once it was reset, nothing can be said to it any more.
            _ if outlet.end != End::Open => {
                self.next_output(to, now, out);
                self.output_is_done(producer, now, out);
            }
            Output::Bytes(payload) => {
                let (left, bytes) = (payload.len(), payload.clone());
                outlet.work =
                    Work::Writing { producer, payload, left, progress: now, is_watched: false };
                out.push_back(Action::Write { to, payload: bytes });
            }
            Output::End => {
                outlet.end = End::Shut;
                out.push_back(Action::ShutDown { side: to });
                self.next_output(to, now, out);
                self.output_is_done(producer, now, out);
            }
        }
    }

    pub(super) fn wrote(&mut self, to: Side, len: usize, now: Duration, out: &mut Actions<P>) {
        self.active = now;
        let outlet = &mut self.outlets[to as usize];
        let Work::Writing { left, progress, .. } = &mut outlet.work else { return };
        *progress = now;
        *left = left.saturating_sub(len);
        if *left > 0 {
            return;
        }
        let work = std::mem::replace(&mut outlet.work, Work::Idle);
        if let Work::Writing { producer, payload, .. } = work {
            outlet.work = Work::Recording { producer };
            self.emit_data(Direction::from(!to), Leg::Sent, payload, out);
        }
    }

    pub(super) fn sent_is_recorded(&mut self, to: Side, now: Duration, out: &mut Actions<P>) {
        let outlet = &mut self.outlets[to as usize];
        let Work::Recording { producer } = outlet.work else { return };
        outlet.work = Work::Idle;
        self.next_output(to, now, out);
        self.output_is_done(producer, now, out);
    }

    /// One thing that `producer` had to say was said, or cannot be.
    pub(super) fn output_is_done(
        &mut self,
        producer: Direction,
        now: Duration,
        out: &mut Actions<P>,
    ) {
        let flow = self.flow(producer);
        flow.outputs = flow.outputs.saturating_sub(1);
        self.go_on(producer, now, out);
    }

    /// Takes the next step of a direction that waits for nothing any more.
    pub(super) fn go_on(&mut self, direction: Direction, now: Duration, out: &mut Actions<P>) {
        let flow = self.flow(direction);
        if matches!(flow.stage, Stage::Sending) && flow.outputs == 0 {
            self.next_step(direction, now, out);
        }
    }

    /// Forgets what was to be written to `side`.
    pub(super) fn forget_outputs(&mut self, side: Side) {
        let forgotten = self.outlets[side as usize].clear();
        for (flow, forgotten) in self.flows.iter_mut().zip(forgotten) {
            flow.outputs = flow.outputs.saturating_sub(forgotten);
        }
    }
}
