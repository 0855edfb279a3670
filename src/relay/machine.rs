//! The machine: its states, and the one function that moves it.
//!
//! What it writes is in `outputs`, what transforms want in `steps`, resets in `draining`.

use std::time::Duration;

use super::drain::Drain;
use super::flow::{Flow, Source, Stage};
use super::outlet::{End, Outlet, Output, Work};
use super::{Action, Actions, Emit, Input, Payload, STALL, Timeouts};
use crate::event::{BothTotals, CloseReason, Direction, Leg, Side};

/// How far the connection is.
#[derive(Debug)]
pub(super) enum State {
    /// The client was accepted; the server is being reached.
    Connecting,
    /// Both directions are relayed, or what is left of them.
    Relaying,
    /// One peer has reset the connection; the other first gets what was said before.
    Draining(Drain),
    /// It is over.
    Closed,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Relay<P> {
    timeouts: Timeouts,
    pub(super) state: State,
    /// By direction.
    pub(super) flows: [Flow<P>; 2],
    /// By side.
    pub(super) outlets: [Outlet<P>; 2],
    totals: BothTotals,
    /// Who ended its direction first.
    first: Option<Side>,
    /// When a peer last said or took something.
    pub(super) active: Duration,
}

impl<P: Payload> Relay<P> {
    /// A client was accepted at `now`.
    pub(crate) fn new(timeouts: Timeouts, now: Duration, out: &mut Actions<P>) -> Self {
        out.extend([Action::Connect, Action::Watch { side: Side::Client }]);
        Self {
            timeouts,
            state: State::Connecting,
            flows: [Flow::new(false), Flow::new(false)],
            outlets: [Outlet::new(), Outlet::new()],
            totals: BothTotals::default(),
            first: None,
            active: now,
        }
    }

    /// Whether `Close` was emitted.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Takes what happened at `now` and appends what is to be done to `out`. What comes late, of
    /// something that is over, changes nothing.
    pub(crate) fn handle(&mut self, input: Input<P>, now: Duration, out: &mut Actions<P>) {
        match self.state {
            State::Connecting => self.connecting(input, now, out),
            State::Relaying => self.relaying(input, now, out),
            State::Draining(_) => self.draining(input, now, out),
            State::Closed => {}
        }
    }

    fn connecting(&mut self, input: Input<P>, now: Duration, out: &mut Actions<P>) {
        match input {
            Input::Connected { transformed, opening } => {
                self.state = State::Relaying;
                self.active = now;
                out.push_back(Action::Emit(Emit::Connected));
                self.flows = transformed.map(Flow::new);
                self.flows[Direction::ClientToServer as usize].steps = opening.into();
                self.next_step(Direction::ClientToServer, now, out);
                self.read(Direction::ServerToClient, out);
            }
            Input::ConnectFailed { reason, is_answered: false } => self.close(reason, out),
            Input::ConnectFailed { reason, is_answered: true } => {
                self.state = State::Closed;
                out.push_back(Action::ShutDown { side: Side::Client });
                out.push_back(Action::Emit(Emit::Close { reason, totals: self.totals }));
            }
            Input::Failed { side: side @ Side::Client, fault } => {
                out.push_back(Action::GiveUpConnect);
                self.close(fault.reason(side), out);
            }
            Input::ShutdownAsked => {
                out.push_back(Action::GiveUpConnect);
                self.close(CloseReason::Stopped, out);
            }
            _ => {}
        }
    }

    fn relaying(&mut self, input: Input<P>, now: Duration, out: &mut Actions<P>) {
        match input {
            Input::Read { from, payload } => self.received(from, payload, now, out),
            Input::Ended { from } => self.sender_ended(from, now, out),
            Input::Failed { side, fault } => self.failed(side, fault, now, out),
            Input::WriteFailed { side, fault } => self.write_failed(side, fault, now, out),
            Input::Wrote { to, len } => self.wrote(to, len, now, out),
            Input::Recorded { direction, leg } => self.recorded(direction, leg, now, out),
            Input::Transformed { direction, steps } => {
                self.transformed(direction, steps, now, out);
            }
            Input::Broken { direction, message } => {
                self.close(CloseReason::Transform { direction, message }, out);
            }
            Input::ShutdownAsked => self.close(CloseReason::Stopped, out),
            Input::TimePassed => self.time_passed(now, out),
            Input::Connected { .. }
            | Input::ConnectFailed { .. }
            | Input::Unacknowledged { .. } => {}
        }
    }

    pub(super) fn received(&mut self, from: Side, payload: P, now: Duration, out: &mut Actions<P>) {
        let direction = Direction::from(from);
        self.active = now;
        self.emit_data(direction, Leg::Received, payload.clone(), out);
        self.flow(direction).stage = Stage::Recording(payload);
    }

    /// Goes on with what was waiting for the sinks.
    pub(super) fn recorded(
        &mut self,
        direction: Direction,
        leg: Leg,
        now: Duration,
        out: &mut Actions<P>,
    ) {
        self.active = now;
        match leg {
            Leg::Received => self.received_is_recorded(direction, now, out),
            Leg::Sent => self.sent_is_recorded(direction.receiver(), now, out),
        }
    }

    fn received_is_recorded(&mut self, direction: Direction, now: Duration, out: &mut Actions<P>) {
        let flow = self.flow(direction);
        if !flow.is_recording() {
            return;
        }
        let stage = std::mem::replace(&mut flow.stage, Stage::Sending);
        let Stage::Recording(payload) = stage else { return };
        if flow.is_cut {
            self.read_or_end(direction, now, out);
        } else if flow.is_transformed {
            (flow.stage, flow.is_released) = (Stage::Transforming, false);
            out.push_back(Action::Transform { direction, payload: Some(payload) });
        } else {
            self.send(direction, direction.receiver(), Output::Bytes(payload), now, out);
        }
    }

    fn sender_ended(&mut self, from: Side, now: Duration, out: &mut Actions<P>) {
        let direction = Direction::from(from);
        let flow = self.flow(direction);
        flow.source = Source::Ended;
        if flow.is_transformed && !flow.is_cut {
            flow.stage = Stage::Transforming;
            out.push_back(Action::Transform { direction, payload: None });
        } else {
            self.end(direction, now, out);
        }
    }

    /// A direction has delivered all that it had.
    pub(super) fn read_or_end(
        &mut self,
        direction: Direction,
        now: Duration,
        out: &mut Actions<P>,
    ) {
        let is_draining = matches!(self.state, State::Draining(_));
        match self.flow(direction).source {
            Source::Open => self.read(direction, out),
            Source::Ended if is_draining => self.flow(direction).stop(),
            Source::Ended => self.end(direction, now, out),
        }
    }

    fn read(&mut self, direction: Direction, out: &mut Actions<P>) {
        self.flow(direction).stage = Stage::Reading;
        out.push_back(Action::Read { from: direction.sender() });
    }

    /// The sender has ended and all of it was delivered: tells the receiver, unless it knows.
    fn end(&mut self, direction: Direction, now: Duration, out: &mut Actions<P>) {
        if self.outlets[direction.receiver() as usize].end == End::Open {
            self.flow(direction).stage = Stage::Sending;
            self.send(direction, direction.receiver(), Output::End, now, out);
        } else {
            self.finish(direction, now, out);
        }
    }

    /// The sender has ended, and the receiver was told.
    fn finish(&mut self, direction: Direction, now: Duration, out: &mut Actions<P>) {
        let side = direction.sender();
        let totals = self.totals.get(direction);
        out.push_back(Action::Emit(Emit::Shutdown { direction, totals }));
        self.active = now;
        self.flow(direction).stop();
        let first = *self.first.get_or_insert(side);
        if matches!(self.state, State::Draining(_)) {
            return;
        }
        if self.flow(!direction).is_over() {
            self.close(CloseReason::Finished { first }, out);
        } else {
            out.push_back(Action::Watch { side });
        }
    }

    pub(super) fn emit_data(
        &mut self,
        direction: Direction,
        leg: Leg,
        payload: P,
        out: &mut Actions<P>,
    ) {
        let totals = self.totals.get_mut(direction);
        let total = match leg {
            Leg::Received => &mut totals.received,
            Leg::Sent => &mut totals.sent,
        };
        let offset = *total;
        *total += payload.len() as u64;
        out.push_back(Action::Emit(Emit::Data { direction, leg, offset, payload }));
    }

    pub(super) const fn flow(&mut self, direction: Direction) -> &mut Flow<P> {
        &mut self.flows[direction as usize]
    }

    /// Ends the connection; resets what is open, unless both sides have ended it.
    pub(super) fn close(&mut self, reason: CloseReason, out: &mut Actions<P>) {
        let has_server = !matches!(self.state, State::Connecting);
        if !reason.is_clean() {
            self.reset(Side::Client, out);
            if has_server {
                self.reset(Side::Server, out);
            }
        }
        self.flows.iter_mut().for_each(Flow::stop);
        self.forget_outputs(Side::Client);
        self.forget_outputs(Side::Server);
        self.state = State::Closed;
        out.push_back(Action::Emit(Emit::Close { reason, totals: self.totals }));
    }

    /// Resets `side`, once.
    pub(super) fn reset(&mut self, side: Side, out: &mut Actions<P>) {
        self.forget_outputs(side);
        let outlet = &mut self.outlets[side as usize];
        if outlet.end != End::Reset {
            outlet.end = End::Reset;
            out.push_back(Action::Reset { side });
        }
    }

    /// When the driver has to come back with [`Input::TimePassed`].
    pub(crate) fn deadline(&self) -> Option<Duration> {
        match &self.state {
            State::Connecting | State::Closed => None,
            State::Draining(drain) => self.drain_deadline(drain),
            State::Relaying => {
                let silence = self.silence_deadline().map(|(deadline, _)| deadline);
                let delays = self.flows.iter().filter_map(|flow| match flow.stage {
                    Stage::Delaying { until } => Some(until),
                    _ => None,
                });
                let stalls = self.outlets.iter().filter_map(|outlet| match outlet.work {
                    Work::Writing { progress, is_watched: false, .. } => Some(progress + STALL),
                    _ => None,
                });
                silence.into_iter().chain(delays).chain(stalls).min()
            }
        }
    }

    /// When the silence of both peers ends the connection, and why. Waiting for our own sinks is
    /// no silence of theirs.
    fn silence_deadline(&self) -> Option<(Duration, CloseReason)> {
        let is_recording = self.flows.iter().any(Flow::is_recording)
            || self.outlets.iter().any(|outlet| matches!(outlet.work, Work::Recording { .. }));
        if is_recording {
            return None;
        }
        let idle = self.timeouts.idle.map(|limit| (limit, CloseReason::IdleTimeout));
        let half_close =
            self.first.map(|_| (self.timeouts.half_close, CloseReason::HalfCloseTimeout));
        let (limit, reason) = idle.into_iter().chain(half_close).min_by_key(|(limit, _)| *limit)?;
        Some((self.active.saturating_add(limit), reason))
    }

    fn time_passed(&mut self, now: Duration, out: &mut Actions<P>) {
        if let Some((deadline, reason)) = self.silence_deadline()
            && deadline <= now
        {
            return self.close(reason, out);
        }
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            if matches!(self.flow(direction).stage, Stage::Delaying { until } if until <= now) {
                self.next_step(direction, now, out);
            }
        }
        for to in [Side::Client, Side::Server] {
            self.watch_sender_of_stalled_write(to, now, out);
        }
    }

    /// A write that makes no progress is worth no wait once its sender is gone.
    fn watch_sender_of_stalled_write(&mut self, to: Side, now: Duration, out: &mut Actions<P>) {
        if let Work::Writing { progress, is_watched, .. } = &mut self.outlets[to as usize].work
            && !*is_watched
            && *progress + STALL <= now
        {
            *is_watched = true;
            // A read that is under way tells it by itself.
            if !self.flows[Direction::from(!to) as usize].is_reading() {
                out.push_back(Action::Watch { side: !to });
            }
        }
    }
}
