//! Ends that the tunnel comes to by itself: those of `--stop-after`, and a reader who leaves.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;
use tcp_tunn::event::{Event, EventKind};
use tcp_tunn::os_error::Sentence;
use tcp_tunn::sink::{Interest, Sink};
use tcp_tunn::tunnel::Handle;

use super::ranges::Range;

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopAfter {
    Duration(Duration),
    Size(u64),
    Packets(u64),
    Connections(u64),
}

impl StopAfter {
    /// Whether it is the capture that is measured.
    pub(super) const fn is_of_capture(self) -> bool {
        matches!(self, Self::Size(_) | Self::Packets(_))
    }
}

/// Reads `KEY:VALUE`.
pub(super) fn stop_after(input: &str) -> Result<StopAfter, String> {
    let number = |key: &str, value: &str| Range::of("stop-after", key).parse(value);
    match input.split_once(':') {
        Some(("duration", value)) => {
            number("duration:", value).map(|nanos| StopAfter::Duration(Duration::from_nanos(nanos)))
        }
        Some(("size", value)) => number("size:", value).map(StopAfter::Size),
        Some(("packets", value)) => number("packets:", value).map(StopAfter::Packets),
        Some(("connections", value)) => number("connections:", value).map(StopAfter::Connections),
        _ => Err("unknown condition (expected duration:, size:, packets: or connections:, such \
                  as 'duration:90s')"
            .to_owned()),
    }
}

/// Stops when whoever reads stdout leaves, although there is nothing to write: a tunnel at the far
/// end of ssh would keep its port for ever.
pub(super) fn stop_with_reader(stop: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // Not joined: a file has no reader who could leave.
    std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
        let stdout = io::stdout();
        // Nothing is asked for: what is told all the same is that the other end is gone.
        let gone = retry_on_intr(|| poll(&mut [PollFd::new(&stdout, PollFlags::empty())], None));
        match gone {
            Ok(_) => stop(),
            Err(error) => {
                tracing::debug!("cannot watch the reader of stdout: {}", Sentence(&error.into()));
            }
        }
    })?;
    Ok(())
}

/// Stops the tunnel when the time is over.
pub(super) fn stop_in(duration: Duration, handle: Handle) -> io::Result<()> {
    // Not joined: it ends with the process, which may well end before it.
    std::thread::Builder::new().name("stop-after".to_owned()).spawn(move || {
        std::thread::sleep(duration);
        handle.stop();
    })?;
    Ok(())
}

/// A sink that stops the tunnel when a number of connections have closed.
pub(super) struct StopAfterConnections {
    pub(super) left: u64,
    pub(super) handle: Handle,
}

impl Sink for StopAfterConnections {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        if matches!(event.kind, EventKind::Close { .. }) {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                self.handle.stop();
            }
        }
        Ok(())
    }

    fn interest(&self) -> Interest {
        Interest::LIFECYCLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_conditions_are_parsed() {
        for (input, expected) in [
            ("duration:1h30m", StopAfter::Duration(Duration::from_secs(5400))),
            ("size:1GiB", StopAfter::Size(1 << 30)),
            ("packets:7", StopAfter::Packets(7)),
            ("connections:1", StopAfter::Connections(1)),
        ] {
            assert_eq!(stop_after(input), Ok(expected));
        }
        for (input, words) in [
            ("90s", "expected duration:"),
            ("files:3", "expected duration:"),
            ("duration:90", "missing unit"),
            ("packets:0", "must be more than 0"),
            ("connections:many", "not a number"),
            ("size:", "not a number"),
        ] {
            assert!(stop_after(input).expect_err(input).contains(words), "{input}");
        }
    }
}
