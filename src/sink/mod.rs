//! Where events go: the [`Sink`] trait and the recorder that feeds sinks.

mod adapters;
mod connection_recorder;
#[cfg(feature = "tls")]
mod decrypting;
pub(crate) mod file;
#[cfg(feature = "tls")]
mod key_log_file;
#[cfg(feature = "tls")]
mod one_leg;
mod options;
mod queue;
mod recorder;
pub mod replay;
#[cfg(test)]
mod tests;
mod thread;

use std::io;
use std::time::Duration;

pub use adapters::{InterestedIn, Only, OnlyConnections};
pub(crate) use connection_recorder::{Chunk, ConnectionRecorder, SkippedSinks};
#[cfg(feature = "tls")]
pub use decrypting::Decrypting;
pub use file::create_file;
#[cfg(feature = "tls")]
pub use key_log_file::KeyLogFile;
#[cfg(feature = "tls")]
pub(crate) use one_leg::OneLeg;
pub use options::{BUFFER_BYTES, OnError, OnSlow, SinkOptions, SinkReport, SinkStats};
pub(crate) use recorder::{Recorder, SINKS_MAX, StartedSinks};
pub(crate) use thread::words_of;

use crate::event::{ConnectionId, Direction, Event, EventKind, Leg, Open, Timestamp, Views};

/// Which events a sink wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interest {
    /// `Data` of [`Leg::Received`]: what each peer said.
    pub received: bool,
    /// `Data` of [`Leg::Sent`]: what each peer was told, and when it took it.
    pub sent: bool,
    /// Which views of TLS, where the tunnel can look into it.
    pub views: Views,
    /// `Secrets` of connections whose TLS ends in the tunnel; a sink that wants plaintext need not
    /// ask for them.
    pub secrets: bool,
    /// Whether both legs are taken for one conversation, whose bytes are the same. Where they are
    /// not, because TLS ends in the tunnel, only one is given, as received and as sent. A sink that
    /// wants one leg is given one in any case.
    pub joins_legs: bool,
    /// `Verdict`: where the time of each connection went.
    pub verdict: bool,
    /// `Info`: what the kernel knows of each leg's socket. It is looked at only while a sink asks.
    pub info: bool,
    /// `Process`: the program of a client on this machine. It is looked for only while a sink asks.
    pub process: bool,
}

impl Interest {
    /// What each peer said and was told.
    pub const ALL: Self = Self::legs(true, true);
    /// What each peer said; enough for most sinks.
    pub const RECEIVED: Self = Self::legs(true, false);
    /// What each peer was told, and when it took it.
    pub const SENT: Self = Self::legs(false, true);
    /// No data: that connections opened, reached their server, half-closed and closed.
    pub const LIFECYCLE: Self = Self::legs(false, false);

    /// Data of these legs, and no more than comes to every sink.
    const fn legs(received: bool, sent: bool) -> Self {
        Self {
            received,
            sent,
            views: Views::Wire,
            secrets: false,
            joins_legs: false,
            verdict: false,
            info: false,
            process: false,
        }
    }

    /// The same with `Verdict`.
    #[must_use]
    pub const fn verdict(self) -> Self {
        Self { verdict: true, ..self }
    }

    /// The same with `Process`.
    #[must_use]
    pub const fn process(self) -> Self {
        Self { process: true, ..self }
    }

    /// The same with `Info`.
    #[must_use]
    pub const fn info(self) -> Self {
        Self { info: true, ..self }
    }

    /// The same with `Secrets`.
    #[must_use]
    pub const fn secrets(self, secrets: bool) -> Self {
        Self { secrets, ..self }
    }

    /// The same for a sink that takes both legs for one conversation.
    #[must_use]
    pub const fn joining_legs(self) -> Self {
        Self { joins_legs: true, ..self }
    }

    /// The same with other views.
    #[must_use]
    pub const fn views(self, views: Views) -> Self {
        Self { views, ..self }
    }

    /// Whether `Data` of this leg is wanted.
    pub const fn wants(self, leg: Leg) -> bool {
        match leg {
            Leg::Received => self.received,
            Leg::Sent => self.sent,
        }
    }

    /// Whether an event of this kind is wanted.
    pub(crate) const fn takes(self, kind: &EventKind) -> bool {
        match kind {
            EventKind::Data { leg, .. } => self.wants(*leg),
            EventKind::Tls(_) => !matches!(self.views, Views::Wire),
            EventKind::Secrets(_) => self.secrets,
            EventKind::Verdict(_) => self.verdict,
            EventKind::Info(_) => self.info,
            EventKind::Process(_) => self.process,
            _ => true,
        }
    }

    /// What either wants.
    const fn or(self, other: Self) -> Self {
        Self {
            received: self.received || other.received,
            sent: self.sent || other.sent,
            verdict: self.verdict || other.verdict,
            info: self.info || other.info,
            process: self.process || other.process,
            ..self
        }
    }
}

/// How many bytes of data a sink's output holds that has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Of what clients sent.
    pub client_to_server: u64,
    /// Of what servers sent.
    pub server_to_client: u64,
}

impl Kept {
    /// The data that an event has for a sink with this interest. One that wants both legs is given
    /// the same bytes twice, and they count once.
    fn data(event: &Event, interest: Interest) -> Option<(Direction, u64)> {
        let EventKind::Data { direction, leg, ref bytes, .. } = event.kind else { return None };
        let counts = leg == Leg::Received || !interest.received;
        (counts && interest.wants(leg)).then_some((direction, bytes.len() as u64))
    }

    fn add(&mut self, event: &Event, interest: Interest) {
        match Self::data(event, interest) {
            Some((Direction::ClientToServer, bytes)) => self.client_to_server += bytes,
            Some((Direction::ServerToClient, bytes)) => self.server_to_client += bytes,
            None => {}
        }
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            client_to_server: self.client_to_server + other.client_to_server,
            server_to_client: self.server_to_client + other.server_to_client,
        }
    }

    /// How many bytes of one direction, to be changed.
    #[cfg(feature = "capture")]
    pub(crate) const fn get_mut(&mut self, direction: Direction) -> &mut u64 {
        match direction {
            Direction::ClientToServer => &mut self.client_to_server,
            Direction::ServerToClient => &mut self.server_to_client,
        }
    }

    const fn get(self, direction: Direction) -> u64 {
        match direction {
            Direction::ClientToServer => self.client_to_server,
            Direction::ServerToClient => self.server_to_client,
        }
    }
}

/// A consumer of events: a console, a capture file, your own format.
///
/// A sink runs on a thread of its own, so it may block; what waits for it is a queue bounded in
/// bytes. Events arrive as the [crate documentation](crate#the-event-contract) promises; those
/// of different connections interleave.
///
/// After the first `Err` of any method none is called but [`salvage`](Self::salvage): the sink is
/// dropped, and the tunnel stops or goes on without it, as its options say. A panic counts as an
/// error. Only [`interest`](Self::interest) and [`wants_ticks`](Self::wants_ticks) are asked before
/// that, by the thread that runs the tunnel: they should look at nothing but the sink, and not
/// panic.
///
/// ```
/// use std::io;
/// use tcp_tunn::event::{Event, EventKind};
/// use tcp_tunn::sink::Sink;
///
/// struct CountBytes(u64);
///
/// impl Sink for CountBytes {
///     fn record(&mut self, event: &Event) -> io::Result<()> {
///         if let EventKind::Data { bytes, .. } = &event.kind {
///             self.0 += bytes.len() as u64;
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// A closure is a sink, too; where its argument is given a type, as here, it needs no other:
///
/// ```
/// use tcp_tunn::event::Event;
/// use tcp_tunn::tunnel::Tunnel;
///
/// let builder = Tunnel::builder("127.0.0.1:0", "example.com:80").sink(|event: &Event| {
///     println!("{} {:?}", event.connection, event.kind);
///     Ok(())
/// });
/// ```
pub trait Sink: Send {
    /// Takes one event.
    ///
    /// `Ok` means that the sink is responsible for it now; it may still be in a buffer. Clone
    /// the event's `Bytes` to keep them: that copies nothing, but holds the memory.
    fn record(&mut self, event: &Event) -> io::Result<()>;

    /// Waits for at most `limit` until the sink can take an event without a delay, and returns
    /// whether it can.
    ///
    /// Asked before each event. While the sink is not ready, events stay in its queue, whose
    /// rules hold when it is full, and [`tick`](Self::tick) is still called. A sink that is not
    /// ready for one second after the last event has been queued fails, so that what it did not
    /// take is counted as dropped. By default a sink is always ready.
    fn ready(&mut self, limit: Duration) -> io::Result<bool> {
        let _ = limit;
        Ok(true)
    }

    /// Makes everything recorded so far visible to whoever reads the output.
    ///
    /// Called when the queue ran empty, and at least every 100 ms while it does not. By default
    /// this does nothing.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Called about every 50 ms, with or without events, on a sink whose
    /// [`wants_ticks`](Self::wants_ticks) says so. By default this does nothing.
    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        let _ = now;
        Ok(())
    }

    /// Called once after the last event, unless the sink has failed. `Ok` means that the output
    /// is complete. By default this flushes.
    fn finish(&mut self) -> io::Result<()> {
        self.flush()
    }

    /// Called once after a failure: keeps what can be kept of what was recorded, and says how much
    /// that is, so that the rest is counted as dropped. `None`, the default, says that all is kept
    /// but the event that failed.
    fn salvage(&mut self) -> Option<Kept> {
        None
    }

    /// Which `Data` events the sink wants, asked once before the first event. What it does not
    /// want is not queued for it. By default this is [`Interest::RECEIVED`].
    fn interest(&self) -> Interest {
        Interest::RECEIVED
    }

    /// Whether [`tick`](Self::tick) is to be called, asked once. By default it is not.
    fn wants_ticks(&self) -> bool {
        false
    }

    /// This sink, seeing only the events for which `predicate` says so. It keeps the
    /// [event contract](crate#the-event-contract) only where the predicate does.
    fn only<P>(self, predicate: P) -> Only<Self, P>
    where
        Self: Sized,
        P: FnMut(&Event) -> bool + Send,
    {
        Only::new(self, predicate)
    }

    /// This sink, seeing only the connections for which `predicate` says so when they open, and
    /// all events of them.
    ///
    /// ```
    /// use tcp_tunn::event::{ConnectionId, Event};
    /// use tcp_tunn::sink::Sink;
    ///
    /// let sink = |event: &Event| Ok(println!("{event:?}"));
    /// let sink: Box<dyn Sink> = Box::new(sink);
    /// let first = sink.only_connections(|id, _| id == ConnectionId(1));
    /// ```
    fn only_connections<P>(self, predicate: P) -> OnlyConnections<Self, P>
    where
        Self: Sized,
        P: FnMut(ConnectionId, &Open) -> bool + Send,
    {
        OnlyConnections::new(self, predicate)
    }

    /// This sink, with another [`interest`](Self::interest).
    fn interested_in(self, interest: Interest) -> InterestedIn<Self>
    where
        Self: Sized,
    {
        InterestedIn::new(self, interest)
    }
}
