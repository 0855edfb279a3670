//! Events in, Ethernet packets out: the conversation that a tap on a perfect wire would have seen.
//!
//! Pure: no I/O, no clock, no randomness (initial sequence numbers are an argument), so a test
//! can hold every packet to its last bit.
//!
//! The pcapng sink is made of this. Use it for packets without a capture file: for a format of
//! your own, or to feed a dissector in a test.
//!
//! ```
//! use std::convert::Infallible;
//! use std::net::IpAddr;
//!
//! use tcp_tunn::packet::{ConversationConfig, Conversations, Packet, PacketWriter};
//! use tcp_tunn::sink::replay::parse;
//!
//! struct Lengths(Vec<usize>);
//!
//! impl PacketWriter for Lengths {
//!     type Error = Infallible;
//!
//!     fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Infallible> {
//!         self.0.push(packet.headers.len() + packet.payload.len());
//!         Ok(())
//!     }
//!
//!     fn name(&mut self, _: IpAddr, _: &str) -> Result<(), Infallible> {
//!         Ok(())
//!     }
//! }
//!
//! let events = parse(
//!     r#"
//!     2026-01-02T12:00:00Z 1 open client=127.0.0.1:5000 listener=127.0.0.1:80 target=127.0.0.1:99
//!     2026-01-02T12:00:00Z 1 connected server=127.0.0.1:99 local=127.0.0.1:6000
//!     2026-01-02T12:00:00Z 1 data from=client leg=received offset=0 bytes="Hello"
//!     "#,
//! )?;
//! // An initial sequence number for each direction; a capture draws them at random.
//! let mut conversations = Conversations::new(ConversationConfig::default(), Box::new(|| 1000));
//! let mut lengths = Lengths(Vec::new());
//! for event in &events {
//!     conversations.event(event, &mut lengths)?;
//! }
//! // SYN, SYN-ACK, ACK, and the data.
//! assert_eq!(lengths.0[..4], [66, 66, 54, 59]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod checksum;
mod conversation;
mod conversations;
mod ends;
mod frame;
mod learned;
mod place;
mod shows;
mod stream;

use std::net::IpAddr;

pub(crate) use conversations::Snapshot;
pub use conversations::{ConversationConfig, Conversations, SegmentSize, SegmentSizeError};
pub use place::synthetic_address;

use crate::event::Timestamp;

/// What the packets show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Legs {
    /// One stream a connection, from the client straight to the upstream.
    #[default]
    Direct,
    /// Two streams a connection, one for each of the tunnel's sockets, on two interfaces.
    Both,
}

/// The capture interface that a packet belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// [`Legs::Direct`]'s only one.
    Direct,
    /// [`Legs::Both`]: between the client and the tunnel.
    ClientLeg,
    /// [`Legs::Both`]: between the tunnel and the server.
    ServerLeg,
}

/// One packet, its payload still where the event has it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Where it was seen.
    pub interface: Interface,
    /// When, never before the packet before it.
    pub time: Timestamp,
    /// Whether it travels from the client toward the server.
    pub to_server: bool,
    /// Ethernet, IP and TCP (or ICMP) headers, checksums filled in.
    pub headers: &'a [u8],
    /// What follows the headers.
    pub payload: &'a [u8],
    /// Payload bytes of this direction that were dropped just before this packet; on a reset,
    /// the last packet of a stream, those of the other direction too.
    pub dropped: u64,
    /// What a wire could not say.
    pub comment: Option<&'a str>,
}

/// Who takes the packets of a conversation.
pub trait PacketWriter {
    /// What can go wrong.
    type Error;

    /// Takes one packet. Packets come in strict order of time.
    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Self::Error>;

    /// Learns that `address` is called `name`, before the first packet that carries the address.
    /// May be called again with the same pair.
    fn name(&mut self, address: IpAddr, name: &str) -> Result<(), Self::Error>;
}
