//! A connect on its way: from its notification to the delivery of its socket.

use std::io;
use std::net::{SocketAddr, TcpStream};

use socket2::SockRef;

use super::redirect::Target;
use super::request::Deliver;

/// A connect on its way.
pub(super) struct Pending {
    /// Names the waiting call.
    pub(super) notification: u64,
    pub(super) target: Target,
    pub(super) stage: Stage,
}

/// How far it has come.
pub(super) enum Stage {
    /// The program waits and the handler has not answered.
    Waiting,
    /// The program's socket was sent to this process.
    Sent {
        /// To this address.
        own: SocketAddr,
        is_rewritten: bool,
        then: Then,
    },
    /// The socket is here, and the handler has not answered.
    Arrived(TcpStream),
}

/// What happens to a socket when it arrives.
pub(super) enum Then {
    /// The handler has not answered: it is kept.
    Keep,
    /// It is delivered.
    Deliver(Deliver),
    /// The server was not reached: it is reset.
    Reset,
}

/// What an arrival or a decision leaves to do.
pub(super) enum Outcome {
    /// Wait for the next.
    Wait(Stage),
    /// It is over.
    Over,
}

impl Stage {
    /// The program's socket has arrived.
    pub(super) fn arrive(self, stream: TcpStream) -> Outcome {
        match self {
            Self::Sent { then: Then::Keep, .. } => return Outcome::Wait(Self::Arrived(stream)),
            Self::Sent { then: Then::Deliver(deliver), .. } => deliver(Ok(stream)),
            Self::Sent { then: Then::Reset, .. } | Self::Waiting | Self::Arrived(_) => {
                reset(stream);
            }
        }
        Outcome::Over
    }

    /// The handler has reached the server, after the program was sent on.
    pub(super) fn deliver(self, deliver: Deliver) -> Outcome {
        match self {
            Self::Sent { own, is_rewritten, .. } => {
                return Outcome::Wait(Self::Sent {
                    own,
                    is_rewritten,
                    then: Then::Deliver(deliver),
                });
            }
            Self::Arrived(stream) => deliver(Ok(stream)),
            Self::Waiting => deliver(Err(gone())),
        }
        Outcome::Over
    }

    /// The handler has failed to reach the server, after the program was sent on.
    pub(super) fn fail(self) -> Outcome {
        match self {
            Self::Sent { own, is_rewritten, .. } => {
                return Outcome::Wait(Self::Sent { own, is_rewritten, then: Then::Reset });
            }
            Self::Arrived(stream) => reset(stream),
            Self::Waiting => {}
        }
        Outcome::Over
    }

    /// The program's socket will not arrive.
    pub(super) fn abandon(self) {
        if let Self::Sent { then: Then::Deliver(deliver), .. } = self {
            deliver(Err(gone()));
        }
    }
}

/// Why a socket is not delivered.
pub(super) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the program gave up its connect")
}

/// Ends a connection by RST, not by FIN.
pub(super) fn reset(stream: TcpStream) {
    // Without it the program would see a clean end, which is false, but an end.
    let _ = SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
    drop(stream);
}
