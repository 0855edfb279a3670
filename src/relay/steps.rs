//! What a direction's transform wants done, step by step.

use std::time::Duration;

use super::flow::Stage;
use super::machine::Relay;
use super::outlet::Output;
use super::{Action, Actions, Emit, Payload, Step};
use crate::event::{CloseReason, Direction};

impl<P: Payload> Relay<P> {
    pub(super) fn transformed(
        &mut self,
        direction: Direction,
        steps: Vec<Step<P>>,
        now: Duration,
        out: &mut Actions<P>,
    ) {
        let flow = self.flow(direction);
        if matches!(flow.stage, Stage::Transforming) {
            flow.steps = steps.into();
            self.next_step(direction, now, out);
        }
    }

    /// Does the next thing that a transform wants done; reads on when there is none.
    pub(super) fn next_step(&mut self, direction: Direction, now: Duration, out: &mut Actions<P>) {
        let (sender, receiver) = (direction.sender(), direction.receiver());
        while let Some(step) = self.flow(direction).steps.pop_front() {
            self.flow(direction).stage = Stage::Sending;
            match step {
                Step::Forward(bytes) | Step::Reply(bytes) if bytes.len() == 0 => continue,
                Step::Forward(bytes) => {
                    self.send(direction, receiver, Output::Bytes(bytes), now, out);
                }
                Step::Reply(bytes) => self.send(direction, sender, Output::Bytes(bytes), now, out),
                Step::Exchange(reply, forward) => {
                    if reply.len() + forward.len() == 0 {
                        continue;
                    }
                    self.exchange(direction, [reply, forward], now, out);
                }
                Step::Finish => {
                    self.flow(direction).is_cut = true;
                    self.send(direction, receiver, Output::End, now, out);
                }
                Step::Record(kind) => {
                    out.push_back(Action::Emit(Emit::Event(kind)));
                    continue;
                }
                Step::Release => {
                    self.release(!direction, now, out);
                    continue;
                }
                Step::Hold if self.flow(direction).is_released => continue,
                Step::Hold => {
                    self.flow(direction).stage = Stage::Holding;
                    // No read tells it meanwhile.
                    out.push_back(Action::Watch { side: sender });
                }
                Step::Delay(delay) => {
                    self.flow(direction).stage = Stage::Delaying { until: now + delay };
                }
                Step::Reset => {
                    let message = "it reset the connection".into();
                    self.close(CloseReason::Transform { direction, message }, out);
                }
            }
            return;
        }
        self.read_or_end(direction, now, out);
    }

    /// Queues what a direction says to its sender and to its receiver.
    pub(super) fn exchange(
        &mut self,
        direction: Direction,
        [reply, forward]: [P; 2],
        now: Duration,
        out: &mut Actions<P>,
    ) {
        // None of them is done, and the next step begun, before all are queued.
        self.flow(direction).outputs += 1;
        for (to, bytes) in [(direction.sender(), reply), (direction.receiver(), forward)] {
            if bytes.len() > 0 {
                self.send(direction, to, Output::Bytes(bytes), now, out);
            }
        }
        self.output_is_done(direction, now, out);
    }

    /// Lets a direction go on that holds, or is about to.
    pub(super) fn release(&mut self, direction: Direction, now: Duration, out: &mut Actions<P>) {
        self.flow(direction).is_released = true;
        if matches!(self.flow(direction).stage, Stage::Holding) {
            self.next_step(direction, now, out);
        }
    }
}
