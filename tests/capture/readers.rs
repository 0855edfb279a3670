//! What else a capture must be: complete when cut short, readable by others, honest about gaps.

use std::collections::BTreeMap;
use std::process::Command;

use tcp_tunn::capture::{PcapngSink, Rotation};
use tcp_tunn::event::Side;
use tcp_tunn::packet::Legs;
use tcp_tunn::sink::Sink;

use super::{captured, ends, options, talk};
use crate::support::talk::{Ends, Talk, endpoint, interleave};
use crate::support::verdict::{REUSED, follow, judge, tshark};

#[test]
fn sequence_numbers_wrap_in_both_directions() {
    // Enough connections of enough bytes that some initial numbers lie just below the wrap would
    // be luck; more than 4 GiB each way is certain. The snap length keeps the file small.
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(Legs::Direct);
    options.snaplen = Some(100);
    let path = folder.path().join("out.pcapng");
    let mut sink = PcapngSink::create(&path, options).unwrap();
    let mut talk = talk(1);
    talk.connect();
    let chunk = vec![1; 1 << 20];
    for _ in 0..4200 {
        for side in [Side::Client, Side::Server] {
            talk.say(side, &chunk);
            talk.said[side as usize].clear();
        }
        talk.events.drain(..).for_each(|event| sink.record(&event).unwrap());
    }
    talk.end(Side::Client);
    talk.events.drain(..).for_each(|event| sink.record(&event).unwrap());
    sink.finish().unwrap();
    // Cut packets have no checksum that could be checked, so only the analysis is asked.
    let notes = tshark(&path, &["-n", "-d", "tcp.port==0-65535,data", "-Y", "tcp.analysis.flags"]);
    assert_eq!(notes, Vec::<String>::new());
    let said = tshark(&path, &["-n", "-q", "-z", "conv,tcp"]);
    let all = (4200_u64 << 20).to_string();
    let fields = ["-n", "-Y", "tcp.flags.fin == 1", "-T", "fields", "-e", "tcp.seq"];
    let fins = tshark(&path, &fields);
    let expected = ((4200_u64 << 20) + 1) % (1 << 32);
    assert_eq!(fins, [expected.to_string(), expected.to_string()], "{said:?} {all}");
}

#[test]
fn snap_length_keeps_original_lengths() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(Legs::Direct);
    options.snaplen = Some(64);
    let mut talk = talk(1);
    talk.connect().say(Side::Client, &[1; 1000]).say(Side::Server, &[2; 2000]).end(Side::Client);
    let path = captured(folder.path(), options, &talk.events);
    let fields = ["-n", "-Y", "tcp.len > 0", "-T", "fields", "-e", "frame.len", "-e"];
    let lines = tshark(&path, &[&fields[..], &["frame.cap_len", "-e", "tcp.len"]].concat());
    assert_eq!(lines, ["1054\t64\t1000", "2054\t64\t2000"]);
}

#[test]
fn gap_is_shown_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut talk = talk(1);
    talk.connect().say(Side::Client, &[1; 100]).say(Side::Client, &[2; 50]);
    talk.say(Side::Client, &[3; 10]).say(Side::Server, b"ok").end(Side::Client);
    // The second chunk is missed, as by a slow sink.
    talk.events.drain(4..6);
    let path = captured(folder.path(), options(Legs::Direct), &talk.events);
    let seqs = ["-n", "-Y", "tcp.len > 0 and ip.src == 127.0.0.1", "-T", "fields", "-e", "tcp.seq"];
    assert_eq!(tshark(&path, &seqs), ["1", "151"]);
    let lost = tshark(&path, &["-n", "-Y", "tcp.analysis.lost_segment"]);
    assert_eq!(lost.len(), 1, "{lost:?}");
    let comments = tshark(&path, &["-n", "-T", "fields", "-e", "frame.comment"]).join("");
    assert!(comments.contains("50 bytes before this packet were dropped"), "{comments}");
    let info = Command::new("capinfos").arg(&path).output().unwrap();
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    assert!(info.contains("Number of packets"), "{info}");
}

#[test]
fn comments_name_what_wire_cannot_carry() {
    let folder = tempfile::tempdir().unwrap();
    let named = Ends {
        client: endpoint("127.0.0.1:51234"),
        target: "example.com:80".to_owned(),
        certain: false,
        ..ends(3)
    };
    let mut talk = Talk::open(3, 0, named);
    talk.connect().say(Side::Client, b"x").end(Side::Client);
    let mut options = options(Legs::Direct);
    options.comment = Some("tcp_tunn --from a --to b".to_owned());
    let path = captured(folder.path(), options, &talk.events);
    let comments = tshark(&path, &["-n", "-T", "fields", "-e", "frame.comment"]);
    assert!(comments[0].starts_with("connection 3: 127.0.0.1:51234 -> example.com:80"));
    assert!(comments[0].contains("127.0.0.1:8080") && comments[0].contains("192.0.2.7:80"));
    let hosts = tshark(&path, &["-q", "-z", "hosts"]).join("\n");
    assert!(hosts.contains("192.0.2.7\texample.com"), "{hosts}");
    let info = Command::new("capinfos").arg(&path).output().unwrap();
    let info = String::from_utf8_lossy(&info.stdout).into_owned();
    for words in ["tcp_tunn 0", "Linux", "tcp_tunn --from a --to b", "Name = tunnel"] {
        assert!(info.contains(words), "{words}: {info}");
    }
    judge(&path, &[]);
}

#[test]
fn live_connections_with_same_addresses_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let make = |id: u64, listener: &str| {
        let mut talk = Talk::open(id, id, Ends { listener: endpoint(listener), ..ends(1) });
        talk.connect().say(Side::Client, &[id as u8; 10]).end(Side::Client);
        talk
    };
    let talks = [make(1, "127.0.0.1:8080"), make(2, "127.0.0.1:8081")];
    let path = captured(folder.path(), options(Legs::Direct), &interleave(&talks));
    assert_eq!(judge(&path, &[]).completeness.len(), 2);
}

#[test]
fn reused_addresses_make_new_stream() {
    let folder = tempfile::tempdir().unwrap();
    let make = |id: u64| {
        let mut talk = Talk::open(id, id * 1_000_000_000, ends(1));
        talk.connect().say(Side::Client, &[id as u8; 10]).end(Side::Client);
        talk
    };
    let path = captured(folder.path(), options(Legs::Direct), &interleave(&[make(1), make(2)]));
    assert_eq!(judge(&path, &[REUSED]).completeness.len(), 2);
}

#[test]
fn files_of_series_are_complete_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut rotation = Rotation::default();
    rotation.size = Some(300_000);
    let path = folder.path().join("out.pcapng");
    let mut sink = PcapngSink::create_series(&path, options(Legs::Direct), rotation).unwrap();
    let talks: Vec<_> = (1..=5)
        .map(|id| {
            let mut talk = talk(id);
            talk.connect();
            (0..20_u8).for_each(|i| {
                talk.say(Side::Client, &vec![i; 5000]).say(Side::Server, &vec![i; 9000]);
            });
            talk.end(Side::Server);
            talk
        })
        .collect();
    for event in interleave(&talks) {
        sink.record(&event).unwrap();
    }
    sink.finish().unwrap();
    let mut files: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    for file in &files {
        judge(file, &[]);
    }
    let merged = folder.path().join("merged");
    let status = Command::new("mergecap").arg("-w").arg(&merged).args(&files).status().unwrap();
    assert!(status.success());
    // Each file begins its streams anew, so the bytes of a connection are those of its streams.
    let fields = ["-n", "-Y", "tcp.dstport == 80", "-T", "fields", "-e", "tcp.stream", "-e"];
    let streams: BTreeMap<usize, usize> =
        tshark(&merged, &[&fields[..], &["tcp.srcport"]].concat())
            .iter()
            .map(|line| line.split_once('\t').unwrap())
            .map(|(stream, port)| (stream.parse().unwrap(), port.parse().unwrap()))
            .collect();
    let mut said = vec![[Vec::new(), Vec::new()]; talks.len()];
    for (stream, [client, server]) in follow(&merged, streams.len()).into_iter().enumerate() {
        let said = &mut said[streams[&stream] - 20_001];
        said[0].extend(client);
        said[1].extend(server);
    }
    for (talk, said) in talks.iter().zip(&said) {
        assert!(talk.said == *said);
    }
}

#[test]
fn large_capture_has_expected_blocks() {
    use pcap_file::pcapng::{Block, PcapNgReader};
    // On a disk that allows direct writes, as a rule; in memory none would.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let chunk = crate::support::bytes::bytes(5, 1 << 20);
    let mut talk = talk(1);
    talk.connect();
    for _ in 0..10 {
        talk.say(Side::Client, &chunk);
    }
    talk.end(Side::Server);
    let path = captured(folder.path(), options(Legs::Both), &talk.events);
    judge(&path, &[]);
    for said in follow(&path, 2) {
        assert!(said[0] == talk.said[0]);
    }
    let mut reader = PcapNgReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let (mut packets, mut statistics) = ([0_u64; 2], Vec::new());
    let mut last = std::time::Duration::ZERO;
    while let Some(block) = reader.next_block() {
        match block.unwrap().0 {
            Block::EnhancedPacket(packet) => {
                assert!(statistics.is_empty(), "statistics come last");
                assert!(packet.timestamp >= last && packet.timestamp.subsec_nanos() > 0);
                last = packet.timestamp;
                assert_eq!(packet.original_len as usize, packet.data.len());
                packets[packet.interface_id as usize] += 1;
            }
            Block::InterfaceStatistics(block) => statistics.push(format!("{:?}", block.options)),
            _ => {}
        }
    }
    assert_eq!(statistics.len(), 2);
    for (count, options) in packets.iter().zip(&statistics) {
        assert!(*count > 300 && options.contains(&format!("IsbIfRecv({count})")), "{options}");
        assert!(options.contains("IsbIfDrop(0)"), "{options}");
    }
}
