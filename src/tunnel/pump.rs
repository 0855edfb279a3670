//! One direction of a connection.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::relay::Relay;
use crate::event::{CloseReason, Direction, EventKind, Leg, Timestamp, View};
use crate::net::{Input, Reader};
use crate::sink::{Chunk, Missing, words_of};
use crate::transform::{Output, Step, Transform, TransformError};

/// Moves the bytes of one direction until it ends.
pub(super) struct Pump<'a> {
    relay: &'a Relay<'a>,
    direction: Direction,
    transform: Option<Box<dyn Transform>>,
}

/// The direction cannot go on; whoever says so has told the relay why.
struct Failed;

impl<'a> Pump<'a> {
    pub(super) const fn new(
        relay: &'a Relay<'a>,
        direction: Direction,
        transform: Option<Box<dyn Transform>>,
    ) -> Self {
        Self { relay, direction, transform }
    }

    pub(super) async fn run(mut self) {
        let sender = self.direction.sender();
        let socket = self.relay.socket(sender).clone();
        let worker = &self.relay.worker;
        let unseen = self.transform.is_none() && !self.is_recorded();
        let pipes = unseen.then(|| worker.pipes.clone());
        let mut reader = Reader::new(socket, worker.buffers.clone(), pipes);
        if self.relay_all(&mut reader).await.is_ok() {
            self.relay.outlast(sender).await;
        }
    }

    async fn relay_all(&mut self, reader: &mut Reader) -> Result<(), Failed> {
        let mut ended = false;
        loop {
            let input = match reader.read().await {
                Ok(input) => input,
                Err(error) => return self.failed(self.direction.sender(), &error),
            };
            if self.relay.has_failed() {
                return Err(Failed);
            }
            let now = self.relay.now();
            self.relay.touch(now);
            if input.is_empty() {
                break;
            }
            let copy = self.received(now, &input).await;
            if ended {
                continue;
            }
            ended = match self.transform.take() {
                None => self.pass(input, copy).await?,
                Some(mut transform) => {
                    let output =
                        self.guarded(|output| transform.transform(input.bytes(), output))?;
                    drop(input);
                    self.transform = Some(transform);
                    self.deliver(output).await?
                }
            };
        }
        if let Some(mut transform) = self.transform.take().filter(|_| !ended) {
            let output = self.guarded(|output| transform.finish(output))?;
            self.deliver(output).await?;
        }
        self.finish().await
    }

    /// Counts and records what came from the sender; the copy that the sinks share, if any, and
    /// which of them missed it.
    async fn received(&self, now: Timestamp, input: &Input) -> Option<(Bytes, Missing)> {
        let offset = self.count(Leg::Received, input.len());
        if !self.is_recorded() {
            return None;
        }
        let copy = self.relay.worker.chunks.borrow_mut().copy(input.bytes());
        let missing = self.relay.tap.received(now, self.chunk(offset, copy.clone())).await;
        Some((copy, missing))
    }

    /// Whether any sink wants to see what passes.
    fn is_recorded(&self) -> bool {
        let tap = self.relay.tap;
        tap.wants(Leg::Received) || tap.wants(Leg::Sent)
    }

    /// Sends `input` on as it is.
    async fn pass(&self, input: Input, copy: Option<(Bytes, Missing)>) -> Result<bool, Failed> {
        let len = input.len();
        let receiver = self.direction.receiver();
        let socket = self.relay.socket(receiver);
        let _turn = self.relay.writing(receiver).lock().await;
        let pace = &self.relay.worker.pace;
        self.watched(async {
            match input {
                Input::Bytes(buffer) => socket.write_all(buffer, pace).await.map(drop),
                Input::Piped(pipe) => socket.write_piped(pipe).await,
            }
        })
        .await?;
        let offset = self.count(Leg::Sent, len);
        if let Some((bytes, missing)) = copy {
            let chunk = self.chunk(offset, bytes);
            self.relay.tap.sent(self.relay.now(), chunk, Some(missing)).await;
        }
        Ok(false)
    }

    /// Does what a transform wants done; true when it ended the direction.
    async fn deliver(&self, output: Output) -> Result<bool, Failed> {
        let ended = output.is_ended();
        for step in output.into_steps() {
            match step {
                Step::Forward(bytes) => self.send(self.direction, bytes).await?,
                Step::Reply(bytes) => self.send(!self.direction, bytes).await?,
                Step::Delay(delay) => self.pause(delay).await?,
                Step::Finish => self.end().await?,
                Step::Reset => return self.broken("it reset the connection"),
            }
        }
        Ok(ended)
    }

    /// Waits, unless the connection fails meanwhile.
    async fn pause(&self, delay: Duration) -> Result<(), Failed> {
        tokio::select! {
            () = sleep(delay) => Ok(()),
            () = self.relay.failed() => Err(Failed),
        }
    }

    /// Writes a transform's bytes to the receiver of `direction`, and records them.
    async fn send(&self, direction: Direction, bytes: Bytes) -> Result<(), Failed> {
        let receiver = direction.receiver();
        let socket = self.relay.socket(receiver);
        let _turn = self.relay.writing(receiver).lock().await;
        // After its FIN a direction has nothing more to say, not even by a transform's mouth.
        if bytes.is_empty() || self.relay.has_ended(direction) {
            return Ok(());
        }
        let write = Pump { relay: self.relay, direction, transform: None };
        write.watched(socket.write_bytes(bytes.clone())).await?;
        let offset = write.count(Leg::Sent, bytes.len());
        if self.relay.tap.wants(Leg::Sent) {
            self.relay.tap.sent(self.relay.now(), write.chunk(offset, bytes), None).await;
        }
        Ok(())
    }

    /// Awaits a write to the receiver, for as long as there is a point in it.
    async fn watched(&self, write: impl Future<Output = io::Result<()>>) -> Result<(), Failed> {
        tokio::pin!(write);
        let (sender, receiver) = (self.direction.sender(), self.direction.receiver());
        let result = tokio::select! {
            biased;
            result = &mut write => result,
            () = self.relay.deserted(sender) => {
                self.relay.socket(receiver).abort();
                write.await
            }
        };
        match result {
            Ok(()) => {
                self.relay.touch(self.relay.now());
                Ok(())
            }
            Err(error) => self.failed(receiver, &error),
        }
    }

    async fn end(&self) -> Result<(), Failed> {
        match self.relay.end(self.direction).await {
            Ok(()) => Ok(()),
            Err(error) => self.failed(self.direction.receiver(), &error),
        }
    }

    /// The sender is done: tells the receiver, and records it.
    async fn finish(&self) -> Result<(), Failed> {
        self.end().await?;
        let totals = self.relay.passed.totals().get(self.direction);
        let shutdown = EventKind::Shutdown { direction: self.direction, view: View::Wire, totals };
        self.relay.tap.lifecycle(self.relay.now(), shutdown);
        self.relay.finish(self.direction.sender());
        Ok(())
    }

    /// Runs a transform so that neither an error nor a panic of it gets further.
    fn guarded(
        &self,
        run: impl FnOnce(&mut Output) -> Result<(), TransformError>,
    ) -> Result<Output, Failed> {
        let mut output = Output::default();
        // An error finds its words only when asked, and may panic over them as well.
        let guarded = || run(&mut output).map_err(|error| error.to_string());
        match catch_unwind(AssertUnwindSafe(guarded)) {
            Ok(Ok(())) => Ok(output),
            Ok(Err(words)) => self.broken(&words),
            Err(panic) => self.broken(&format!("it panicked: {}", words_of(&*panic))),
        }
    }

    fn broken<T>(&self, message: &str) -> Result<T, Failed> {
        let direction = self.direction;
        self.relay.fail(CloseReason::Transform { direction, message: message.into() });
        Err(Failed)
    }

    fn failed(&self, side: crate::event::Side, error: &io::Error) -> Result<(), Failed> {
        self.relay.fail_by(side, error);
        Err(Failed)
    }

    /// Counts bytes of this direction; how many there were before.
    fn count(&self, leg: Leg, len: usize) -> u64 {
        let Relay { worker, passed, .. } = self.relay;
        worker.counters().passed(passed, self.direction, leg, len)
    }

    const fn chunk(&self, offset: u64, bytes: Bytes) -> Chunk {
        Chunk { direction: self.direction, offset, bytes }
    }
}
