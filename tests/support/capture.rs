//! The plainest writer of pcapng that there is, for judging packets without the sink.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::name_resolution::{
    Ipv4Record, Ipv6Record, NameResolutionBlock, Record,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::SectionHeaderBlock;
use pcap_file::{DataLink, Endianness};

use tcp_tunn::packet::{Interface, Packet, PacketWriter};

/// A capture file under way.
pub(crate) struct Capture {
    writer: PcapNgWriter<BufWriter<File>>,
    snaplen: usize,
}

impl Capture {
    /// A capture that keeps the headers, and payload up to `snaplen` bytes of each packet.
    pub(crate) fn create(path: &Path, snaplen: usize) -> Self {
        let file = BufWriter::new(File::create(path).unwrap());
        let header = SectionHeaderBlock { endianness: Endianness::Little, ..Default::default() };
        let mut writer = PcapNgWriter::with_section_header(file, header).unwrap();
        for name in ["client", "server"] {
            let options = vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
            ];
            let linktype = DataLink::ETHERNET;
            let interface = InterfaceDescriptionBlock { linktype, snaplen: 262_144, options };
            writer.write_pcapng_block(interface).unwrap();
        }
        Self { writer, snaplen }
    }

    pub(crate) fn finish(mut self) {
        self.writer.get_mut().flush().unwrap();
    }
}

impl PacketWriter for Capture {
    type Error = Infallible;

    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Infallible> {
        let original_len = (packet.headers.len() + packet.payload.len()) as u32;
        let kept = self.snaplen.saturating_sub(packet.headers.len()).min(packet.payload.len());
        let data = [packet.headers, &packet.payload[..kept]].concat();
        let mut options = vec![EnhancedPacketOption::Flags(if packet.to_server { 1 } else { 2 })];
        if packet.dropped > 0 {
            options.push(EnhancedPacketOption::DropCount(1));
        }
        if let Some(comment) = packet.comment {
            let comment = CommonOption::Comment(Cow::Borrowed(comment));
            options.push(EnhancedPacketOption::Common(comment));
        }
        let block = EnhancedPacketBlock {
            interface_id: u32::from(packet.interface == Interface::ServerLeg),
            timestamp: Duration::from_nanos(packet.time.0),
            original_len,
            data: Cow::Owned(data),
            options,
        };
        self.writer.write_pcapng_block(block).unwrap();
        Ok(())
    }

    fn name(&mut self, address: IpAddr, name: &str) -> Result<(), Infallible> {
        let names = vec![Cow::Borrowed(name)];
        let record = match address {
            IpAddr::V4(ip_addr) => Record::Ipv4(Ipv4Record { ip_addr, names }),
            IpAddr::V6(ip_addr) => Record::Ipv6(Ipv6Record { ip_addr, names }),
        };
        let block = NameResolutionBlock { records: vec![record], options: Vec::new() };
        self.writer.write_pcapng_block(block).unwrap();
        Ok(())
    }
}
