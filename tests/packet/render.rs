//! Packets as lines of text, in the terms of a dialogue.

use std::convert::Infallible;
use std::net::IpAddr;

use etherparse::{NetSlice, PacketHeaders, SlicedPacket, TcpOptionElement, TransportSlice};
use tcp_tunn::event::{Event, Timestamp};
use tcp_tunn::packet::{Conversations, Interface, Packet, PacketWriter};

/// A packet that was drawn, taken apart again.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub(super) interface: Interface,
    pub(super) time: Timestamp,
    pub(super) to_server: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) header_len: usize,
    pub(super) dropped: u64,
    pub(super) comment: Option<String>,
}

/// Keeps what is drawn.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) packets: Vec<Drawn>,
    pub(super) names: Vec<(IpAddr, String)>,
}

impl PacketWriter for Kept {
    type Error = Infallible;

    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Infallible> {
        self.packets.push(Drawn {
            interface: packet.interface,
            time: packet.time,
            to_server: packet.to_server,
            bytes: [packet.headers, packet.payload].concat(),
            header_len: packet.headers.len(),
            dropped: packet.dropped,
            comment: packet.comment.map(str::to_owned),
        });
        Ok(())
    }

    fn name(&mut self, address: IpAddr, name: &str) -> Result<(), Infallible> {
        self.names.push((address, name.to_owned()));
        Ok(())
    }
}

impl Kept {
    /// What `conversations` draws of `events`.
    pub(super) fn of<'a>(
        conversations: &mut Conversations,
        events: impl IntoIterator<Item = &'a Event>,
    ) -> Self {
        let mut kept = Self::default();
        for event in events {
            let Ok(()) = conversations.event(event, &mut kept);
        }
        kept
    }

    /// A line for each packet.
    pub(super) fn lines(&self) -> Vec<String> {
        self.packets.iter().map(Drawn::line).collect()
    }
}

impl Drawn {
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.header_len..]
    }

    pub(super) fn sliced(&self) -> SlicedPacket<'_> {
        SlicedPacket::from_ethernet(&self.bytes).unwrap()
    }

    /// The TCP header, unless it is an ICMP packet.
    pub(super) fn tcp(&self) -> Option<etherparse::TcpHeader> {
        match self.sliced().transport {
            Some(TransportSlice::Tcp(tcp)) => Some(tcp.to_header()),
            _ => None,
        }
    }

    /// Source and destination.
    pub(super) fn ends(&self) -> [String; 2] {
        let ports = self.tcp().map(|tcp| [tcp.source_port, tcp.destination_port]);
        let port = |end: usize| ports.map_or_else(String::new, |ports| format!(":{}", ports[end]));
        match self.sliced().net {
            Some(NetSlice::Ipv4(ip)) => {
                let ip = ip.header();
                [
                    format!("{}{}", ip.source_addr(), port(0)),
                    format!("{}{}", ip.destination_addr(), port(1)),
                ]
            }
            Some(NetSlice::Ipv6(ip)) => {
                let ip = ip.header();
                [
                    format!("[{}]{}", ip.source_addr(), port(0)),
                    format!("[{}]{}", ip.destination_addr(), port(1)),
                ]
            }
            other => panic!("no IP: {other:?}"),
        }
    }

    /// `C > S [S.] seq=1 ack=2 len=0 mss=32768 "comment"`, with the leg's name before it where
    /// there are two.
    fn line(&self) -> String {
        let leg = match self.interface {
            Interface::Direct => "",
            Interface::ClientLeg => "client: ",
            Interface::ServerLeg => "server: ",
        };
        let arrow = if self.to_server { "C > S" } else { "S > C" };
        let what = self.tcp().map_or_else(|| self.icmp(), |tcp| segment(&tcp, self.payload()));
        let dropped =
            if self.dropped > 0 { format!(" dropped={}", self.dropped) } else { String::new() };
        let comment = self.comment.as_ref().map_or_else(String::new, |text| format!(" \"{text}\""));
        format!("{leg}{arrow} {what}{dropped}{comment}")
    }

    fn icmp(&self) -> String {
        let headers = PacketHeaders::from_ethernet_slice(&self.bytes).unwrap();
        format!("{:?}", headers.transport.unwrap())
    }
}

fn segment(tcp: &etherparse::TcpHeader, payload: &[u8]) -> String {
    let mut flags = String::new();
    for (on, letter) in
        [(tcp.syn, 'S'), (tcp.fin, 'F'), (tcp.rst, 'R'), (tcp.psh, 'P'), (tcp.ack, '.')]
    {
        flags.extend(on.then_some(letter));
    }
    let (seq, ack) = (tcp.sequence_number, tcp.acknowledgment_number);
    let mut text = format!("[{flags}] seq={seq} ack={ack} len={}", payload.len());
    let window = if tcp.rst { 0 } else { 65535 };
    assert_eq!(tcp.window_size, window, "{text}");
    for option in tcp.options_iterator() {
        if let TcpOptionElement::MaximumSegmentSize(mss) = option.unwrap() {
            text.push_str(&format!(" mss={mss}"));
        }
    }
    text
}
