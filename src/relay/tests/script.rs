//! What the tests speak: inputs by name, and actions as one line.

use std::time::Duration;

use bytes::Bytes;

use crate::event::{CloseReason, Direction, Leg, Side};
use crate::relay::{Action, Actions, Emit, Fault, Input, Payload, Relay, Step, Timeouts};

impl Payload for Bytes {
    fn len(&self) -> usize {
        self.as_ref().len()
    }
}

pub(super) type Said = Input<Bytes>;

pub(super) fn says(from: Side, bytes: &'static str) -> Said {
    Input::Read { from, payload: Bytes::from_static(bytes.as_bytes()) }
}

pub(super) const fn ends(from: Side) -> Said {
    Input::Ended { from }
}

pub(super) const fn resets(side: Side) -> Said {
    Input::Failed { side, fault: Fault::Reset }
}

pub(super) const fn refuses_bytes(side: Side) -> Said {
    Input::WriteFailed { side, fault: Fault::Reset }
}

pub(super) const fn not_reached(reason: CloseReason) -> Said {
    Input::ConnectFailed { reason, is_answered: false }
}

pub(super) const fn takes(to: Side, len: usize) -> Said {
    Input::Wrote { to, len }
}

pub(super) const fn has_left(side: Side, bytes: usize) -> Said {
    Input::Unacknowledged { side, bytes }
}

pub(super) fn steps(direction: Direction, steps: impl Into<Vec<Step<Bytes>>>) -> Said {
    Input::Transformed { direction, steps: steps.into() }
}

pub(super) fn forward(bytes: &'static str) -> Step<Bytes> {
    Step::Forward(Bytes::from_static(bytes.as_bytes()))
}

pub(super) fn reply(bytes: &'static str) -> Step<Bytes> {
    Step::Reply(Bytes::from_static(bytes.as_bytes()))
}

/// A machine that is told what happens, and must do what the test says.
pub(super) struct Dialogue {
    relay: Relay<Bytes>,
    now: Duration,
    has_slow_sinks: bool,
}

pub(super) const IDLE: Duration = Duration::from_secs(30);
pub(super) const HALF_CLOSE: Duration = Duration::from_secs(60);

impl Dialogue {
    /// A client was accepted.
    pub(super) fn accepted() -> Self {
        Self::accepted_with(Timeouts { idle: None, half_close: HALF_CLOSE })
    }

    pub(super) fn accepted_with(timeouts: Timeouts) -> Self {
        let mut out = Actions::new();
        let relay = Relay::new(timeouts, Duration::ZERO, &mut out);
        assert_eq!(line(&out), "connect, watch client");
        Self { relay, now: Duration::ZERO, has_slow_sinks: false }
    }

    /// The server was reached, too.
    pub(super) fn connected() -> Self {
        Self::accepted().and_connected([false, false])
    }

    pub(super) fn and_connected(self, transformed: [bool; 2]) -> Self {
        let connected = Input::Connected { transformed, opening: Vec::new() };
        self.when(connected, "connected, read client, read server")
    }

    /// Sinks take nothing until the test says so.
    pub(super) fn with_slow_sinks(mut self) -> Self {
        self.has_slow_sinks = true;
        self
    }

    /// When `input` happens, the machine does `expected`.
    #[track_caller]
    pub(super) fn when(mut self, input: Said, expected: &str) -> Self {
        let shown = format!("{input:?}");
        assert_eq!(self.give(input), expected, "after {shown}");
        self
    }

    /// When this much time passes, and the deadline with it, the machine does `expected`.
    #[track_caller]
    pub(super) fn after(mut self, time: Duration, expected: &str) -> Self {
        self.now += time;
        let deadline = self.relay.deadline();
        assert!(deadline.is_some_and(|at| at <= self.now), "{deadline:?} is no deadline");
        assert_eq!(self.give(Input::TimePassed), expected, "after {time:?}");
        self
    }

    /// This much time passes, and there is nothing to do.
    #[track_caller]
    pub(super) fn wait(mut self, time: Duration) -> Self {
        self.now += time;
        assert_eq!(self.give(Input::TimePassed), "", "after {time:?}");
        assert!(self.relay.deadline().is_none_or(|at| at > self.now), "a deadline was not served");
        self
    }

    /// There is no deadline: nothing happens until something comes.
    #[track_caller]
    pub(super) fn waits_for_ever(self) -> Self {
        assert_eq!(self.relay.deadline(), None);
        self
    }

    #[track_caller]
    pub(super) fn ends_here(self) {
        assert!(self.relay.is_closed());
        assert_eq!(self.relay.deadline(), None);
    }

    fn give(&mut self, input: Said) -> String {
        let (mut out, mut done) = (Actions::new(), Actions::new());
        self.relay.handle(input, self.now, &mut out);
        while let Some(action) = out.pop_front() {
            if let Action::Emit(Emit::Data { direction, leg, .. }) = action
                && !self.has_slow_sinks
            {
                let input = Input::Recorded { direction, leg };
                self.relay.handle(input, self.now, &mut out);
            }
            done.push_back(action);
        }
        line(&done)
    }
}

/// Actions as one line.
fn line(actions: &Actions<Bytes>) -> String {
    actions.iter().map(words).collect::<Vec<_>>().join(", ")
}

fn words(action: &Action<Bytes>) -> String {
    match action {
        Action::Connect => "connect".to_owned(),
        Action::GiveUpConnect => "give up connect".to_owned(),
        Action::Read { from } => format!("read {from}"),
        Action::Write { to, payload } => format!("write {to} '{}'", payload.escape_ascii()),
        Action::ShutDown { side } => format!("fin {side}"),
        Action::Reset { side } => format!("rst {side}"),
        Action::Watch { side } => format!("watch {side}"),
        Action::Measure { side } => format!("measure {side}"),
        Action::Transform { direction, payload: Some(payload) } => {
            format!("transform {} '{}'", direction.sender(), payload.escape_ascii())
        }
        Action::Transform { direction, payload: None } => {
            format!("transform {} end", direction.sender())
        }
        Action::Emit(event) => event_words(event),
    }
}

fn event_words(event: &Emit<Bytes>) -> String {
    match event {
        Emit::Connected => "connected".to_owned(),
        Emit::Data { direction, leg, offset, payload } => {
            let leg = if *leg == Leg::Received { "received" } else { "sent" };
            format!("{leg} {} {offset} '{}'", direction.sender(), payload.escape_ascii())
        }
        Emit::Shutdown { direction, totals } => {
            format!("ended {} {}/{}", direction.sender(), totals.received, totals.sent)
        }
        Emit::Event(_) => "event".to_owned(),
        Emit::Close { reason, .. } => format!("close {}", reason_words(reason)),
    }
}

fn reason_words(reason: &CloseReason) -> String {
    match reason.by() {
        Some(by) => format!("{} by {by}", reason.name()),
        None => reason.name().to_owned(),
    }
}
