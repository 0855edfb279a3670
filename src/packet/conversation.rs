//! One connection: its events become one stream, or two.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::stream::{At, Stream};
use super::{Interface, PacketWriter, View, place};
use crate::event::{
    BothTotals, CloseReason, Connected, ConnectionId, Direction, Endpoint, EventKind, Leg, Open,
    Side, Totals,
};

/// What a conversation is drawn with.
pub(super) struct Drawing<'a> {
    pub(super) view: View,
    pub(super) segment_size: u16,
    pub(super) isn: &'a mut dyn FnMut() -> u32,
    /// Whether a live stream has these ends already.
    pub(super) taken: &'a dyn Fn(Interface, SocketAddr, SocketAddr) -> bool,
}

/// A connection as far as it has come.
pub(super) struct Conversation {
    id: ConnectionId,
    open: Arc<Open>,
    connected: Option<Arc<Connected>>,
    /// One in the direct view, client leg and server leg in the other; the latter begins later.
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
        let open = Arc::clone(open);
        let mut conversation = Self { id, open, connected: None, streams: Vec::new() };
        match drawing.view {
            // Where the address is not certain the SYN waits for the one that answers.
            View::Direct if conversation.open.server.is_some() => {
                conversation.begin(Interface::Direct, drawing, at)?;
            }
            View::Direct => {}
            View::Both => {
                // The kernel has shaken hands with the client before it was accepted.
                conversation.begin(Interface::ClientLeg, drawing, at)?;
                conversation.accept(at)?;
            }
        }
        Ok(conversation)
    }

    /// Anything after the opening, but for the close.
    pub(super) fn event<W: PacketWriter>(
        &mut self,
        kind: &EventKind,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        match kind {
            EventKind::Connected(connected) if self.connected.is_none() => {
                self.connected = Some(Arc::clone(connected));
                self.begin_upstream(drawing, at)?;
                self.accept(at)
            }
            EventKind::Data { direction, leg, offset, bytes } => {
                self.data(*direction, *leg, *offset, bytes, at)
            }
            EventKind::Shutdown { direction, totals } => self.shutdown(*direction, *totals, at),
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
        // One that was never reached shows the attempt; a name that was never resolved did not
        // come to one on the server's leg.
        let attempted = !matches!(reason, CloseReason::ResolveFailed { .. });
        if self.connected.is_none() && (attempted || drawing.view == View::Direct) {
            self.begin_upstream(drawing, at)?;
        }
        let comment = format!("connection {}: {reason}", self.id);
        let reached = self.connected.is_some();
        for (interface, stream) in &mut self.streams {
            let said = [
                said(*interface, Direction::ClientToServer, totals),
                said(*interface, Direction::ServerToClient, totals),
            ];
            let upstream_pending = !reached && *interface != Interface::ClientLeg;
            match reason {
                CloseReason::Finished { .. } => {
                    stream.acknowledge(at, Side::Client)?;
                    stream.acknowledge(at, Side::Server)?;
                }
                CloseReason::ConnectTimeout if upstream_pending => {}
                CloseReason::Unreachable { errno } if upstream_pending => {
                    stream.unreachable(at, is_about_a_network(*errno), &comment)?;
                }
                CloseReason::Reset { by: Side::Client } if upstream_pending => {
                    stream.reset(at, Side::Client, said, &comment)?;
                }
                _ if upstream_pending => stream.refuse(at, &comment)?,
                _ => stream.reset(at, resetting_side(*interface, reason), said, &comment)?,
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
    pub(super) fn settle<W: PacketWriter>(&mut self, at: &mut At<'_, W>) -> Result<(), W::Error> {
        for (_, stream) in &mut self.streams {
            stream.acknowledge(at, Side::Client)?;
            stream.acknowledge(at, Side::Server)?;
        }
        Ok(())
    }

    fn begin_upstream<W: PacketWriter>(
        &mut self,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        let interface = match drawing.view {
            View::Direct => Interface::Direct,
            View::Both => Interface::ServerLeg,
        };
        if self.streams.iter().any(|(existing, _)| *existing == interface) {
            return Ok(());
        }
        self.begin(interface, drawing, at)
    }

    /// Draws the SYN of a new stream.
    fn begin<W: PacketWriter>(
        &mut self,
        interface: Interface,
        drawing: &mut Drawing<'_>,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        let (client, server) = self.ends(interface, drawing);
        let isns = [(drawing.isn)(), (drawing.isn)()];
        let mss = drawing.segment_size;
        let mut stream = Stream::new(interface, client, server, mss, isns);
        self.name(&stream, at)?;
        stream.syn(at, &self.comment())?;
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
        for (interface, stream) in &mut self.streams {
            let shown = shown_leg(*interface, direction);
            if leg == shown {
                stream.data(at, sender, offset, bytes)?;
            }
            // What was sent on has been delivered.
            if leg == Leg::Sent {
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
            let said = leg_total(shown_leg(*interface, direction), totals);
            stream.finish(at, direction.sender(), said)?;
        }
        Ok(())
    }

    /// The ends that a stream is drawn between.
    fn ends(&self, interface: Interface, drawing: &Drawing<'_>) -> (SocketAddr, SocketAddr) {
        let client = place::client_place(self.id, &self.open.client, &self.open.listener);
        let listener = place::server_place(Some(&self.open.listener), "");
        let server = self.connected.as_ref().map(|connected| &connected.server);
        let server = place::server_place(server.or(self.open.server.as_ref()), &self.open.target);
        let (from, to) = match interface {
            Interface::Direct => (client, server),
            Interface::ClientLeg => (client, listener),
            Interface::ServerLeg => (self.local(server), server),
        };
        let ends = place::one_family(from, to);
        if interface == Interface::Direct && (drawing.taken)(interface, ends.0, ends.1) {
            // Another client with the same address and port came by another listener to the same
            // server: only the leg that it really has tells them apart.
            return place::one_family(client, listener);
        }
        ends
    }

    /// The tunnel's end towards the server; a likely one where none was reached.
    fn local(&self, server: SocketAddr) -> SocketAddr {
        match self.connected.as_ref().map(|connected| &connected.local) {
            Some(Endpoint::Tcp(local)) => *local,
            _ => {
                let unnamed = Endpoint::Unix(None);
                let likely = place::client_place(self.id, &unnamed, &self.open.listener);
                SocketAddr::new(server.ip(), likely.port())
            }
        }
    }

    fn name<W: PacketWriter>(&self, stream: &Stream, at: &mut At<'_, W>) -> Result<(), W::Error> {
        let is_ip = |host: &str| host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let target = &*self.open.target;
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        if target.starts_with("unix:") {
            at.writer.name(stream.server().ip(), target)?;
        } else if !is_ip(host) {
            at.writer.name(stream.server().ip(), host)?;
        }
        if matches!(self.open.client, Endpoint::Unix(_)) {
            let name = format!("client-of-{}", self.open.listener);
            at.writer.name(stream.client().ip(), &name)?;
        }
        Ok(())
    }

    fn comment(&self) -> String {
        let Open { client, listener, target, .. } = &*self.open;
        let upstream = self.connected.as_ref().map_or_else(String::new, |connected| {
            format!("; upstream {} -> {}", connected.local, connected.server)
        });
        format!("connection {}: {client} -> {target} (by {listener}{upstream})", self.id)
    }
}

/// Which leg's bytes a stream shows: on its own leg what a peer said, on the other what it was
/// told. The direct view shows what each peer said.
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

fn said(interface: Interface, direction: Direction, totals: BothTotals) -> u64 {
    leg_total(shown_leg(interface, direction), totals.get(direction))
}

/// Who is seen to reset a stream: the peer that did, on its own leg; else the tunnel, which is
/// the server to the client and the client to the server.
fn resetting_side(interface: Interface, reason: &CloseReason) -> Side {
    let by = match reason {
        CloseReason::Reset { by } => Some(*by),
        _ => None,
    };
    match (interface, by) {
        (Interface::Direct, Some(by)) => by,
        (Interface::ServerLeg, Some(Side::Server)) => Side::Server,
        (Interface::ServerLeg, _) => Side::Client,
        (Interface::ClientLeg, Some(Side::Client)) => Side::Client,
        (Interface::ClientLeg | Interface::Direct, _) => Side::Server,
    }
}

/// Whether an error number speaks of a whole network.
const fn is_about_a_network(errno: i32) -> bool {
    // ENETDOWN and ENETUNREACH of Linux; this layer knows no operating system otherwise.
    matches!(errno, 100 | 101)
}
