//! How fast a capture is drawn and written: `cargo bench --bench capture`.
//!
//! Bytes are those of the traffic; a packet's headers come on top.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use tcp_tunn::capture::{PcapngOptions, PcapngSink};
use tcp_tunn::event::{
    Connected, ConnectionId, Direction, Endpoint, Event, EventKind, Leg, Open, Timestamp, View,
};
use tcp_tunn::packet::{ConversationConfig, Conversations, Packet, PacketWriter};
use tcp_tunn::sink::Sink;

/// What reads deliver: a message, a segment's worth, a bulk read.
const LENS: [usize; 4] = [64, 4096, 65_536, 1_048_576];

fn main() {
    divan::main();
}

/// A connection on which the client talks and talks.
struct Monologue {
    time: u64,
    offset: u64,
    bytes: Bytes,
}

impl Monologue {
    fn new(len: usize) -> Self {
        let bytes = (0..len).map(|index| (index * 31 % 251) as u8).collect();
        Self { time: 1_700_000_000_000_000_000, offset: 0, bytes }
    }

    fn event(&mut self, kind: EventKind) -> Event {
        self.time += 1000;
        Event { connection: ConnectionId(1), time: Timestamp(self.time), kind }
    }

    fn beginning(&mut self) -> [Event; 2] {
        let endpoint = |text: &str| Endpoint::Tcp(text.parse().unwrap());
        let (client, server) = (endpoint("127.0.0.1:50000"), endpoint("192.0.2.7:80"));
        let (listener, local) = (endpoint("127.0.0.1:8080"), endpoint("10.0.0.9:40000"));
        let target = "192.0.2.7:80";
        let open = Open::new(client, listener, target).server(Some(server.clone()));
        let connected = Connected { server, local };
        [EventKind::Open(Arc::new(open)), EventKind::Connected(Arc::new(connected))]
            .map(|kind| self.event(kind))
    }

    /// The next chunk, read and delivered.
    fn chunk(&mut self) -> [Event; 2] {
        let (offset, direction) = (self.offset, Direction::ClientToServer);
        self.offset += self.bytes.len() as u64;
        [Leg::Received, Leg::Sent].map(|leg| {
            self.event(EventKind::Data {
                direction,
                leg,
                view: View::Wire,
                offset,
                bytes: self.bytes.clone(),
            })
        })
    }
}

/// Takes packets and keeps nothing.
struct Nowhere;

impl PacketWriter for Nowhere {
    type Error = Infallible;

    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Infallible> {
        divan::black_box(packet);
        Ok(())
    }

    fn name(&mut self, _: IpAddr, _: &str) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Headers and checksums alone.
#[divan::bench(args = LENS)]
fn conversation(bencher: Bencher<'_, '_>, len: usize) {
    let mut conversations = Conversations::new(ConversationConfig::default(), Box::new(|| 1));
    let mut monologue = Monologue::new(len);
    for event in monologue.beginning() {
        let Ok(()) = conversations.event(&event, &mut Nowhere);
    }
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        for event in monologue.chunk() {
            let Ok(()) = conversations.event(&event, &mut Nowhere);
        }
    });
}

/// Headers, checksums and blocks, for an output that takes all and keeps nothing.
#[divan::bench(args = LENS)]
fn blocks(bencher: Bencher<'_, '_>, len: usize) {
    let sink = PcapngSink::new(std::io::sink(), PcapngOptions::default()).unwrap();
    record(bencher, sink, len);
}

/// All that and the disk: the file lies in the build's directory, which is on one as a rule.
#[divan::bench(args = LENS, max_time = 2)]
fn file(bencher: Bencher<'_, '_>, len: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sink = PcapngSink::create(folder.path().join("out.pcapng"), PcapngOptions::default());
    record(bencher, sink.unwrap(), len);
}

fn record(bencher: Bencher<'_, '_>, mut sink: PcapngSink, len: usize) {
    let mut monologue = Monologue::new(len);
    monologue.beginning().iter().for_each(|event| sink.record(event).unwrap());
    bencher.counter(BytesCount::new(len)).bench_local(|| {
        monologue.chunk().iter().for_each(|event| sink.record(event).unwrap());
    });
    sink.finish().unwrap();
}
