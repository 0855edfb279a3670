//! How a sink is fed, and what became of it.

use std::io;
use std::ops::RangeInclusive;

/// What becomes of data when a sink's queue is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSlow {
    /// The relay waits: nothing is lost, and the peers feel the sink's speed.
    #[default]
    Block,
    /// The relay goes on and the sink misses the chunk; how much is counted.
    Drop,
}

/// What becomes of the tunnel when a sink fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The tunnel stops gracefully: better no traffic than traffic unrecorded.
    #[default]
    Stop,
    /// The tunnel and the other sinks go on.
    Detach,
}

/// [`SinkOptions::buffer_bytes`]; at least room for the opening of a connection is taken.
pub const BUFFER_BYTES: RangeInclusive<u64> = 1..=u32::MAX as u64;

/// How a sink is fed.
///
/// ```
/// use tcp_tunn::sink::{OnError, SinkOptions};
///
/// let options = SinkOptions::named("audit").buffer_bytes(1 << 20).on_error(OnError::Detach);
/// assert_eq!(options.name, "audit");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkOptions {
    /// What the sink is called in messages, `sink` by default.
    pub name: String,
    /// How many bytes may wait for the sink, 64 MiB by default. Each event counts for its data
    /// and a little for itself; a chunk larger than the whole queue passes alone. Less than room
    /// for the opening of a connection is taken for that, and more than 4 GiB for 4 GiB.
    pub buffer_bytes: usize,
    /// What happens when more would have to wait; by default the relay waits.
    pub on_slow: OnSlow,
    /// What happens when the sink fails; by default the tunnel stops.
    pub on_error: OnError,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            name: "sink".to_owned(),
            buffer_bytes: 64 * 1024 * 1024,
            on_slow: OnSlow::default(),
            on_error: OnError::default(),
        }
    }
}

impl SinkOptions {
    /// The default options under another name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The same with another [`buffer_bytes`](field@Self::buffer_bytes).
    #[must_use]
    pub const fn buffer_bytes(mut self, buffer_bytes: usize) -> Self {
        self.buffer_bytes = buffer_bytes;
        self
    }

    /// The same with another [`on_slow`](field@Self::on_slow).
    #[must_use]
    pub const fn on_slow(mut self, on_slow: OnSlow) -> Self {
        self.on_slow = on_slow;
        self
    }

    /// The same with another [`on_error`](field@Self::on_error).
    #[must_use]
    pub const fn on_error(mut self, on_error: OnError) -> Self {
        self.on_error = on_error;
        self
    }
}

/// What became of a sink.
#[derive(Debug)]
#[non_exhaustive]
pub struct SinkReport {
    /// Its name from [`SinkOptions`].
    pub name: String,
    /// `Data` events that the sink wanted and missed, because it was slow or had failed.
    pub dropped_events: u64,
    /// Bytes that the sink wanted and missed, because it was slow or had failed; those that it
    /// would have seen at both legs count once.
    pub dropped_bytes: u64,
    /// Of these, what clients sent.
    pub dropped_to_server: u64,
    /// Of these, what servers sent.
    pub dropped_to_client: u64,
    /// Why it failed, if it did.
    pub error: Option<io::Error>,
}

/// A sink's queue as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkStats {
    /// Its name from [`SinkOptions`].
    pub name: String,
    /// Bytes that wait for it.
    pub queued_bytes: usize,
    /// The most that may wait.
    pub buffer_bytes: usize,
    /// Bytes that the sink wanted and missed so far.
    pub dropped_bytes: u64,
    /// Whether it has finished, well or not, and takes no more.
    pub has_ended: bool,
}
