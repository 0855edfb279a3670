//! The clock of events and captures, when the time of day jumps.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, UNIX_EPOCH};

use tcp_tunn::capture::{PcapngOptions, PcapngSink};
use tcp_tunn::event::{Event, EventKind, Timestamp};

use crate::support::end::patient;
use crate::support::events::check_contract;
use crate::support::tunnel::Running;
use crate::support::verdict::{judge, tshark};

const NOON: u64 = 1_700_000_000;
const HOUR: u64 = 3600;

#[test]
fn wall_clock_that_jumps_is_followed_ahead_and_never_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.pcapng");
    let capture = PcapngSink::new(File::create(&path).unwrap(), PcapngOptions::default()).unwrap();
    // It stands still, but for what the test does to it.
    let wall = Arc::new(AtomicU64::new(NOON));
    let read = Arc::clone(&wall);
    let clock = move || UNIX_EPOCH + Duration::from_secs(read.load(Relaxed));
    let to = listener.local_addr().unwrap();
    let (tunnel, events) =
        Running::recorded_with(to, |builder| builder.sink(capture).wall_clock(clock));
    let mut client = patient(tunnel.connect());
    let mut server = patient(listener.accept().unwrap().0);
    // The machine sleeps for an hour, and then somebody sets its clock back by two.
    let times: Vec<Timestamp> = [(0_u8, NOON), (1, NOON + HOUR), (2, NOON - HOUR)]
        .into_iter()
        .map(|(byte, seconds)| {
            wall.store(seconds, Relaxed);
            client.write_all(&[byte]).unwrap();
            server.read_exact(&mut [0]).unwrap();
            let said = |event: &Event| match &event.kind {
                EventKind::Data { bytes, .. } => bytes[..] == [byte],
                _ => false,
            };
            events.wait_for(said).time
        })
        .collect();
    drop((client, server));
    events.wait_for_close();
    tunnel.stop();
    let all = events.all();
    check_contract(&all);
    assert!(all.is_sorted_by_key(|event| event.time), "{all:?}");
    let seconds: Vec<_> = times.iter().map(|time| time.0 / 1_000_000_000).collect();
    assert!(seconds[0] >= NOON && seconds[0] < NOON + HOUR, "{seconds:?}");
    assert!(seconds[1] >= NOON + HOUR, "the jump is followed: {seconds:?}");
    assert!(times[2] >= times[1], "the step back is not: {seconds:?}");
    judge(&path, &[]);
    let packets = tshark(&path, &["-T", "fields", "-e", "frame.time_epoch"]);
    let packets: Vec<f64> = packets.iter().map(|time| time.parse().unwrap()).collect();
    assert!(packets.is_sorted(), "{packets:?}");
    let hours = packets.iter().map(|time| (time - NOON as f64) / HOUR as f64);
    assert!(hours.clone().any(|hours| hours < 1.0), "{packets:?}");
    assert!(hours.clone().any(|hours| hours >= 1.0), "{packets:?}");
}
