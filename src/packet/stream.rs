//! One TCP stream: sequence numbers, segments, acknowledgements.

use std::net::SocketAddr;

use super::frame::{self, Path, Segment};
use super::{Interface, Packet, PacketWriter};
use crate::event::{Side, Timestamp};

/// After this many segments, or bytes, without an answer an acknowledgement is drawn in any case:
/// Wireshark takes long silence for loss.
const SEGMENTS_UNANSWERED: u32 = 16;
const BYTES_UNANSWERED: u32 = 1 << 20;

/// What one side has said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// The sequence number of what it says next.
    next: u32,
    /// Up to where the other side has acknowledged it.
    acknowledged: u32,
    segments_unanswered: u32,
    /// How many bytes of data it has said, dropped ones included.
    said: u64,
    /// Bytes dropped just before what it says next.
    dropped: u64,
    finished: bool,
    ip_id: u16,
}

impl Half {
    const fn starting_at(isn: u32) -> Self {
        Self {
            next: isn,
            acknowledged: isn,
            segments_unanswered: 0,
            said: 0,
            dropped: 0,
            finished: false,
            ip_id: 0,
        }
    }

    const fn unanswered(&self) -> u32 {
        self.next.wrapping_sub(self.acknowledged)
    }
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Fresh,
    SynSent,
    Established,
    /// Nothing may follow.
    Over,
}

/// A TCP stream between two addresses of one family, as a tap beside it would see it.
///
/// The caller passes times that never decrease.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    interface: Interface,
    client: SocketAddr,
    server: SocketAddr,
    mss: u16,
    halves: [Half; 2],
    state: State,
}

/// A moment and who draws it.
pub(super) struct At<'a, W> {
    pub(super) time: Timestamp,
    pub(super) writer: &'a mut W,
}

impl Stream {
    /// A stream that has not begun. `isns` are the initial sequence numbers of client and server;
    /// no segment will carry more than `mss` bytes.
    pub(super) const fn new(
        interface: Interface,
        client: SocketAddr,
        server: SocketAddr,
        mss: u16,
        isns: [u32; 2],
    ) -> Self {
        let halves = [Half::starting_at(isns[0]), Half::starting_at(isns[1])];
        Self { interface, client, server, mss, halves, state: State::Fresh }
    }

    pub(super) const fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) const fn client(&self) -> SocketAddr {
        self.client
    }

    /// The client asks for the connection.
    pub(super) fn syn<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        comment: &str,
    ) -> Result<(), W::Error> {
        if self.state != State::Fresh {
            return Ok(());
        }
        self.state = State::SynSent;
        let syn = Segment { syn: true, mss: self.mss, ..self.plain(Side::Client) };
        self.draw(at, Side::Client, Segment { ack: None, ..syn }, &[], Some(comment))?;
        self.half_mut(Side::Client).next = syn.seq.wrapping_add(1);
        Ok(())
    }

    /// The server accepts it, and the client sees that.
    pub(super) fn accept<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        comment: Option<&str>,
    ) -> Result<(), W::Error> {
        if self.state != State::SynSent {
            return Ok(());
        }
        self.state = State::Established;
        let syn_ack = Segment { syn: true, mss: self.mss, ..self.plain(Side::Server) };
        self.draw(at, Side::Server, syn_ack, &[], comment)?;
        self.half_mut(Side::Server).next = syn_ack.seq.wrapping_add(1);
        self.acknowledge(at, Side::Server)
    }

    /// The server answers the SYN with a reset.
    pub(super) fn refuse<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        comment: &str,
    ) -> Result<(), W::Error> {
        if self.state != State::SynSent {
            return Ok(());
        }
        self.state = State::Over;
        let ack = Some(self.half(Side::Client).next);
        let reset = Segment { seq: 0, ack, rst: true, ..Segment::default() };
        self.draw(at, Side::Server, reset, &[], Some(comment))
    }

    /// A router, drawn at the server's address, says that the SYN cannot be delivered.
    pub(super) fn unreachable<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        network: bool,
        comment: &str,
    ) -> Result<(), W::Error> {
        if self.state != State::SynSent {
            return Ok(());
        }
        self.state = State::Over;
        let seq = self.half(Side::Client).next.wrapping_sub(1);
        let syn = Segment { seq, syn: true, mss: self.mss, ..Segment::default() };
        let id = self.half(Side::Client).ip_id.wrapping_sub(1);
        let headers = frame::unreachable(self.path(Side::Client), id, &syn, network);
        at.writer.packet(&Packet {
            interface: self.interface,
            time: at.time,
            to_server: false,
            headers: headers.as_slice(),
            payload: &[],
            dropped: 0,
            comment: Some(comment),
        })
    }

    /// `side` says `bytes`, with `offset` of its bytes before them. A later offset than expected
    /// leaves a gap; what overlaps is not said twice.
    pub(super) fn data<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        side: Side,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), W::Error> {
        if self.state != State::Established || self.half(side).finished {
            return Ok(());
        }
        self.skip_to(side, offset);
        let known = self.half(side).said.saturating_sub(offset);
        let bytes = usize::try_from(known).ok().and_then(|known| bytes.get(known..));
        let mut segments = bytes.unwrap_or_default().chunks(usize::from(self.mss)).peekable();
        while let Some(payload) = segments.next() {
            let half = self.half(side);
            if half.segments_unanswered >= SEGMENTS_UNANSWERED
                || half.unanswered() >= BYTES_UNANSWERED
            {
                self.acknowledge(at, side)?;
            }
            let segment = Segment { psh: segments.peek().is_none(), ..self.plain(side) };
            self.draw(at, side, segment, payload, None)?;
            let half = self.half_mut(side);
            half.next = half.next.wrapping_add(payload.len() as u32);
            half.said += payload.len() as u64;
            half.segments_unanswered += 1;
        }
        Ok(())
    }

    /// Leaves out what `side` said up to `offset` and nobody recorded.
    fn skip_to(&mut self, side: Side, offset: u64) {
        let half = self.half_mut(side);
        let missing = offset.saturating_sub(half.said);
        half.said += missing;
        half.dropped = half.dropped.saturating_add(missing);
        half.next = half.next.wrapping_add(missing as u32);
    }

    /// The peer of `side` acknowledges all that `side` has said, unless it has already.
    pub(super) fn acknowledge<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        side: Side,
    ) -> Result<(), W::Error> {
        if self.state != State::Established || self.half(side).unanswered() == 0 {
            return Ok(());
        }
        self.draw(at, !side, self.plain(!side), &[], None)
    }

    /// `side` is done, after `said` bytes, and its peer acknowledges it.
    pub(super) fn finish<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        side: Side,
        said: u64,
    ) -> Result<(), W::Error> {
        if self.state != State::Established || self.half(side).finished {
            return Ok(());
        }
        self.skip_to(side, said);
        let fin = Segment { fin: true, ..self.plain(side) };
        self.draw(at, side, fin, &[], None)?;
        let half = self.half_mut(side);
        half.next = half.next.wrapping_add(1);
        half.finished = true;
        self.acknowledge(at, side)
    }

    /// `side` resets the stream, the last that is heard of it. `said` are the bytes of both
    /// sides, client's first.
    pub(super) fn reset<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        side: Side,
        said: [u64; 2],
        comment: &str,
    ) -> Result<(), W::Error> {
        if !matches!(self.state, State::SynSent | State::Established) {
            return Ok(());
        }
        for side in [Side::Client, Side::Server] {
            if self.state == State::Established && !self.half(side).finished {
                self.skip_to(side, said[side as usize]);
            }
        }
        let mut reset = Segment { rst: true, ..self.plain(side) };
        if self.state == State::SynSent {
            // The server has not spoken yet, so there is nothing to acknowledge.
            reset.ack = None;
        }
        self.state = State::Over;
        self.draw(at, side, reset, &[], Some(comment))
    }

    /// Draws the stream anew as it stands, for a reader who has seen nothing of it: a handshake
    /// whose sequence numbers are the current ones, and the FINs that were. Nothing may be
    /// unacknowledged.
    pub(super) fn resume<W: PacketWriter>(
        &self,
        at: &mut At<'_, W>,
        comment: &str,
    ) -> Result<(), W::Error> {
        if matches!(self.state, State::Fresh | State::Over) {
            return Ok(());
        }
        let isn = |half: &Half| half.next.wrapping_sub(1).wrapping_sub(u32::from(half.finished));
        let accepted = self.state == State::Established;
        let mut again = self.clone();
        again.state = State::Fresh;
        // Before the server has answered, its number is still its initial one.
        let server = self.half(Side::Server);
        let server_isn = if accepted { isn(server) } else { server.next };
        for (half, isn) in again.halves.iter_mut().zip([isn(self.half(Side::Client)), server_isn]) {
            *half = Half { ip_id: half.ip_id, ..Half::starting_at(isn) };
        }
        again.syn(at, comment)?;
        if accepted {
            again.accept(at, None)?;
            for side in [Side::Client, Side::Server] {
                if self.half(side).finished {
                    again.finish(at, side, 0)?;
                }
            }
        }
        Ok(())
    }

    const fn half(&self, side: Side) -> &Half {
        &self.halves[side as usize]
    }

    const fn half_mut(&mut self, side: Side) -> &mut Half {
        &mut self.halves[side as usize]
    }

    const fn path(&self, from: Side) -> Path {
        match from {
            Side::Client => Path { from: self.client, to: self.server },
            Side::Server => Path { from: self.server, to: self.client },
        }
    }

    /// What every segment of `side` says: all that came from its peer is acknowledged.
    fn plain(&self, side: Side) -> Segment {
        let ack = Some(self.half(!side).next);
        Segment { seq: self.half(side).next, ack, ..Segment::default() }
    }

    fn draw<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        side: Side,
        segment: Segment,
        payload: &[u8],
        comment: Option<&str>,
    ) -> Result<(), W::Error> {
        let path = self.path(side);
        let half = self.half_mut(side);
        let headers = frame::tcp(path, half.ip_id, &segment, payload);
        half.ip_id = half.ip_id.wrapping_add(1);
        let dropped = std::mem::take(&mut half.dropped);
        if let Some(ack) = segment.ack {
            let peer = self.half_mut(!side);
            peer.acknowledged = ack;
            peer.segments_unanswered = 0;
        }
        at.writer.packet(&Packet {
            interface: self.interface,
            time: at.time,
            to_server: side == Side::Client,
            headers: headers.as_slice(),
            payload,
            dropped,
            comment,
        })
    }
}
