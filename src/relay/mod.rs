//! One connection as a pure state machine: what happens and the time go in, what to do next and
//! the next deadline come out.
//!
//! Every rule about the end of a connection is decided here: half-close, reset, refusal, what is
//! still delivered after a reset, each time-out, shutdown. Nothing here knows a socket, a task or a
//! clock. The driver performs the [`Action`]s in order, tells what came of them as [`Input`]s, and
//! comes back at the latest at [`Relay::deadline`].
//!
//! The machine emits the events of its connection itself, so that the event contract can be proved
//! without a socket.

mod drain;
mod draining;
mod flow;
mod machine;
mod outlet;
mod outputs;
mod steps;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::machine::Relay;
use crate::event::{BothTotals, CloseReason, Direction, EventKind, Leg, Side, Totals};

/// What is relayed: cheap to clone, and never changed.
pub(crate) trait Payload: Clone {
    /// How many bytes it has.
    fn len(&self) -> usize;
}

/// The time-outs of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// How long both sides may be silent.
    pub(crate) idle: Option<Duration>,
    /// How long one side may be silent after the other has ended its direction.
    pub(crate) half_close: Duration,
}

/// How a socket failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The peer sent RST, or is gone in another way that says so.
    Reset,
    /// The operating system's error number.
    Errno(i32),
}

impl Fault {
    /// Why a connection ends by it, of the socket toward `side`.
    const fn reason(self, side: Side) -> CloseReason {
        match self {
            Self::Reset => CloseReason::Reset { by: side },
            Self::Errno(errno) => CloseReason::Failed { side, errno },
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Input<P> {
    /// The server was reached; which directions have a transform, the client's first, and what the
    /// client's wants done before it is given anything.
    Connected { transformed: [bool; 2], opening: Vec<Step<P>> },
    /// The server was not reached. The client is reset, unless it already has an answer in its own
    /// protocol: then it gets FIN.
    ConnectFailed { reason: CloseReason, is_answered: bool },
    /// Answers [`Action::Read`]: bytes, never none.
    Read { from: Side, payload: P },
    /// Answers [`Action::Read`]: the peer sent FIN.
    Ended { from: Side },
    /// Answers [`Action::Read`] or [`Action::Watch`]: nothing more comes from this side.
    Failed { side: Side, fault: Fault },
    /// Answers [`Action::Write`] or [`Action::ShutDown`]: nothing more can be said to this side,
    /// but it may have said something that was not read yet.
    WriteFailed { side: Side, fault: Fault },
    /// The kernel took this many bytes of [`Action::Write`]. The driver goes on with the rest.
    Wrote { to: Side, len: usize },
    /// Every sink has taken, or left out, the last data that was emitted of this direction and leg.
    Recorded { direction: Direction, leg: Leg },
    /// Answers [`Action::Transform`].
    Transformed { direction: Direction, steps: Vec<Step<P>> },
    /// The transform failed, or could not be made.
    Broken { direction: Direction, message: Arc<str> },
    /// Answers [`Action::Measure`]: bytes that were written and not acknowledged yet.
    Unacknowledged { side: Side, bytes: usize },
    /// The tunnel is to end now.
    ShutdownAsked,
    /// The deadline has passed.
    TimePassed,
}

/// What to do. Nothing is asked of a side after its [`Reset`](Self::Reset).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action<P> {
    /// Reach the server.
    Connect,
    /// Stop trying to reach the server.
    GiveUpConnect,
    /// Read once, and tell what came.
    Read { from: Side },
    /// Write all of it, and tell each time the kernel has taken some.
    Write { to: Side, payload: P },
    /// Send FIN after all that was written.
    ShutDown { side: Side },
    /// Send RST at once; unsent and unread bytes are gone.
    Reset { side: Side },
    /// Tell when the socket fails, which no read does now.
    Watch { side: Side },
    /// Tell how many written bytes the peer has not acknowledged.
    Measure { side: Side },
    /// Give the payload to the direction's transform; `None` at the end of its stream.
    Transform { direction: Direction, payload: Option<P> },
    /// Record an event. Data is answered by [`Input::Recorded`].
    Emit(Emit<P>),
}

/// An event of the connection, without its number and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Emit<P> {
    Connected,
    Data {
        direction: Direction,
        leg: Leg,
        offset: u64,
        payload: P,
    },
    Shutdown {
        direction: Direction,
        totals: Totals,
    },
    /// An event of its TLS, where that ends in the tunnel.
    Event(EventKind),
    Close {
        reason: CloseReason,
        totals: BothTotals,
    },
}

/// One thing that a transform wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "tls"),
    allow(dead_code, reason = "only TLS that ends in the tunnel holds, releases and records")
)]
pub(crate) enum Step<P> {
    /// Send this on to the receiver.
    Forward(P),
    /// Send this back to the sender.
    Reply(P),
    /// Send the first back to the sender and the second on to the receiver, both at once: in the
    /// order of steps of either direction.
    Exchange(P, P),
    /// Go on after this long.
    Delay(Duration),
    /// Go on once the other direction's transform says so.
    Hold,
    /// Let the other direction go on, if it holds.
    Release,
    /// Record this.
    Record(EventKind),
    /// End the direction: the receiver gets FIN. What still comes is recorded and left out.
    Finish,
    /// Reset both sides.
    Reset,
}

/// Actions in the order in which they are to be performed.
pub(crate) type Actions<P> = std::collections::VecDeque<Action<P>>;

/// How long a write may make no progress before its sender is watched, and how long a peer may
/// take in nothing before a reset by the other is no longer kept from it.
pub(crate) const STALL: Duration = Duration::from_secs(1);
