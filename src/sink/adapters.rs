//! Sinks made of sinks and of closures.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use super::{Interest, Kept, Sink};
use crate::event::{ConnectionId, Event, EventKind, Open, Timestamp};

/// A closure is a sink that is given each event.
impl<F> Sink for F
where
    F: FnMut(&Event) -> io::Result<()> + Send,
{
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self(event)
    }
}

/// Forwards to the sink `$inner` what an adapter does not change.
macro_rules! forward {
    ($self:ident => $inner:expr) => {
        fn ready(&mut $self, limit: Duration) -> io::Result<bool> {
            $inner.ready(limit)
        }

        fn flush(&mut $self) -> io::Result<()> {
            $inner.flush()
        }

        fn tick(&mut $self, now: Timestamp) -> io::Result<()> {
            $inner.tick(now)
        }

        fn finish(&mut $self) -> io::Result<()> {
            $inner.finish()
        }

        fn wants_ticks(&$self) -> bool {
            $inner.wants_ticks()
        }
    };
}

impl Sink for Box<dyn Sink> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        (**self).record(event)
    }

    fn interest(&self) -> Interest {
        (**self).interest()
    }

    fn salvage(&mut self) -> Option<Kept> {
        (**self).salvage()
    }

    forward!(self => (**self));
}

/// A sink that sees some events; made by [`Sink::only`].
pub struct Only<S, P> {
    sink: S,
    predicate: P,
    hidden: Kept,
}

impl<S, P> Only<S, P> {
    pub(super) fn new(sink: S, predicate: P) -> Self {
        Self { sink, predicate, hidden: Kept::default() }
    }
}

impl<S: Sink, P: FnMut(&Event) -> bool + Send> Sink for Only<S, P> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        if (self.predicate)(event) {
            return self.sink.record(event);
        }
        self.hidden.add(event, self.sink.interest());
        Ok(())
    }

    fn interest(&self) -> Interest {
        self.sink.interest()
    }

    /// What the sink was not to see, it does not miss.
    fn salvage(&mut self) -> Option<Kept> {
        self.sink.salvage().map(|kept| kept.plus(self.hidden))
    }

    forward!(self => self.sink);
}

/// A sink that sees some connections; made by [`Sink::only_connections`].
pub struct OnlyConnections<S, P> {
    sink: S,
    predicate: P,
    chosen: HashSet<ConnectionId>,
    hidden: Kept,
}

impl<S, P> OnlyConnections<S, P> {
    pub(super) fn new(sink: S, predicate: P) -> Self {
        Self { sink, predicate, chosen: HashSet::new(), hidden: Kept::default() }
    }
}

impl<S: Sink, P: FnMut(ConnectionId, &Open) -> bool + Send> Sink for OnlyConnections<S, P> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let id = event.connection;
        let chosen = match &event.kind {
            EventKind::Open(open) if (self.predicate)(id, open) => self.chosen.insert(id),
            EventKind::Close { .. } => self.chosen.remove(&id),
            _ => self.chosen.contains(&id),
        };
        if chosen {
            return self.sink.record(event);
        }
        self.hidden.add(event, self.sink.interest());
        Ok(())
    }

    fn interest(&self) -> Interest {
        self.sink.interest()
    }

    /// What the sink was not to see, it does not miss.
    fn salvage(&mut self) -> Option<Kept> {
        self.sink.salvage().map(|kept| kept.plus(self.hidden))
    }

    forward!(self => self.sink);
}

/// A sink with another [`Interest`]; made by [`Sink::interested_in`].
pub struct InterestedIn<S> {
    sink: S,
    interest: Interest,
}

impl<S> InterestedIn<S> {
    pub(super) const fn new(sink: S, interest: Interest) -> Self {
        Self { sink, interest }
    }
}

impl<S: Sink> Sink for InterestedIn<S> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        // The recorder leaves the others out, but a replay may not.
        if self.interest.takes(&event.kind) { self.sink.record(event) } else { Ok(()) }
    }

    fn interest(&self) -> Interest {
        self.interest
    }

    fn salvage(&mut self) -> Option<Kept> {
        self.sink.salvage()
    }

    forward!(self => self.sink);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use bytes::Bytes;

    use super::*;
    use crate::event::{BothTotals, CloseReason, Direction, Endpoint, Leg, View};

    fn open(target: &str) -> EventKind {
        EventKind::Open(Arc::new(Open::new(Endpoint::Unix(None), Endpoint::Unix(None), target)))
    }

    fn data(leg: Leg) -> EventKind {
        let bytes = Bytes::from_static(b"x");
        EventKind::Data {
            direction: Direction::ClientToServer,
            leg,
            view: View::Wire,
            offset: 0,
            bytes,
        }
    }

    fn close() -> EventKind {
        EventKind::Close { reason: CloseReason::Stopped, totals: BothTotals::default() }
    }

    fn event(connection: u64, kind: EventKind) -> Event {
        Event { connection: ConnectionId(connection), time: Timestamp(0), kind }
    }

    /// Which events `adapted` lets through to a closure, by connection.
    fn passed<S: Sink>(
        events: &[Event],
        adapt: impl FnOnce(Box<dyn Sink>) -> S,
    ) -> Vec<(u64, EventKind)> {
        let (sender, passed) = mpsc::channel();
        let keep = move |event: &Event| {
            sender.send((event.connection.0, event.kind.clone())).map_err(io::Error::other)
        };
        let mut sink = adapt(Box::new(keep));
        events.iter().for_each(|event| sink.record(event).unwrap());
        sink.finish().unwrap();
        passed.try_iter().collect()
    }

    #[test]
    fn only_asks_for_each_event() {
        let events = [event(1, open("a")), event(2, open("b")), event(1, close())];
        let passed = passed(&events, |sink| sink.only(|event: &Event| event.connection.0 == 1));
        assert_eq!(passed, [(1, open("a")), (1, close())]);
    }

    #[test]
    fn only_connections_asks_at_open() {
        let events = [
            event(1, open("a")),
            event(2, open("b")),
            event(1, data(Leg::Received)),
            event(2, data(Leg::Received)),
            event(1, close()),
            event(2, close()),
        ];
        let passed = passed(&events, |sink| sink.only_connections(|_, open| &*open.target == "b"));
        assert_eq!(passed, [(2, open("b")), (2, data(Leg::Received)), (2, close())]);
    }

    #[test]
    fn interest_holds_without_recorder() {
        let events =
            [event(1, open("a")), event(1, data(Leg::Received)), event(1, data(Leg::Sent))];
        let passed = passed(&events, |sink| {
            let sink = sink.interested_in(Interest::SENT);
            assert_eq!(sink.interest(), Interest::SENT);
            sink
        });
        assert_eq!(passed, [(1, open("a")), (1, data(Leg::Sent))]);
    }

    #[test]
    fn adapters_pass_on_everything_else() {
        struct Calls(mpsc::Sender<&'static str>);
        impl Sink for Calls {
            fn record(&mut self, _: &Event) -> io::Result<()> {
                self.0.send("record").map_err(io::Error::other)
            }
            fn ready(&mut self, _: Duration) -> io::Result<bool> {
                self.0.send("ready").map_err(io::Error::other).map(|()| false)
            }
            fn flush(&mut self) -> io::Result<()> {
                self.0.send("flush").map_err(io::Error::other)
            }
            fn tick(&mut self, _: Timestamp) -> io::Result<()> {
                self.0.send("tick").map_err(io::Error::other)
            }
            fn finish(&mut self) -> io::Result<()> {
                self.0.send("finish").map_err(io::Error::other)
            }
            fn interest(&self) -> Interest {
                Interest::LIFECYCLE
            }
            fn wants_ticks(&self) -> bool {
                true
            }
        }
        let (sender, calls) = mpsc::channel();
        let boxed: Box<dyn Sink> = Box::new(Calls(sender));
        let mut sink = boxed.only(|_: &Event| true).only_connections(|_, _| true);
        assert_eq!(sink.interest(), Interest::LIFECYCLE);
        assert!(sink.wants_ticks());
        assert!(!sink.ready(Duration::ZERO).unwrap());
        sink.record(&event(1, open("a"))).unwrap();
        sink.tick(Timestamp(1)).unwrap();
        sink.flush().unwrap();
        sink.finish().unwrap();
        let all = ["ready", "record", "tick", "flush", "finish"];
        assert_eq!(calls.try_iter().collect::<Vec<_>>(), all);
    }
}
