//! A console whose reader may leave while other sinks go on.

use std::io;

use tcp_tunn::event::{Event, Timestamp};
use tcp_tunn::sink::{Interest, Sink};

use super::report::tell;

/// Shows nothing more once its reader has left, as `head` does, and fails for no such reason:
/// what else is written, such as a capture, is not to end with it.
pub(super) struct UntilReaderLeaves<S> {
    interest: Interest,
    sink: Option<S>,
}

impl<S: Sink> UntilReaderLeaves<S> {
    pub(super) fn new(sink: S) -> Self {
        Self { interest: sink.interest(), sink: Some(sink) }
    }

    fn unless_left(&mut self, call: impl FnOnce(&mut S) -> io::Result<()>) -> io::Result<()> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        match call(sink) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.sink = None;
                tell("the reader of stdout has left; all else goes on (Ctrl-C ends it)");
                Ok(())
            }
            result => result,
        }
    }
}

impl<S: Sink> Sink for UntilReaderLeaves<S> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.unless_left(|sink| sink.record(event))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_left(Sink::flush)
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.unless_left(|sink| sink.tick(now))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.unless_left(Sink::finish)
    }

    fn interest(&self) -> Interest {
        self.interest
    }

    fn wants_ticks(&self) -> bool {
        self.sink.as_ref().is_some_and(Sink::wants_ticks)
    }
}
