//! Whether sinks see the plaintext of TLS.

#[cfg(feature = "tls")]
use std::path::PathBuf;

#[cfg(feature = "tls")]
use super::ending_tls::TlsEnding;
#[cfg(feature = "tls")]
use crate::event::{Direction, Leg, Side, Views};
#[cfg(feature = "tls")]
use crate::sink::{Decrypting, OneLeg};
use crate::sink::{Sink, SinkOptions};

/// By what the plaintext of TLS is shown, if it is.
#[derive(Default)]
pub(super) struct Decryption {
    #[cfg(feature = "tls")]
    pub(super) key_log: Option<PathBuf>,
    /// How TLS ends in the tunnel, if it does.
    #[cfg(feature = "tls")]
    pub(super) ending: Option<TlsEnding>,
}

impl Decryption {
    /// A sink as it is fed: one that wants plaintext gets it, where it can be had.
    pub(super) fn of(
        &self,
        (options, sink): (SinkOptions, Box<dyn Sink>),
    ) -> (SinkOptions, Box<dyn Sink>) {
        #[cfg(feature = "tls")]
        if let Some(ending) = &self.ending {
            return (options, of_ending(ending, sink));
        }
        #[cfg(feature = "tls")]
        if let Some(key_log) = &self.key_log
            && sink.interest().views != Views::Wire
        {
            return (options, Box::new(Decrypting::new(sink, key_log)));
        }
        (options, sink)
    }
}

/// A sink as it is fed where TLS ends in the tunnel, and the two legs differ.
#[cfg(feature = "tls")]
fn of_ending(ending: &TlsEnding, sink: Box<dyn Sink>) -> Box<dyn Sink> {
    let interest = sink.interest();
    let (side, state) = (ending.ender.shown_side(), ending.ender.state());
    let is_one = interest.joins_legs || interest.received != interest.sent;
    match interest.views {
        // Of the wire, the server's leg: its port says what is spoken there.
        Views::Wire if is_one => Box::new(OneLeg::new(sink, Side::Server)),
        Views::Wire => sink,
        _ if is_one => {
            let leg = if interest.received { Leg::Received } else { Leg::Sent };
            let decrypting = Decrypting::by_events(sink, [leg; 2], state);
            Box::new(OneLeg::new(decrypting, side))
        }
        _ => {
            let directions = [Direction::ClientToServer, Direction::ServerToClient];
            let legs = directions.map(|direction| Leg::at(side, direction));
            Box::new(Decrypting::by_events(sink, legs, state))
        }
    }
}
