//! One TCP stream: sequence numbers, segments, acknowledgements.

use std::net::SocketAddr;

use super::frame::{self, Path, Segment};
use super::{Interface, Packet, PacketWriter};
use crate::event::{Side, Timestamp};

/// After this many segments, or bytes, without an answer an acknowledgement is drawn in any case:
/// Wireshark takes long silence for loss.
const SEGMENTS_UNANSWERED: u32 = 16;
const BYTES_UNANSWERED: u32 = 1 << 20;
/// Before the other side has spoken but for its SYN, whose window is never scaled (RFC 7323
/// section 2.2), no more than this window may be on its way.
const FIRST_BYTES_UNANSWERED: u32 = 65535;

/// What one side has said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    /// The sequence number of what it says next.
    next: u32,
    /// Up to where the other side has acknowledged it.
    acknowledged: u32,
    segments_unanswered: u32,
    /// How many bytes may be on their way.
    window: u32,
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
            window: FIRST_BYTES_UNANSWERED,
            said: 0,
            dropped: 0,
            finished: false,
            ip_id: 0,
        }
    }

    /// Leaves out what was said up to `offset` and nobody recorded.
    ///
    /// It counts as answered: an acknowledgement of what the capture does not have would be
    /// one complaint more, and nobody waits for it.
    const fn skip_to(&mut self, offset: u64) {
        let missing = offset.saturating_sub(self.said);
        self.said = self.said.saturating_add(missing);
        self.dropped = self.dropped.saturating_add(missing);
        self.next = self.next.wrapping_add(missing as u32);
        self.acknowledged = self.acknowledged.wrapping_add(missing as u32);
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
    /// Client's first.
    ends: [SocketAddr; 2],
    mss: u16,
    halves: [Half; 2],
    state: State,
}

/// A moment and who draws it.
pub(super) struct At<'a, W> {
    /// Never before `drawn`.
    pub(super) time: Timestamp,
    /// When the last packet of all was drawn.
    pub(super) drawn: &'a mut Timestamp,
    pub(super) writer: &'a mut W,
    /// What the next packet says, too.
    pub(super) note: Option<String>,
}

impl<'a, W> At<'a, W> {
    /// A moment, when nothing is to be noted.
    pub(super) const fn new(time: Timestamp, drawn: &'a mut Timestamp, writer: &'a mut W) -> Self {
        Self { time, drawn, writer, note: None }
    }

    /// The same hand at an earlier moment, as early as the order of packets allows.
    pub(super) fn back_at(&mut self, time: Timestamp) -> At<'_, W> {
        let time = time.clamp(*self.drawn, self.time);
        At::new(time, self.drawn, self.writer)
    }
}

impl<W: PacketWriter> At<'_, W> {
    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), W::Error> {
        *self.drawn = packet.time;
        let Some(note) = self.note.take() else { return self.writer.packet(packet) };
        let note = match packet.comment {
            Some(comment) => format!("{comment}; {note}"),
            None => note,
        };
        self.writer.packet(&Packet { comment: Some(&note), ..*packet })
    }
}

impl Stream {
    /// A stream that has not begun. `isns` are the initial sequence numbers, client's first; no
    /// segment will carry more than `mss` bytes.
    pub(super) const fn new(
        interface: Interface,
        ends: [SocketAddr; 2],
        mss: u16,
        isns: [u32; 2],
    ) -> Self {
        // An acknowledgement of it would have the number 0, as the SYN has, and Wireshark would
        // take the one for a duplicate of the other.
        let server = if isns[1] == u32::MAX { 0 } else { isns[1] };
        let halves = [Half::starting_at(isns[0]), Half::starting_at(server)];
        Self { interface, ends, mss, halves, state: State::Fresh }
    }

    /// The addresses it is drawn between, client's first.
    pub(super) const fn ends(&self) -> [SocketAddr; 2] {
        self.ends
    }

    /// How many bytes of data each side has said, client's first.
    pub(super) fn said(&self) -> [u64; 2] {
        self.halves.each_ref().map(|half| half.said)
    }

    /// Whether `side` is done.
    pub(super) const fn has_finished(&self, side: Side) -> bool {
        self.half(side).finished
    }

    /// Begins at these offsets of client and server: the bytes before are not drawn.
    #[cfg(feature = "fleet")]
    pub(super) const fn begin_at(&mut self, [client, server]: [u64; 2]) {
        self.halves[0].said = client;
        self.halves[1].said = server;
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
        let ids = [self.half(Side::Client).ip_id.wrapping_sub(1), self.half(Side::Server).ip_id];
        let headers = frame::unreachable(self.path(Side::Client), ids, &syn, network);
        at.packet(&Packet {
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
        let over = self.state != State::Established || self.half(side).finished;
        if over || bytes.is_empty() {
            return Ok(());
        }
        let known = self.half(side).said.saturating_sub(offset);
        let bytes = usize::try_from(known).ok().and_then(|known| bytes.get(known..));
        let mut segments = bytes.unwrap_or_default().chunks(usize::from(self.mss)).peekable();
        while let Some(payload) = segments.next() {
            let half = self.half(side);
            // A window that is full to the last byte would be worth a note.
            let full = half.unanswered() + payload.len() as u32 >= half.window;
            if full || half.segments_unanswered >= SEGMENTS_UNANSWERED {
                self.acknowledge(at, side)?;
            }
            // Not before that, or it would be of what no packet has shown.
            self.half_mut(side).skip_to(offset);
            let segment = Segment { psh: segments.peek().is_none(), ..self.plain(side) };
            self.draw(at, side, segment, payload, None)?;
            let half = self.half_mut(side);
            half.next = half.next.wrapping_add(payload.len() as u32);
            half.said = half.said.saturating_add(payload.len() as u64);
            half.segments_unanswered += 1;
        }
        Ok(())
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

    /// Acknowledges what is not, so that the stream can be [resumed](Self::resume).
    pub(super) fn flush_acks<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
    ) -> Result<(), W::Error> {
        for side in [Side::Client, Side::Server] {
            self.acknowledge(at, side)?;
        }
        // Of the server a new reader will have seen its SYN alone.
        self.half_mut(Side::Client).window = FIRST_BYTES_UNANSWERED;
        Ok(())
    }

    /// Goes on as if both sides had begun with these numbers. Nothing may be unacknowledged, and a
    /// [`resume`](Self::resume) has to follow for every reader.
    pub(super) fn renumber(&mut self, isns: [u32; 2]) {
        let accepted = self.state == State::Established;
        for (side, isn) in [Side::Client, Side::Server].into_iter().zip(isns) {
            let half = self.half_mut(side);
            let spoken = u32::from(accepted || side == Side::Client) + u32::from(half.finished);
            half.next = isn.wrapping_add(spoken);
            half.acknowledged = half.next;
        }
    }

    /// `side` is done, after `said` bytes, and its peer acknowledges it, which is what `comment`
    /// stands with.
    pub(super) fn finish<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        side: Side,
        said: u64,
        comment: Option<&str>,
    ) -> Result<(), W::Error> {
        if self.state != State::Established || self.half(side).finished {
            return Ok(());
        }
        self.half_mut(side).skip_to(said);
        let fin = Segment { fin: true, ..self.plain(side) };
        self.draw(at, side, fin, &[], None)?;
        let half = self.half_mut(side);
        half.next = half.next.wrapping_add(1);
        half.finished = true;
        self.draw(at, !side, self.plain(!side), &[], comment)
    }

    /// `side` resets the stream, the last that is heard of it. `said` are the bytes of both
    /// sides, client's first; what is missing of the other side's has no packet but this one to
    /// be counted on.
    pub(super) fn reset<W: PacketWriter>(
        &mut self,
        at: &mut At<'_, W>,
        side: Side,
        said: [u64; 2],
        comment: &str,
    ) -> Result<(), W::Error> {
        let established = self.state == State::Established;
        if !established && self.state != State::SynSent {
            return Ok(());
        }
        self.state = State::Over;
        if established && !self.half(side).finished {
            self.half_mut(side).skip_to(said[side as usize]);
        }
        if established && !self.half(!side).finished {
            let missing = said[!side as usize].saturating_sub(self.half(!side).said);
            let half = self.half_mut(side);
            half.dropped = half.dropped.saturating_add(missing);
        }
        // Before the server has spoken there is nothing to acknowledge.
        let ack = established.then_some(self.half(!side).next);
        let reset = Segment { rst: true, ack, ..self.plain(side) };
        self.draw(at, side, reset, &[], Some(comment))
    }

    /// Draws the stream anew as it stands, for a reader who has seen nothing of it: a handshake
    /// whose sequence numbers are the current ones, and the FINs that were. It must be
    /// [flushed](Self::flush_acks).
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
                    again.finish(at, side, 0, None)?;
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
        Path { from: self.ends[from as usize], to: self.ends[1 - from as usize] }
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
            if !segment.syn {
                peer.window = BYTES_UNANSWERED;
            }
        }
        at.packet(&Packet {
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
