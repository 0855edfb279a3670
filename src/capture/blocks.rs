//! What stands in whole blocks: how many of them fit, and what they hold of the conversations.

use crate::packet::Legs;

/// What packets hold of the conversations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) packets: u64,
    /// Bytes that peers sent, by direction; those that stand in the capture for both legs count
    /// once.
    pub(super) payload: [u64; 2],
}

impl Held {
    pub(super) fn add(&mut self, other: Self) {
        self.packets += other.packets;
        for (sum, more) in self.payload.iter_mut().zip(other.payload) {
            *sum += more;
        }
    }

    pub(super) fn without(self, lost: Self) -> Self {
        let [a, b] = self.payload;
        let [lost_a, lost_b] = lost.payload;
        let packets = self.packets.saturating_sub(lost.packets);
        Self { packets, payload: [a.saturating_sub(lost_a), b.saturating_sub(lost_b)] }
    }
}

/// The blocks in `bytes`, which begin with one (3.1).
fn blocks(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = usize::try_from(word(bytes, 4)?).ok().filter(|len| *len >= 12)?;
        let (block, rest) = bytes.split_at_checked(len)?;
        bytes = rest;
        Some(block)
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// How long the whole blocks are that lie within the first `limit` bytes.
pub(super) fn whole(bytes: &[u8], limit: usize) -> usize {
    blocks(&bytes[..limit.min(bytes.len())]).map(<[u8]>::len).sum()
}

/// What the packets among these blocks hold.
pub(super) fn held(bytes: &[u8], legs: Legs) -> Held {
    const ENHANCED_PACKET: u32 = 6;
    let mut held = Held::default();
    for block in blocks(bytes).filter(|block| word(block, 0) == Some(ENHANCED_PACKET)) {
        if let Some(packet) = packet(block, legs) {
            held.add(packet);
        }
    }
    held
}

/// What an enhanced packet block (4.3) of ours holds.
fn packet(block: &[u8], legs: Legs) -> Option<Held> {
    const FLAGS: u16 = 2;
    const HEADER: usize = 28;
    let (interface, captured) = (word(block, 8)?, word(block, 20)? as usize);
    let original = word(block, 24)? as usize;
    // The flags are the first option.
    let options = block.get(HEADER + captured.next_multiple_of(4)..)?;
    let to_server = options.starts_with(&FLAGS.to_le_bytes()) && word(options, 4)? & 0b11 == 1;
    let headers = block.get(HEADER..HEADER + captured)?;
    let payload = tcp_headers(headers).map_or(0, |len| original.saturating_sub(len));
    Some(of_packet(legs, interface, to_server, payload))
}

/// What a packet with a payload of TCP holds.
pub(super) fn of_packet(legs: Legs, interface: u32, to_server: bool, payload: usize) -> Held {
    // On two legs the client's is the first, and what a peer sent counts on its own leg.
    let counts = match legs {
        Legs::Direct => true,
        Legs::Both => (interface == 0) == to_server,
    };
    let mut held = Held { packets: 1, payload: [0; 2] };
    if counts {
        held.payload[usize::from(!to_server)] = payload as u64;
    }
    held
}

/// The length of the Ethernet, IP and TCP headers; `None` where it is not TCP.
pub(super) fn tcp_headers(packet: &[u8]) -> Option<usize> {
    const ETHERNET: usize = 14;
    const TCP: u8 = 6;
    let ip = packet.get(ETHERNET..)?;
    let (protocol, len) = match ip.first()? >> 4 {
        4 => (*ip.get(9)?, usize::from(ip.first()? & 0x0f) * 4),
        _ => (*ip.get(6)?, 40),
    };
    let data_offset = usize::from(ip.get(len + 12)? >> 4) * 4;
    (protocol == TCP).then_some(ETHERNET + len + data_offset)
}
