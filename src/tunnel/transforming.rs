//! Runs what may change a connection's bytes, its transforms or the end of its TLS, so that
//! neither an error nor a panic of it gets further.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[cfg(feature = "tls")]
use bytes::Bytes;

#[cfg(feature = "tls")]
use super::ending_tls;
use crate::event::{ConnectionId, Direction, EventKind, Open, Side};
use crate::net::Chunk;
use crate::relay::{self, Input};
use crate::sink::words_of;
#[cfg(feature = "tls")]
use crate::tls::Session;
use crate::transform::{Codec, Output, Pair, Step, TransformError};

/// The transforms of one connection.
pub(super) struct Transforms<'a> {
    codec: Option<&'a dyn Codec>,
    id: ConnectionId,
    open: Arc<Open>,
    pair: Pair,
    /// The connection's TLS, where that ends in the tunnel.
    #[cfg(feature = "tls")]
    tls: Option<Box<Session>>,
}

impl<'a> Transforms<'a> {
    pub(super) fn new(codec: Option<&'a dyn Codec>, id: ConnectionId, open: Arc<Open>) -> Self {
        Self {
            codec,
            id,
            open,
            pair: Pair::default(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The same for a connection whose TLS ends in the tunnel, which no codec may change.
    #[cfg(feature = "tls")]
    pub(super) fn ending_tls(self, session: Option<Session>) -> Self {
        Self { tls: session.map(Box::new), ..self }
    }

    /// Makes them, now that the server has answered; what went wrong.
    pub(super) fn make(&mut self) -> Result<(), Input<Chunk>> {
        let Some(codec) = self.codec else { return Ok(()) };
        let made = catch_unwind(AssertUnwindSafe(|| codec.pair(self.id, &self.open)));
        self.pair = made.map_err(|panic| {
            let message = format!("the codec panicked: {}", words_of(&*panic));
            broken(Direction::ClientToServer, &message)
        })?;
        Ok(())
    }

    /// What is done before the client says anything.
    pub(super) fn opening(&mut self) -> Vec<relay::Step<Chunk>> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.tls {
            return ending_tls::steps(Direction::ClientToServer, session.start());
        }
        Vec::new()
    }

    /// The events that come before the connection's close.
    pub(super) fn last_words(&mut self, by: Option<Side>) -> Vec<EventKind> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.tls {
            return session.close(by);
        }
        let _ = by;
        Vec::new()
    }

    pub(super) const fn has(&self, direction: Direction) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return true;
        }
        match direction {
            Direction::ClientToServer => self.pair.encoder.is_some(),
            Direction::ServerToClient => self.pair.decoder.is_some(),
        }
    }

    /// Is done with them.
    pub(super) fn clear(&mut self) {
        #[cfg(feature = "tls")]
        {
            self.tls = None;
        }
        self.pair = Pair::default();
    }

    /// Gives bytes, or the end of the stream, to the transform of a direction.
    pub(super) fn run(&mut self, direction: Direction, payload: Option<&Chunk>) -> Input<Chunk> {
        #[cfg(feature = "tls")]
        if let Some(session) = &mut self.tls {
            return run_tls(session, direction, payload.and_then(Chunk::bytes));
        }
        let slot = match direction {
            Direction::ClientToServer => &mut self.pair.encoder,
            Direction::ServerToClient => &mut self.pair.decoder,
        };
        let result = match (payload.and_then(Chunk::bytes), slot) {
            (Some(bytes), Some(transform)) => guarded(|output| transform.transform(bytes, output)),
            // It goes before the receiver is told of the end: should it panic, that is no end.
            (None, slot) => slot.take().map_or_else(
                || Ok(Output::default()),
                |mut transform| guarded(|output| transform.finish(output)),
            ),
            (_, None) => Ok(Output::default()),
        };
        match result {
            Ok(output) => {
                let steps = output.into_steps().map(relay_step).collect();
                Input::Transformed { direction, steps }
            }
            Err(message) => broken(direction, &message),
        }
    }
}

#[cfg(feature = "tls")]
fn run_tls(session: &mut Session, direction: Direction, bytes: Option<&Bytes>) -> Input<Chunk> {
    let from = direction.sender();
    let run = || match bytes {
        Some(bytes) => session.receive(from, bytes),
        None => session.end(from),
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(effects) => {
            Input::Transformed { direction, steps: ending_tls::steps(direction, effects) }
        }
        Err(panic) => broken(direction, &format!("its TLS panicked: {}", words_of(&*panic))),
    }
}

fn guarded(run: impl FnOnce(&mut Output) -> Result<(), TransformError>) -> Result<Output, String> {
    let mut output = Output::default();
    // An error finds its words only when asked, and may panic over them as well.
    let guarded = || run(&mut output).map_err(|error| error.to_string());
    match catch_unwind(AssertUnwindSafe(guarded)) {
        Ok(Ok(())) => Ok(output),
        Ok(Err(message)) => Err(message),
        Err(panic) => Err(format!("it panicked: {}", words_of(&*panic))),
    }
}

fn relay_step(step: Step) -> relay::Step<Chunk> {
    match step {
        Step::Forward(bytes) => relay::Step::Forward(Chunk::Bytes(bytes)),
        Step::Reply(bytes) => relay::Step::Reply(Chunk::Bytes(bytes)),
        Step::Delay(delay) => relay::Step::Delay(delay),
        Step::Finish => relay::Step::Finish,
        Step::Reset => relay::Step::Reset,
    }
}

fn broken(direction: Direction, message: &str) -> Input<Chunk> {
    Input::Broken { direction, message: message.into() }
}
