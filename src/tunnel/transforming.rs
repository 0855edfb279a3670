//! Runs a connection's transforms so that neither an error nor a panic of them gets further.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::event::{ConnectionId, Direction, Open};
use crate::net::Chunk;
use crate::relay::{self, Input};
use crate::sink::words_of;
use crate::transform::{Codec, Output, Pair, Step, TransformError};

/// The transforms of one connection.
pub(super) struct Transforms<'a> {
    codec: Option<&'a dyn Codec>,
    id: ConnectionId,
    open: Arc<Open>,
    pair: Pair,
}

impl<'a> Transforms<'a> {
    pub(super) fn new(codec: Option<&'a dyn Codec>, id: ConnectionId, open: Arc<Open>) -> Self {
        Self { codec, id, open, pair: Pair::default() }
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

    pub(super) const fn has(&self, direction: Direction) -> bool {
        match direction {
            Direction::ClientToServer => self.pair.encoder.is_some(),
            Direction::ServerToClient => self.pair.decoder.is_some(),
        }
    }

    /// Is done with them.
    pub(super) fn clear(&mut self) {
        self.pair = Pair::default();
    }

    /// Gives bytes, or the end of the stream, to the transform of a direction.
    pub(super) fn run(&mut self, direction: Direction, payload: Option<&Chunk>) -> Input<Chunk> {
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
