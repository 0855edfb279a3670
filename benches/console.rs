//! How fast the console lays out what is said: `cargo bench --bench console`.
//!
//! Bytes are those of the traffic, not of the output.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use tcp_tunn::console::hexdump::{Hexdump, Palette};
use tcp_tunn::console::{Console, ConsoleOptions, Format};
use tcp_tunn::event::{ConnectionId, Direction, Event, EventKind, Leg, Timestamp, View};
use tcp_tunn::sink::Sink;

fn main() {
    divan::main();
}

/// Bytes of all classes in no order.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[divan::bench(args = [64, 64 * 1024])]
fn hexdump_plain(bencher: Bencher<'_, '_>, len: usize) {
    rows(bencher, &Hexdump::plain(), &noise(len));
}

#[divan::bench(args = [64, 64 * 1024])]
fn hexdump_colored(bencher: Bencher<'_, '_>, len: usize) {
    rows(bencher, &Hexdump::colored(&Palette::default()), &noise(len));
}

fn rows(bencher: Bencher<'_, '_>, hexdump: &Hexdump, bytes: &[u8]) {
    let mut out = Vec::new();
    bencher.counter(BytesCount::of_slice(bytes)).bench_local(|| {
        out.clear();
        hexdump.rows(bytes, 0, &[], &mut out);
        divan::black_box(out.len())
    });
}

/// A sink on a writer that takes all and keeps nothing, given chunks of a length.
#[divan::bench(
    args = [Format::Hexdump, Format::Text, Format::Json, Format::Raw],
    consts = [64, 65_536, 1_048_576]
)]
fn console<const LEN: usize>(bencher: Bencher<'_, '_>, format: Format) {
    let mut options = ConsoleOptions::default();
    options.format = format;
    let mut console = Console::new(std::io::sink(), options);
    let bytes = Bytes::from(noise(LEN));
    let mut offset = 0;
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| {
        let data = EventKind::Data {
            direction: Direction::ClientToServer,
            leg: Leg::Received,
            view: View::Wire,
            offset,
            bytes: bytes.clone(),
        };
        let time = Timestamp(1_700_000_000_000_000_000 + offset);
        offset += LEN as u64;
        console.record(&Event { connection: ConnectionId(1), time, kind: data }).unwrap();
    });
}
