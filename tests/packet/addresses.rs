//! Between which addresses a connection is drawn, and what they are called.

use tcp_tunn::event::{CloseReason, Side};
use tcp_tunn::packet::{Interface, Legs, synthetic_address};

use super::render::Kept;
use super::scenario::Family;
use super::{conversations, draw, isns};
use crate::support::oracle::{Expect, judge};
use crate::support::talk::{Ends, Talk, endpoint, interleave};

/// A short life.
fn live(id: u64, begin: u64, ends: Ends) -> Talk {
    let mut talk = Talk::open(id, begin, ends);
    talk.connect();
    talk.say(Side::Client, b"hello");
    talk.say(Side::Server, b"good day");
    talk.end(Side::Client);
    talk
}

/// Client and server of each stream that `talks` make.
fn streams(legs: Legs, talks: &[Talk]) -> Vec<[String; 2]> {
    let kept = Kept::of(&mut conversations(legs, isns(2)), &interleave(talks));
    let syns =
        kept.packets.iter().filter(|packet| packet.tcp().is_some_and(|tcp| tcp.syn && !tcp.ack));
    syns.map(|packet| packet.ends()).collect()
}

#[track_caller]
fn assert_perfect(legs: Legs, talks: &[Talk], expect: Expect) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("addresses.pcapng");
    draw(&path, &mut conversations(legs, isns(2)), &interleave(talks));
    judge(&path, expect).unwrap_or_else(|bad| panic!("{bad:#?}"));
}

#[test]
fn similar_connections_differ_by_listener() {
    let ends = |listener| Ends::new("10.0.0.1:40000", listener, "10.0.0.9:50000", "10.0.0.2:8000");
    let talks = [live(1, 0, ends("10.0.0.9:80")), live(2, 10, ends("10.0.0.9:81"))];
    let expected = [["10.0.0.1:40000", "10.0.0.2:8000"], ["10.0.0.1:40000", "10.0.0.9:81"]];
    assert_eq!(streams(Legs::Direct, &talks), expected);
    assert_perfect(Legs::Direct, &talks, Expect { streams: Some(2), ..Expect::default() });
}

#[test]
fn chained_tunnels_have_distinct_legs() {
    let first = Ends::new("10.0.0.1:40000", "10.0.0.9:80", "10.0.0.9:50000", "10.0.0.9:81");
    let second = Ends::new("10.0.0.9:50000", "10.0.0.9:81", "10.0.0.9:50001", "10.0.0.2:8000");
    let talks = [live(1, 0, first), live(2, 10, second)];
    for (legs, count) in [(Legs::Direct, 2), (Legs::Both, 4)] {
        let mut streams = streams(legs, &talks);
        assert_eq!(streams.len(), count);
        streams.sort();
        streams.dedup();
        assert_eq!(streams.len(), count, "{streams:?}");
        assert_perfect(legs, &talks, Expect { streams: Some(count), ..Expect::default() });
    }
}

#[test]
fn reused_port_makes_new_stream() {
    let ends = || Ends::new("10.0.0.1:40000", "10.0.0.9:80", "10.0.0.9:50000", "10.0.0.2:8000");
    let talks = [live(1, 0, ends()), live(2, 1_000_000, ends())];
    assert_eq!(streams(Legs::Direct, &talks)[0], streams(Legs::Direct, &talks)[1]);
    let expect = Expect { streams: Some(2), allow_reuse: true, ..Expect::default() };
    assert_perfect(Legs::Direct, &talks, expect);
}

#[test]
fn unix_socket_has_test_address_and_path_as_name() {
    let talks = [live(7, 0, Family::Unix.ends(7))];
    let kept = Kept::of(&mut conversations(Legs::Direct, isns(2)), &talks[0].events);
    let [client, server] = kept.packets[0].ends();
    let path = "/run/postgresql/.s.PGSQL.5432";
    assert_eq!(server, synthetic_address(path.as_ref()).to_string());
    assert!(server.starts_with("198.18.") && server.ends_with(":5432"), "{server}");
    assert!(client.starts_with("198.19.") && client.ends_with(":49159"), "{client}");
    let named = |end: &str, name: &str| {
        let address = end.rsplit_once(':').unwrap().0.parse().unwrap();
        assert!(kept.names.contains(&(address, name.to_owned())), "{name}: {:?}", kept.names);
    };
    named(&server, &format!("unix:{path}"));
    named(&client, "client-of-unix:/run/tunnel");
    let comment = kept.packets[0].comment.as_deref().unwrap();
    assert!(comment.contains(path) && comment.contains("/run/tunnel"), "{comment}");
}

#[test]
fn unix_socket_beside_ipv6_is_mapped() {
    let ends = Ends {
        server: endpoint("unix:/run/x.sock"),
        local: endpoint("unix:"),
        target: "unix:/run/x.sock".to_owned(),
        ..Family::V6.ends(1)
    };
    let talks = [live(1, 0, ends)];
    let [_, server] = streams(Legs::Direct, &talks).remove(0);
    assert!(server.starts_with("[::ffff:198.18."), "{server}");
    assert_perfect(Legs::Both, &talks, Expect { streams: Some(2), ..Expect::default() });
}

#[test]
fn name_belongs_to_target_only() {
    let mut talk = Talk::open(1, 0, Family::Named.ends(1));
    talk.connect();
    talk.close(CloseReason::Stopped);
    let kept = Kept::of(&mut conversations(Legs::Both, isns(2)), &talk.events);
    assert_eq!(kept.names, [("10.0.0.2".parse().unwrap(), "example.com".to_owned())]);
    let legs: Vec<_> = kept.packets.iter().map(|packet| packet.interface).collect();
    assert!(legs.contains(&Interface::ClientLeg) && legs.contains(&Interface::ServerLeg));
}

#[test]
fn ten_thousand_clients_of_a_unix_socket_are_ten_thousand_streams() {
    let ids = (1..=10_000).map(|id| id * 16384);
    let talks: Vec<_> = ids.map(|id| Talk::open(id, id, Family::Unix.ends(id))).collect();
    let mut streams = streams(Legs::Direct, &talks);
    streams.sort();
    streams.dedup();
    assert_eq!(streams.len(), 10_000);
}
