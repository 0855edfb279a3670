//! One connection: its events become one stream, or two.

use std::net::SocketAddr;
use std::sync::Arc;

use super::ends::{end_of_attempt, end_of_stream, is_silent};
use super::learned::Learned;
use super::shows::Shows;
use super::stream::{At, Stream};
use super::{Interface, Legs, PacketWriter, place};
use crate::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Endpoint, EventKind, Leg, Open,
    Timestamp, Totals, View,
};

/// What a conversation is drawn with.
pub(super) struct Drawing<'a> {
    pub(super) legs: Legs,
    /// What a connection that opens shows.
    pub(super) shows: Shows,
    pub(super) segment_size: u16,
    pub(super) isn: &'a mut dyn FnMut() -> u32,
    /// Whether a live stream has these ends already, whichever of them is the client.
    pub(super) taken: &'a dyn Fn([SocketAddr; 2]) -> bool,
}

/// A connection as far as it has come.
#[derive(Clone)]
pub(super) struct Conversation {
    id: ConnectionId,
    opened: Timestamp,
    open: Arc<Open>,
    connected: Option<Arc<Connected>>,
    shows: Shows,
    learned: Option<Box<Learned>>,
    /// One in the direct legs, client leg and server leg in the other; the latter begins later.
    pub(super) streams: Vec<(Interface, Stream)>,
}

impl Conversation {
    /// A connection was accepted.
    pub(super) fn open<W: PacketWriter>(
        id: ConnectionId,
        open: &Arc<Open>,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<Self, W::Error> {
        let (opened, open, shows) = (at.time, Arc::clone(open), drawing.shows);
        let (connected, learned, streams) = (None, None, Vec::new());
        let mut conversation = Self { id, opened, open, connected, shows, learned, streams };
        match drawing.legs {
            // Where the address is not certain the SYN waits for the one that answers.
            Legs::Direct if conversation.open.server.is_some() => {
                conversation.begin(Interface::Direct, None, drawing, at)?;
            }
            Legs::Direct => {}
            Legs::Both => {
                // The kernel has shaken hands with the client before it was accepted.
                conversation.begin(Interface::ClientLeg, None, drawing, at)?;
                conversation.accept(at)?;
            }
        }
        Ok(conversation)
    }

    /// A conversation for the plaintext of a connection whose wire this one shows.
    pub(super) fn plaintext<W: PacketWriter>(
        &self,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<Self, W::Error> {
        let (open, connected) = (Arc::clone(&self.open), self.connected.clone());
        let (id, opened, shows) = (self.id, at.time, Shows::Plain);
        let (learned, streams) = (self.learned.clone(), Vec::new());
        let mut plain = Self { id, opened, open, connected, shows, learned, streams };
        plain.begin(Interface::Direct, None, drawing, at)?;
        plain.accept(at)?;
        Ok(plain)
    }

    /// Anything after the opening, but for the close.
    pub(super) fn event<W: PacketWriter>(
        &mut self,
        kind: &EventKind,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        at.note = self.learned.as_mut().and_then(|learned| learned.note.take());
        let drawn = self.draw(kind, drawing, at);
        if let Some(learned) = self.learned.as_mut().filter(|_| at.note.is_some()) {
            learned.note = at.note.take();
        }
        drawn
    }

    fn draw<W: PacketWriter>(
        &mut self,
        kind: &EventKind,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        self.shows.note(kind);
        match kind {
            EventKind::Connected(connected) if self.connected.is_none() => {
                self.connected = Some(Arc::clone(connected));
                self.begin_upstream(None, drawing, at)?;
                self.accept(at)
            }
            EventKind::Data { direction, leg, view, offset, bytes } if self.shows.wants(*view) => {
                self.data(*direction, *leg, *offset, bytes, at)
            }
            EventKind::Shutdown { direction, view: View::Wire, totals } => {
                self.shutdown(*direction, *totals, at)
            }
            EventKind::Process(process) => {
                let learned = self.learned.get_or_insert_default();
                learned.process = Some(process.clone());
                // Of a connection that is not drawn yet, the first packet says it anyway.
                learned.note = (!self.streams.is_empty()).then(|| process.to_string());
                Ok(())
            }
            EventKind::Info(info) => {
                self.learned.get_or_insert_default().info(info);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The connection ended.
    pub(super) fn close<W: PacketWriter>(
        &mut self,
        reason: &CloseReason,
        totals: BothTotals,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        at.note = self.learned.as_mut().and_then(|learned| learned.note.take());
        let comment = format!("connection {}: {reason}", self.id);
        if self.connected.is_none() {
            self.begin_upstream(Some(reason), drawing, at)?;
        }
        let reached = self.connected.is_some();
        for (interface, stream) in &mut self.streams {
            let said = match self.shows {
                Shows::Plain => stream.said(),
                _ => [Direction::ClientToServer, Direction::ServerToClient].map(|direction| {
                    leg_total(shown_leg(*interface, direction), totals.get(direction))
                }),
            };
            let mut comment = comment.clone();
            if let Some(info) = self.learned.as_ref().and_then(|learned| learned.of(*interface)) {
                comment.push_str(&format!("; {info}"));
            }
            if reached || *interface == Interface::ClientLeg {
                end_of_stream(*interface, stream, reason, said, &comment, at)?;
            } else {
                end_of_attempt(*interface, stream, reason, &comment, at)?;
            }
        }
        Ok(())
    }

    /// Draws the connection anew as it stands, for a reader who has seen nothing of it.
    pub(super) fn resume<W: PacketWriter>(&self, at: &mut At<'_, W>) -> Result<(), W::Error> {
        let comment = format!("{} (already open when this capture began)", self.comment());
        for (_, stream) in &self.streams {
            self.name(stream, at)?;
            stream.resume(at, &comment)?;
        }
        Ok(())
    }

    /// Acknowledges whatever is not, so that the streams can be resumed.
    pub(super) fn flush_acks<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        self.streams.iter_mut().try_for_each(|(_, stream)| stream.flush_acks(at))
    }

    /// Goes on with other sequence numbers; see [`Stream::renumber`].
    pub(super) fn renumber(&mut self, isn: &mut dyn FnMut() -> u32) {
        self.streams.iter_mut().for_each(|(_, stream)| stream.renumber([isn(), isn()]));
    }

    /// Draws the SYN toward the server, if it has not been: late, when the server's address has
    /// become certain, or not even an attempt was made to find out (`failed`).
    fn begin_upstream<W: PacketWriter>(
        &mut self,
        failed: Option<&CloseReason>,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        let interface = match drawing.legs {
            Legs::Direct => Interface::Direct,
            Legs::Both => Interface::ServerLeg,
        };
        let exists = self.streams.iter().any(|(existing, _)| *existing == interface);
        // Without an address there was nothing to be sent on the server's leg.
        let unsent = matches!(failed, Some(CloseReason::ResolveFailed { .. }))
            && interface == Interface::ServerLeg;
        if exists || unsent {
            return Ok(());
        }
        // The attempt began when the client was accepted.
        self.begin(interface, failed, drawing, &mut at.back_at(self.opened))
    }

    /// Draws the SYN of a new stream.
    fn begin<W: PacketWriter>(
        &mut self,
        interface: Interface,
        failed: Option<&CloseReason>,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        let ends = self.ends(interface, drawing);
        let isns = [(drawing.isn)(), (drawing.isn)()];
        let mut stream = Stream::new(interface, ends, drawing.segment_size, isns);
        self.name(&stream, at)?;
        let mut comment = self.comment();
        if let Some(reason) = failed.filter(|reason| is_silent(interface, reason)) {
            comment.push_str(&format!(": {reason}"));
        }
        stream.syn(at, &comment)?;
        self.streams.push((interface, stream));
        Ok(())
    }

    /// The upstream has answered; on the client's leg the kernel has.
    fn accept<W: PacketWriter>(&mut self, at: &mut At<'_, W>) -> Result<(), W::Error> {
        let comment = self.connected.as_ref().map(|connected| {
            format!("connection {}: upstream {} -> {}", self.id, connected.local, connected.server)
        });
        for (_, stream) in &mut self.streams {
            stream.accept(at, comment.as_deref())?;
        }
        Ok(())
    }

    fn data<W: PacketWriter>(
        &mut self,
        direction: Direction,
        leg: Leg,
        offset: u64,
        bytes: &[u8],
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        let sender = direction.sender();
        let at_once = self.shows.acknowledges_at_once();
        for (interface, stream) in &mut self.streams {
            let shown = shown_leg(*interface, direction);
            if leg == shown {
                stream.data(at, sender, offset, bytes)?;
            }
            // In the direct legs what was sent on has been delivered. On the legs each kernel has
            // taken the bytes by the time that the tunnel knows of it.
            if leg == Leg::Sent || *interface != Interface::Direct || at_once {
                stream.acknowledge(at, sender)?;
            }
        }
        Ok(())
    }

    fn shutdown<W: PacketWriter>(
        &mut self,
        direction: Direction,
        totals: Totals,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        for (interface, stream) in &mut self.streams {
            let said = match self.shows {
                Shows::Plain => stream.said()[direction.sender() as usize],
                _ => leg_total(shown_leg(*interface, direction), totals),
            };
            // With the other direction's FIN before it, this is the last of the stream.
            let is_last = stream.has_finished(direction.receiver());
            let info = is_last
                .then(|| self.learned.as_ref().and_then(|learned| learned.of(*interface)))
                .flatten();
            stream.finish(at, direction.sender(), said, info.as_deref())?;
        }
        Ok(())
    }

    /// The ends that a stream is drawn between, client's first: the real ones, unless a live stream
    /// has them.
    ///
    /// Two clients may have one address and port where they come by different listeners, and a
    /// tunnel may lead into another of its own. The direct legs can show the leg that the client
    /// really has; after that only a stand-in tells them apart.
    fn ends(&self, interface: Interface, drawing: &Drawing<'_>) -> [SocketAddr; 2] {
        let client = place::client_place(self.id, &self.open.client, &self.open.listener);
        let (listener, server) = (self.listener(), self.server());
        let real = match interface {
            Interface::Direct => [client, server],
            Interface::ClientLeg => [client, listener],
            Interface::ServerLeg => [self.local(), server],
        };
        let stand_in = |attempt| [place::stand_in(self.id, &self.open.target, attempt), real[1]];
        let fallback = (interface == Interface::Direct).then_some([client, listener]);
        let mut choices = [real]
            .into_iter()
            .chain(fallback)
            .chain((0..16384).map(stand_in))
            .map(place::one_family);
        let free = choices.find(|ends| ends[0] != ends[1] && !(drawing.taken)(*ends));
        free.unwrap_or_else(|| place::one_family(real))
    }

    fn listener(&self) -> SocketAddr {
        place::server_place(Some(&self.open.listener), "")
    }

    fn server(&self) -> SocketAddr {
        let connected = self.connected.as_ref().map(|connected| &connected.server);
        let server = connected.or(self.open.server.as_ref());
        let mut place = place::server_place(server, &self.open.target);
        place.set_port(self.shows.server_port(place.port()));
        place
    }

    /// The tunnel's end toward the server; a stand-in where there is none.
    fn local(&self) -> SocketAddr {
        let local = self.connected.as_ref().and_then(|connected| connected.local.socket_addr());
        local.unwrap_or_else(|| place::stand_in(self.id, &self.open.target, 0))
    }

    /// Tells the names of the stream's ends that have some.
    fn name<W: PacketWriter>(&self, stream: &Stream, at: &mut At<'_, W>) -> Result<(), W::Error> {
        let path = |endpoint: &Endpoint| match endpoint {
            Endpoint::Unix(Some(_)) => Some(endpoint.to_string()),
            _ => None,
        };
        let server = place::host_name(&self.open.target).map(str::to_owned);
        let client = match &self.open.client {
            Endpoint::Unix(_) => Some(format!("client-of-{}", self.open.listener)),
            Endpoint::Tcp(_) => None,
        };
        let client_place = place::client_place(self.id, &self.open.client, &self.open.listener);
        let named = [
            (client_place, client),
            (self.listener(), path(&self.open.listener)),
            (self.server(), server),
        ];
        for end in stream.ends() {
            let is_end = |place: &SocketAddr| place.ip().to_canonical() == end.ip().to_canonical();
            for (_, name) in named.iter().filter(|(place, _)| is_end(place)) {
                if let Some(name) = name {
                    at.writer.name(end.ip(), name)?;
                }
            }
        }
        Ok(())
    }

    fn comment(&self) -> String {
        let Open { client, listener, target, process, .. } = &*self.open;
        let learned = self.learned.as_ref().and_then(|learned| learned.process.as_ref());
        let process = process.as_ref().or(learned);
        let process = process.map_or_else(String::new, |process| format!("; {process}"));
        let upstream = self.connected.as_ref().map_or_else(String::new, |connected| {
            format!("; upstream {} -> {}", connected.local, connected.server)
        });
        let plain = if self.shows == Shows::Plain { "; plaintext of TLS" } else { "" };
        let id = self.id;
        format!("connection {id}: {client} -> {target} (by {listener}{upstream}){process}{plain}")
    }
}

/// Which leg's bytes a stream shows: on its own leg what a peer said, on the other what it was
/// told. The direct legs shows what each peer said.
const fn shown_leg(interface: Interface, direction: Direction) -> Leg {
    match (interface, direction) {
        (Interface::ClientLeg, Direction::ServerToClient)
        | (Interface::ServerLeg, Direction::ClientToServer) => Leg::Sent,
        _ => Leg::Received,
    }
}

const fn leg_total(leg: Leg, totals: Totals) -> u64 {
    match leg {
        Leg::Received => totals.received,
        Leg::Sent => totals.sent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_connections_fit_in_a_few_megabytes() {
        let both_legs = size_of::<Conversation>() + 2 * size_of::<(Interface, Stream)>();
        assert!(both_legs <= 400, "{both_legs} bytes");
    }
}
