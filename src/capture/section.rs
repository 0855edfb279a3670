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
    /// Whether interfaces are added one by one, and packets are of the one that is selected.
    pub(super) is_merged: bool,
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

/// A section under way, which appends whole blocks to a buffer of the caller's.
pub(super) struct Section {
    /// Encodes all blocks but packets. It holds the bytes of a block only until they are appended.
    writer: PcapNgWriter<Vec<u8>>,
    /// The header and the interfaces.
    header: Vec<u8>,
    preamble: Preamble,
    names: HashSet<(IpAddr, String)>,
    /// Of each interface.
    counts: Vec<Count>,
    /// The interface of what comes next, where they are added one by one.
    selected: usize,
    began: Option<Timestamp>,
    last: Timestamp,
    /// What was drawn since it was last asked for.
    new_held: Held,
    new_dropped_bytes: u64,
    /// How many packets may still come; any number where there is no limit.
    pub(super) packets_left: Option<u64>,
}

impl Section {
    /// A section whose header was not written yet.
    pub(super) fn new(preamble: Preamble) -> io::Result<Self> {
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
            header: Vec::new(),
            preamble,
            names: HashSet::new(),
            counts: Vec::new(),
            selected: 0,
            began: None,
            last: Timestamp(0),
            new_held: Held::default(),
            new_dropped_bytes: 0,
            packets_left: None,
        };
        if !section.preamble.is_merged {
            for (name, description) in interfaces(section.preamble.legs) {
                section.describe(name, description)?;
            }
        }
        section.header = std::mem::take(section.writer.get_mut());
        Ok(section)
    }

    /// A section like this one, which has no packets and no names yet.
    pub(super) fn new_alike(&self) -> io::Result<Self> {
        Self::new(self.preamble.clone())
    }

    /// Starts the next section with its header. It has no packets and no names yet; the limit of
    /// packets stays.
    pub(super) fn restart(&mut self, blocks: &mut Vec<u8>) {
        self.names.clear();
        self.counts.fill(Count::default());
        self.began = None;
        self.last = Timestamp(0);
        blocks.extend_from_slice(&self.header);
    }

    /// Writes all the names of this section into `other`.
    pub(super) fn write_names(&self, other: &mut Self, blocks: &mut Vec<u8>) -> io::Result<()> {
        let mut writing = other.writing(blocks);
        self.names.iter().try_for_each(|(address, name)| writing.name(*address, name))
    }

    /// Takes packets, whose blocks are appended to `blocks`.
    pub(super) const fn writing<'a>(&'a mut self, blocks: &'a mut Vec<u8>) -> SectionWriter<'a> {
        SectionWriter { section: self, blocks }
    }

    /// The length of the header and the interfaces, which nothing may come before.
    pub(super) const fn header_len(&self) -> usize {
        self.header.len()
    }

    /// What the packets show.
    pub(super) const fn legs(&self) -> Legs {
        self.preamble.legs
    }

    /// What was drawn, and the bytes that were dropped, since this was last asked.
    pub(super) fn take_counts(&mut self) -> (Held, u64) {
        (std::mem::take(&mut self.new_held), std::mem::take(&mut self.new_dropped_bytes))
    }

    /// Adds an interface, of which the next packets are; its number.
    #[cfg(feature = "fleet")]
    pub(super) fn add_interface(
        &mut self,
        name: &str,
        description: &str,
        blocks: &mut Vec<u8>,
    ) -> io::Result<usize> {
        self.describe(name, description)?;
        self.header.extend_from_slice(self.writer.get_mut());
        blocks.append(self.writer.get_mut());
        self.selected = self.counts.len() - 1;
        Ok(self.selected)
    }

    /// The interface of the next packets.
    #[cfg(feature = "fleet")]
    pub(super) const fn select_interface(&mut self, number: usize) {
        self.selected = number;
    }

    fn describe(&mut self, name: &str, description: &str) -> io::Result<()> {
        let options = vec![
            InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
            InterfaceDescriptionOption::IfDescription(Cow::Borrowed(description)),
            InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            InterfaceDescriptionOption::IfOs(Cow::Owned(self.preamble.environment.os.clone())),
        ];
        let snaplen = self.preamble.snaplen.unwrap_or(SNAPLEN_MAX);
        let block = InterfaceDescriptionBlock { linktype: DataLink::ETHERNET, snaplen, options };
        self.counts.push(Count::default());
        self.writer.write_pcapng_block(block).map(drop).map_err(invalid)
    }

    /// Writes the statistics of every interface (4.6), the last blocks of a section.
    pub(super) fn end(&mut self, blocks: &mut Vec<u8>) -> io::Result<()> {
        for (index, count) in self.counts.clone().into_iter().enumerate() {
            let at = |time: Timestamp| Duration::from_nanos(time.0);
            let statistics = InterfaceStatisticsBlock {
                interface_id: index as u32,
                timestamp: at(self.last),
                options: vec![
                    InterfaceStatisticsOption::IsbStartTime(at(self.began.unwrap_or(self.last))),
                    InterfaceStatisticsOption::IsbEndTime(at(self.last)),
                    InterfaceStatisticsOption::IsbIfRecv(count.packets + count.gaps),
                    InterfaceStatisticsOption::IsbIfDrop(count.gaps),
                    InterfaceStatisticsOption::IsbUsrDeliv(count.packets),
                ],
            };
            self.block(statistics, blocks)?;
        }
        Ok(())
    }

    fn block<'a>(&mut self, block: impl PcapNgBlock<'a>, blocks: &mut Vec<u8>) -> io::Result<()> {
        let written = self.writer.write_pcapng_block(block).map(drop).map_err(invalid);
        blocks.append(self.writer.get_mut());
        written
    }
}

/// A section, and the buffer that its blocks are appended to.
pub(super) struct SectionWriter<'a> {
    section: &'a mut Section,
    blocks: &'a mut Vec<u8>,
}

impl PacketWriter for SectionWriter<'_> {
    type Error = io::Error;

    fn packet(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let Self { section, blocks: appended } = self;
        match &mut section.packets_left {
            Some(0) => return Ok(()),
            Some(left) => *left -= 1,
            None => {}
        }
        let index = match packet.interface {
            _ if section.preamble.is_merged => section.selected,
            Interface::Direct | Interface::ClientLeg => 0,
            Interface::ServerLeg => 1,
        };
        let count = &mut section.counts[index];
        count.packets += 1;
        count.gaps += u64::from(packet.dropped > 0);
        let payload = blocks::tcp_headers(packet.headers).map_or(0, |_| packet.payload.len());
        let legs = section.preamble.legs;
        section.new_held.add(blocks::of_packet(legs, index as u32, packet.to_server, payload));
        section.new_dropped_bytes += packet.dropped;
        section.began.get_or_insert(packet.time);
        section.last = packet.time;
        let snaplen = section.preamble.snaplen.unwrap_or(SNAPLEN_MAX) as usize;
        enhanced_packet(appended, index as u32, packet, snaplen);
        Ok(())
    }

    fn name(&mut self, address: IpAddr, name: &str) -> io::Result<()> {
        if !self.section.names.insert((address, name.to_owned())) {
            return Ok(());
        }
        let names = vec![Cow::Borrowed(name)];
        let record = match address {
            IpAddr::V4(ip_addr) => Record::Ipv4(Ipv4Record { ip_addr, names }),
            IpAddr::V6(ip_addr) => Record::Ipv6(Ipv6Record { ip_addr, names }),
        };
        let block = NameResolutionBlock { records: vec![record], options: Vec::new() };
        self.section.block(block, self.blocks)
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
