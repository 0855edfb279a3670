//! Dialogues: what happened, and the packets that show it.

use bytes::Bytes;
use tcp_tunn::event::{CloseReason, Direction, EventKind, Leg, Side, View};
use tcp_tunn::packet::{ConversationConfig, Conversations, Interface, Legs, SegmentSize};

use super::render::Kept;
use super::{conversations, fixed_isns};
use crate::support::talk::{Ends, Talk};

use Side::{Client, Server};

fn ends() -> Ends {
    Ends::new("10.0.0.1:40000", "10.0.0.9:80", "10.0.0.9:50000", "10.0.0.2:8000")
}

fn talk() -> Talk {
    Talk::open(3, 0, ends())
}

const SYN: &str = "C > S [S] seq=999 ack=0 len=0 mss=32768 \
    \"connection 3: 10.0.0.1:40000 -> 10.0.0.2:8000 (by 10.0.0.9:80)\"";
const SYN_ACK: &str = "S > C [S.] seq=4999 ack=1000 len=0 mss=32768 \
    \"connection 3: upstream 10.0.0.9:50000 -> 10.0.0.2:8000\"";
const ACK: &str = "C > S [.] seq=1000 ack=5000 len=0";

/// What is drawn of `talk` in the direct legs.
fn drawn(talk: &Talk) -> Vec<String> {
    Kept::of(&mut conversations(Legs::Direct, fixed_isns(999, 4999)), &talk.events).lines()
}

/// Holds what is drawn after the handshake against `expected`.
#[track_caller]
fn check(talk: &Talk, expected: &[&str]) {
    let mut all = vec![SYN, SYN_ACK, ACK];
    all.extend(expected);
    assert_eq!(drawn(talk), all);
}

#[test]
fn request_and_answer_make_packets() {
    let mut talk = talk();
    talk.connect();
    talk.say(Client, b"hello");
    talk.say(Server, b"good day");
    talk.end(Client);
    check(
        &talk,
        &[
            "C > S [P.] seq=1000 ack=5000 len=5",
            "S > C [.] seq=5000 ack=1005 len=0",
            "S > C [P.] seq=5000 ack=1005 len=8",
            "C > S [.] seq=1005 ack=5008 len=0",
            "C > S [F.] seq=1005 ack=5008 len=0",
            "S > C [.] seq=5008 ack=1006 len=0",
            "S > C [F.] seq=5008 ack=1006 len=0",
            "C > S [.] seq=1006 ack=5009 len=0",
        ],
    );
}

#[test]
fn answer_carries_acknowledgment() {
    let mut talk = talk();
    talk.connect();
    talk.hear(Client, Bytes::from_static(b"hello"));
    talk.say(Server, b"good day");
    talk.tell(Client, Bytes::from_static(b"hello"));
    check(
        &talk,
        &[
            "C > S [P.] seq=1000 ack=5000 len=5",
            "S > C [P.] seq=5000 ack=1005 len=8",
            "C > S [.] seq=1005 ack=5008 len=0",
        ],
    );
}

#[test]
fn sequence_numbers_wrap() {
    let mut talk = talk();
    talk.connect();
    talk.say(Client, b"hello");
    talk.say(Server, b"good day");
    talk.end(Server);
    let isns = fixed_isns(u32::MAX - 2, u32::MAX - 5);
    let lines = Kept::of(&mut conversations(Legs::Direct, isns), &talk.events).lines();
    let expected = [
        "C > S [.] seq=4294967294 ack=4294967291 len=0",
        "C > S [P.] seq=4294967294 ack=4294967291 len=5",
        "S > C [.] seq=4294967291 ack=3 len=0",
        "S > C [P.] seq=4294967291 ack=3 len=8",
        "C > S [.] seq=3 ack=3 len=0",
        "S > C [F.] seq=3 ack=3 len=0",
        "C > S [.] seq=3 ack=4 len=0",
        "C > S [F.] seq=3 ack=4 len=0",
        "S > C [.] seq=4 ack=4 len=0",
    ];
    assert_eq!(lines[2..], expected);
}

#[test]
fn chunk_is_segmented_and_last_is_pushed() {
    let mut talk = talk();
    talk.connect();
    talk.say(Server, &[7; 65537]);
    check(
        &talk,
        &[
            "S > C [.] seq=5000 ack=1000 len=32768",
            "S > C [.] seq=37768 ack=1000 len=32768",
            "S > C [P.] seq=70536 ack=1000 len=1",
            "C > S [.] seq=1000 ack=70537 len=0",
        ],
    );
}

#[test]
fn acknowledgment_comes_after_16_segments() {
    let mut talk = talk();
    talk.connect();
    for _ in 0..40 {
        talk.hear(Client, Bytes::from_static(b"x"));
    }
    let lines = drawn(&talk);
    let acks = lines.iter().enumerate().filter(|(_, line)| line.starts_with("S > C [.]"));
    let found: Vec<_> = acks.map(|(index, line)| (index - 3, line.as_str())).collect();
    let expected =
        [(16, "S > C [.] seq=5000 ack=1016 len=0"), (33, "S > C [.] seq=5000 ack=1032 len=0")];
    assert_eq!(found, expected);
}

#[test]
fn acknowledgment_comes_after_a_mebibyte() {
    let mut talk = talk();
    talk.connect();
    talk.hear(Client, Bytes::from(vec![0; 3 << 20]));
    let size = SegmentSize::new(65475).unwrap();
    let config = ConversationConfig { segment_size: size, ..ConversationConfig::default() };
    let kept = Kept::of(&mut Conversations::new(config, fixed_isns(999, 4999)), &talk.events);
    let mut unanswered = 0;
    for packet in &kept.packets[3..] {
        unanswered = if packet.to_server { unanswered + packet.payload().len() } else { 0 };
        assert!(unanswered < 1 << 20, "{unanswered}");
    }
}

#[test]
fn first_flight_fits_window_of_syn() {
    let mut talk = talk();
    talk.connect();
    talk.hear(Client, Bytes::from(vec![0; 65535]));
    talk.tell(Client, Bytes::from(vec![0; 65535]));
    check(
        &talk,
        &[
            "C > S [.] seq=1000 ack=5000 len=32768",
            "S > C [.] seq=5000 ack=33768 len=0",
            "C > S [P.] seq=33768 ack=5000 len=32767",
            "S > C [.] seq=5000 ack=66535 len=0",
        ],
    );
}

#[test]
fn half_close_leaves_other_direction_open() {
    let mut talk = talk();
    talk.connect();
    talk.finish(Client);
    talk.say(Server, b"late");
    talk.finish(Server);
    talk.close(CloseReason::Finished { first: Client });
    check(
        &talk,
        &[
            "C > S [F.] seq=1000 ack=5000 len=0",
            "S > C [.] seq=5000 ack=1001 len=0",
            "S > C [P.] seq=5000 ack=1001 len=4",
            "C > S [.] seq=1001 ack=5004 len=0",
            "S > C [F.] seq=5004 ack=1001 len=0",
            "C > S [.] seq=1001 ack=5005 len=0",
        ],
    );
}

#[test]
fn reset_is_last_packet() {
    for (by, line) in [
        (Client, "C > S [R.] seq=1002 ack=5000 len=0 \"connection 3: reset by the client\""),
        (Server, "S > C [R.] seq=5000 ack=1002 len=0 \"connection 3: reset by the server\""),
    ] {
        let mut talk = talk();
        talk.connect();
        talk.hear(Client, Bytes::from_static(b"hi"));
        talk.close(CloseReason::Reset { by });
        talk.say(Client, b"too late");
        check(&talk, &["C > S [P.] seq=1000 ack=5000 len=2", line]);
    }
}

#[test]
fn tunnels_end_is_reset_from_server() {
    let mut talk = talk();
    talk.connect();
    talk.close(CloseReason::IdleTimeout);
    let reset = "S > C [R.] seq=5000 ack=1000 len=0 \
        \"connection 3: ended by tcp_tunn: idle time-out\"";
    check(&talk, &[reset]);
}

#[test]
fn failed_connects_make_packets() {
    let refused = "S > C [R.] seq=0 ack=1000 len=0 \"connection 3: refused by the server\"";
    let aborted = "C > S [R] seq=1000 ack=0 len=0 \"connection 3: reset by the client\"";
    let stopped =
        "S > C [R.] seq=0 ack=1000 len=0 \"connection 3: ended by tcp_tunn: it was stopped\"";
    for (reason, lines) in [
        (CloseReason::Refused, vec![SYN, refused]),
        (CloseReason::ConnectTimeout, vec![SYN]),
        (CloseReason::Reset { by: Client }, vec![SYN, aborted]),
        (CloseReason::Stopped, vec![SYN, stopped]),
    ] {
        let mut talk = talk();
        talk.close(reason);
        assert_eq!(drawn(&talk), lines);
    }
}

#[test]
fn unreachable_server_makes_icmp() {
    for (errno, words) in [(113, "Host"), (101, "Network")] {
        let mut talk = talk();
        talk.close(CloseReason::Unreachable { errno });
        let lines = drawn(&talk);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("S > C Icmpv4"), "{}", lines[1]);
        assert!(lines[1].contains(&format!("DestinationUnreachable({words})")), "{}", lines[1]);
        assert!(lines[1].contains("connection 3: server unreachable"), "{}", lines[1]);
    }
}

#[test]
fn uncertain_address_delays_syn() {
    let mut talk = Talk::open(3, 0, Ends { certain: false, target: "db:8000".into(), ..ends() });
    talk.connect();
    let kept = Kept::of(&mut conversations(Legs::Direct, fixed_isns(999, 4999)), &talk.events);
    let lines = kept.lines();
    let syn = "C > S [S] seq=999 ack=0 len=0 mss=32768 \"connection 3: 10.0.0.1:40000 -> db:8000 \
        (by 10.0.0.9:80; upstream 10.0.0.9:50000 -> 10.0.0.2:8000)\"";
    assert_eq!(lines, [syn, SYN_ACK, ACK]);
    assert_eq!(kept.packets[0].time, talk.events[0].time, "the client came before the answer");
    assert_eq!(kept.packets[1].time, talk.events[1].time);
    assert_eq!(kept.names, [("10.0.0.2".parse().unwrap(), "db".to_owned())]);
}

#[test]
fn late_syn_has_comment() {
    let mut talk = Talk::open(3, 0, Ends { certain: false, target: "db:8000".into(), ..ends() });
    talk.close(CloseReason::ConnectTimeout);
    let lines = drawn(&talk);
    assert_eq!(lines.len(), 1);
    assert!(lines[0].ends_with(": the server did not answer in time\""), "{}", lines[0]);
}

#[test]
fn dropped_chunk_leaves_gap() {
    let mut talk = talk();
    talk.connect();
    talk.say(Client, b"kept");
    let data = |offset, bytes: &'static [u8]| EventKind::Data {
        direction: Direction::ClientToServer,
        leg: Leg::Received,
        view: View::Wire,
        offset,
        bytes: Bytes::from_static(bytes),
    };
    talk.event(data(1004, b"after a gap"));
    talk.totals.client_to_server.received = 2000;
    talk.totals.server_to_client.received = 30;
    talk.finish(Client);
    talk.close(CloseReason::HalfCloseTimeout);
    check(
        &talk,
        &[
            "C > S [P.] seq=1000 ack=5000 len=4",
            "S > C [.] seq=5000 ack=1004 len=0",
            "C > S [P.] seq=2004 ack=5000 len=11 dropped=1000",
            "C > S [F.] seq=3000 ack=5000 len=0 dropped=985",
            "S > C [.] seq=5000 ack=3001 len=0",
            "S > C [R.] seq=5030 ack=3001 len=0 dropped=30 \
                \"connection 3: ended by tcp_tunn: half-close time-out\"",
        ],
    );
}

#[test]
fn reset_counts_dropped_bytes_of_other_side() {
    let mut talk = talk();
    talk.connect();
    talk.totals.client_to_server.received = 7;
    talk.close(CloseReason::Reset { by: Server });
    let reset =
        "S > C [R.] seq=5000 ack=1000 len=0 dropped=7 \"connection 3: reset by the server\"";
    check(&talk, &[reset]);
}

#[test]
fn overlapping_bytes_appear_once() {
    let mut talk = talk();
    talk.connect();
    for (offset, bytes) in [(0, "abc"), (0, "abc"), (2, "cde"), (1, ""), (9, "")] {
        let bytes = Bytes::from_static(bytes.as_bytes());
        let direction = Direction::ClientToServer;
        talk.event(EventKind::Data {
            direction,
            leg: Leg::Received,
            view: View::Wire,
            offset,
            bytes,
        });
    }
    let both = ["C > S [P.] seq=1000 ack=5000 len=3", "C > S [P.] seq=1003 ack=5000 len=2"];
    check(&talk, &both);
}

#[test]
fn each_leg_has_its_own_stream() {
    let mut talk = talk();
    talk.connect();
    talk.hear(Client, Bytes::from_static(b"plain"));
    talk.tell(Client, Bytes::from_static(b"transformed"));
    talk.finish(Client);
    talk.close(CloseReason::Reset { by: Server });
    let kept = Kept::of(&mut conversations(Legs::Both, fixed_isns(999, 4999)), &talk.events);
    let by = "\"connection 3: 10.0.0.1:40000 -> 10.0.0.2:8000 (by 10.0.0.9:80";
    let upstream = "upstream 10.0.0.9:50000 -> 10.0.0.2:8000";
    let reset = "\"connection 3: reset by the server\"";
    let expected = [
        format!("client: C > S [S] seq=999 ack=0 len=0 mss=32768 {by})\""),
        "client: S > C [S.] seq=4999 ack=1000 len=0 mss=32768".to_owned(),
        "client: C > S [.] seq=1000 ack=5000 len=0".to_owned(),
        format!("server: C > S [S] seq=999 ack=0 len=0 mss=32768 {by}; {upstream})\""),
        format!(
            "server: S > C [S.] seq=4999 ack=1000 len=0 mss=32768 \"connection 3: {upstream}\""
        ),
        "server: C > S [.] seq=1000 ack=5000 len=0".to_owned(),
        "client: C > S [P.] seq=1000 ack=5000 len=5".to_owned(),
        "client: S > C [.] seq=5000 ack=1005 len=0".to_owned(),
        "server: C > S [P.] seq=1000 ack=5000 len=11".to_owned(),
        "server: S > C [.] seq=5000 ack=1011 len=0".to_owned(),
        "client: C > S [F.] seq=1005 ack=5000 len=0".to_owned(),
        "client: S > C [.] seq=5000 ack=1006 len=0".to_owned(),
        "server: C > S [F.] seq=1011 ack=5000 len=0".to_owned(),
        "server: S > C [.] seq=5000 ack=1012 len=0".to_owned(),
        format!("client: S > C [R.] seq=5000 ack=1006 len=0 {reset}"),
        format!("server: S > C [R.] seq=5000 ack=1012 len=0 {reset}"),
    ];
    assert_eq!(kept.lines(), expected);
    let legs = |index: usize| kept.packets[index].ends();
    assert_eq!(legs(0), ["10.0.0.1:40000", "10.0.0.9:80"]);
    assert_eq!(legs(3), ["10.0.0.9:50000", "10.0.0.2:8000"]);
}

#[test]
fn unreached_server_resets_client_leg() {
    for (reason, upstream) in [
        (CloseReason::Refused, vec!["[S]", "[R.]"]),
        (CloseReason::ConnectTimeout, vec!["[S]"]),
        (CloseReason::Stopped, vec!["[S]"]),
        (CloseReason::ResolveFailed { message: "no such name".into() }, vec![]),
    ] {
        let mut talk = talk();
        talk.close(reason.clone());
        let mut conversations = conversations(Legs::Both, fixed_isns(999, 4999));
        let kept = Kept::of(&mut conversations, &talk.events);
        let flags = |interface| {
            let lines = kept.packets.iter().zip(kept.lines());
            let lines = lines.filter(move |(packet, _)| packet.interface == interface);
            lines.map(|(_, line)| line.split(' ').nth(4).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(flags(Interface::ClientLeg), ["[S]", "[S.]", "[.]", "[R.]"], "{reason}");
        assert_eq!(flags(Interface::ServerLeg), upstream, "{reason}");
    }
}
