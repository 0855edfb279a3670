//! A sink that sees one leg of connections whose TLS ends in the tunnel.

use std::io;

use super::{Interest, Kept, Sink};
use crate::event::{BothTotals, Direction, Event, EventKind, Leg, Side, Timestamp, Totals};

/// A sink that takes both legs for one conversation, although TLS ends between them: it is given
/// what passes at one of the two sockets only.
pub(crate) struct OneLeg<S> {
    sink: S,
    side: Side,
    interest: Interest,
}

impl<S: Sink> OneLeg<S> {
    /// Gives `sink` what passes at the socket of this side.
    pub(crate) fn new(sink: S, side: Side) -> Self {
        let interest = sink.interest();
        Self { sink, side, interest }
    }

    fn data(&mut self, event: &Event) -> io::Result<()> {
        let EventKind::Data { direction, leg: at, view, offset, ref bytes } = event.kind else {
            return Ok(());
        };
        if at != Leg::at(self.side, direction) {
            return Ok(());
        }
        for leg in [Leg::Received, Leg::Sent] {
            if self.interest.wants(leg) {
                let kind = EventKind::Data { direction, leg, view, offset, bytes: bytes.clone() };
                self.sink.record(&Event { kind, ..event.clone() })?;
            }
        }
        Ok(())
    }

    /// The totals at the socket of the side that is shown.
    fn totals(&self, direction: Direction, totals: Totals) -> Totals {
        let bytes = match Leg::at(self.side, direction) {
            Leg::Received => totals.received,
            Leg::Sent => totals.sent,
        };
        Totals { received: bytes, sent: bytes }
    }
}

impl<S: Sink> Sink for OneLeg<S> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let kind = match &event.kind {
            EventKind::Data { .. } => return self.data(event),
            EventKind::Shutdown { direction, view, totals } => EventKind::Shutdown {
                direction: *direction,
                view: *view,
                totals: self.totals(*direction, *totals),
            },
            EventKind::Close { reason, totals } => {
                let shown = |direction| self.totals(direction, totals.get(direction));
                let totals = BothTotals {
                    client_to_server: shown(Direction::ClientToServer),
                    server_to_client: shown(Direction::ServerToClient),
                };
                EventKind::Close { reason: reason.clone(), totals }
            }
            _ => return self.sink.record(event),
        };
        self.sink.record(&Event { kind, ..event.clone() })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.sink.tick(now)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sink.finish()
    }

    fn salvage(&mut self) -> Option<Kept> {
        self.sink.salvage()
    }

    fn interest(&self) -> Interest {
        Interest { received: true, sent: true, ..self.interest }
    }

    fn wants_ticks(&self) -> bool {
        self.sink.wants_ticks()
    }
}
