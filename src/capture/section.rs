//! A section of a pcapng file: its header, its interfaces, its packets, as whole blocks.
//!
//! The format is that of draft-ietf-opsawg-pcapng; numbers in comments are its sections.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::interface_statistics::{
    InterfaceStatisticsBlock, InterfaceStatisticsOption,
};
use pcap_file::pcapng::blocks::name_resolution::{
    Ipv4Record, Ipv6Record, NameResolutionBlock, Record,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{PcapNgBlock, PcapNgWriter};
use pcap_file::{DataLink, Endianness};

use super::blocks::{self, Held};
use super::options::Environment;
use crate::event::Timestamp;
use crate::packet::{Interface, Legs, Packet, PacketWriter};

/// No packet is longer: what Wireshark itself announces.
const SNAPLEN_MAX: u32 = 262_144;

/// What a section says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Preamble {
    pub(super) legs: Legs,
    pub(super) snaplen: Option<u32>,
    pub(super) comment: Option<String>,
    pub(super) environment: Environment,
}

/// Counts of one interface.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    packets: u64,
    /// Packets' worth of data that a slow sink missed cannot be known; these are its gaps.
    gaps: u64,
}

/// A section under way. Blocks gather in [`pending`](Self::pending), always whole.
pub(super) struct Section {
    writer: PcapNgWriter<Vec<u8>>,
    preamble: Preamble,
    names: HashSet<(IpAddr, String)>,
    counts: [Count; 2],
    began: Option<Timestamp>,
    last: Timestamp,
    /// What was drawn since it was last asked for.
    new_held: Held,
    new_dropped_bytes: u64,
    /// How many packets may still come; any number where there is no limit.
    pub(super) packets_left: Option<u64>,
    header_len: usize,
}

impl Section {
    /// A section whose header is pending.
    pub(super) fn begin(preamble: Preamble) -> io::Result<Self> {
        let mut options = vec![
            SectionHeaderOption::OS(Cow::Borrowed(&*preamble.environment.os)),
            SectionHeaderOption::UserApplication(Cow::Borrowed(&*preamble.environment.application)),
        ];
        if let Some(hardware) = &preamble.environment.hardware {
            options.insert(0, SectionHeaderOption::Hardware(Cow::Borrowed(hardware)));
        }
        if let Some(comment) = &preamble.comment {
            let comment = &comment[..comment.floor_char_boundary(usize::from(u16::MAX))];
            options
                .push(SectionHeaderOption::Common(CommonOption::Comment(Cow::Borrowed(comment))));
        }
        // The crate's default is big-endian; a pipe to Wireshark must be in host order.
        let header = SectionHeaderBlock {
            endianness: Endianness::Little,
            options,
            ..SectionHeaderBlock::default()
        };
        let writer = PcapNgWriter::with_section_header(Vec::new(), header).map_err(invalid)?;
        let mut section = Self {
            writer,
            preamble,
            names: HashSet::new(),
            counts: [Count::default(); 2],
            began: None,
            last: Timestamp(0),
            new_held: Held::default(),
            new_dropped_bytes: 0,
            packets_left: None,
            header_len: 0,
        };
        for (name, description) in interfaces(section.preamble.legs) {
            section.describe(name, description)?;
        }
        section.header_len = section.pending().len();
        Ok(section)
    }

    /// A section like this one, with all the names that this one has.
    pub(super) fn begin_alike(&self) -> io::Result<Self> {
        let mut section = Self::begin(self.preamble.clone())?;
        self.names.iter().try_for_each(|(address, name)| section.name(*address, name))?;
        Ok(section)
    }

    /// The length of the header and the interfaces, which nothing may come before.
    pub(super) const fn header_len(&self) -> usize {
        self.header_len
    }

    /// What was drawn, and the bytes that were dropped, since this was last asked.
    pub(super) fn take_counts(&mut self) -> (Held, u64) {
        (std::mem::take(&mut self.new_held), std::mem::take(&mut self.new_dropped_bytes))
    }

    /// The blocks that have not been taken yet.
    pub(super) fn pending(&mut self) -> &mut Vec<u8> {
        self.writer.get_mut()
    }

    fn describe(&mut self, name: &'static str, description: &'static str) -> io::Result<()> {
        let options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
            InterfaceDescriptionOption::IfDescription(Cow::Borrowed(description)),
            InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            InterfaceDescriptionOption::IfOs(Cow::Owned(self.preamble.environment.os.clone())),
        ];
        let snaplen = self.preamble.snaplen.unwrap_or(SNAPLEN_MAX);
        self.block(InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen, options })
    }

    /// Writes the statistics of every interface (4.6), the last blocks of a section.
    pub(super) fn end(&mut self) -> io::Result<()> {
        for index in 0..interfaces(self.preamble.legs).len() {
            let count = self.counts[index];
            let at = |time: Timestamp| Duration::from_nanos(time.0);
            self.block(InterfaceStatisticsBlock {
                interface_id: index as u32,
                timestamp: at(self.last),
                options: vec![
                    InterfaceStatisticsOption::IsbStartTime(at(self.began.unwrap_or(self.last))),
                    InterfaceStatisticsOption::IsbEndTime(at(self.last)),
                    InterfaceStatisticsOption::IsbIfRecv(count.packets + count.gaps),
                    InterfaceStatisticsOption::IsbIfDrop(count.gaps),
                    InterfaceStatisticsOption::IsbUsrDeliv(count.packets),
                ],
            })?;
        }
        Ok(())
    }

    fn block<'a>(&mut self, block: impl PcapNgBlock<'a>) -> io::Result<()> {
        self.writer.write_pcapng_block(block).map(drop).map_err(invalid)
    }
}

impl PacketWriter for Section {
    type Error = io::Error;

    fn packet(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        match &mut self.packets_left {
            Some(0) => return Ok(()),
            Some(left) => *left -= 1,
            None => {}
        }
        let index = match packet.interface {
            Interface::Direct | Interface::ClientLeg => 0,
            Interface::ServerLeg => 1,
        };
        let count = &mut self.counts[index];
        count.packets += 1;
        count.gaps += u64::from(packet.dropped > 0);
        let payload = blocks::tcp_headers(packet.headers).map_or(0, |_| packet.payload.len());
        let legs = self.preamble.legs;
        self.new_held.add(blocks::of_packet(legs, index as u32, packet.to_server, payload));
        self.new_dropped_bytes += packet.dropped;
        self.began.get_or_insert(packet.time);
        self.last = packet.time;
        let snaplen = self.preamble.snaplen.unwrap_or(SNAPLEN_MAX) as usize;
        enhanced_packet(self.writer.get_mut(), index as u32, packet, snaplen);
        Ok(())
    }

    fn name(&mut self, address: IpAddr, name: &str) -> io::Result<()> {
        if !self.names.insert((address, name.to_owned())) {
            return Ok(());
        }
        let names = vec![Cow::Borrowed(name)];
        let record = match address {
            IpAddr::V4(ip_addr) => Record::Ipv4(Ipv4Record { ip_addr, names }),
            IpAddr::V6(ip_addr) => Record::Ipv6(Ipv6Record { ip_addr, names }),
        };
        self.block(NameResolutionBlock { records: vec![record], options: Vec::new() })
    }
}

const fn interfaces(legs: Legs) -> &'static [(&'static str, &'static str)] {
    match legs {
        Legs::Direct => &[("tunnel", "client to upstream, as if there were no tunnel")],
        Legs::Both => &[
            ("client", "between the clients and the tunnel"),
            ("server", "between the tunnel and the servers"),
        ],
    }
}

/// Appends an enhanced packet block (4.3).
///
/// Written by hand where all other blocks are the crate's, because that would take a packet as
/// one piece, and so a second copy of every byte that passes.
fn enhanced_packet(out: &mut Vec<u8>, interface: u32, packet: &Packet<'_>, snaplen: usize) {
    const BLOCK: u32 = 6;
    const FLAGS: u16 = 2;
    const DROPCOUNT: u16 = 4;
    const COMMENT: u16 = 1;
    let header_len = packet.headers.len().min(snaplen);
    let payload_len = packet.payload.len().min(snaplen - header_len);
    let captured = header_len + payload_len;
    let start = out.len();
    let word = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&value.to_le_bytes());
    word(out, BLOCK);
    word(out, 0);
    word(out, interface);
    word(out, (packet.time.0 >> 32) as u32);
    word(out, packet.time.0 as u32);
    word(out, captured as u32);
    word(out, (packet.headers.len() + packet.payload.len()) as u32);
    out.extend_from_slice(&packet.headers[..header_len]);
    out.extend_from_slice(&packet.payload[..payload_len]);
    pad(out, captured);
    // Inbound is what the client says, outbound what the server says.
    option(out, FLAGS, &(if packet.to_server { 1_u32 } else { 2 }).to_le_bytes());
    if packet.dropped > 0 {
        option(out, DROPCOUNT, &1_u64.to_le_bytes());
        let lost = format!("{} bytes before this packet were dropped", packet.dropped);
        option(out, COMMENT, lost.as_bytes());
    }
    if let Some(comment) = packet.comment {
        option(out, COMMENT, comment.as_bytes());
    }
    word(out, 0);
    let total = (out.len() - start + 4) as u32;
    word(out, total);
    out[start + 4..start + 8].copy_from_slice(&total.to_le_bytes());
}

/// Appends an option (3.5).
fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    pad(out, value.len());
}

/// Fills up to a multiple of four.
fn pad(out: &mut Vec<u8>, len: usize) {
    out.resize(out.len() + (len.next_multiple_of(4) - len), 0);
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
