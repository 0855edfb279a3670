//! Connections drawn into a file, judged, and their bytes held against what was said.

use std::collections::BTreeMap;

use tcp_tunn::event::{ConnectionId, Event};
use tcp_tunn::packet::{Interface, Legs};

use super::render::Kept;
use super::{conversations, draw, isns};
use crate::support::oracle::{Expect, JudgedStream, follow_all, judge};
use crate::support::talk::{Talk, interleave};

/// A stream in a capture, and the connection that it shows.
pub(super) struct Found {
    /// Which of the connections.
    pub(super) talk: usize,
    pub(super) interface: Interface,
    pub(super) stream: JudgedStream,
}

/// The client's end of each connection's streams, as it is drawn.
pub(super) fn clients<'a>(
    legs: Legs,
    seed: u64,
    events: impl IntoIterator<Item = &'a Event>,
) -> BTreeMap<String, (ConnectionId, Interface)> {
    let mut conversations = conversations(legs, isns(seed));
    let mut clients = BTreeMap::new();
    for event in events {
        let kept = Kept::of(&mut conversations, [event]);
        for packet in kept.packets.iter().filter(|packet| packet.tcp().is_some()) {
            let client = packet.ends()[usize::from(!packet.to_server)].clone();
            let stream = (event.connection, packet.interface);
            let before = clients.insert(client, stream);
            assert!(before.is_none_or(|before| before == stream), "two streams: {event:?}");
        }
    }
    clients
}

/// Draws `talks`, numbered from 1, into one capture, which must be perfect and have every byte.
#[track_caller]
pub(super) fn judge_talks(legs: Legs, seed: u64, talks: &[Talk]) -> Vec<Found> {
    let events = interleave(talks);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("judged.pcapng");
    draw(&path, &mut conversations(legs, isns(seed)), &events);
    let clients = clients(legs, seed, &events);
    let expect = Expect { allow_rst: true, streams: Some(clients.len()), ..Expect::default() };
    let judged = judge(&path, expect).unwrap_or_else(|bad| panic!("{bad:#?}"));
    let followed = follow_all(&path, &judged.streams.keys().copied().collect::<Vec<_>>());
    let found = judged.streams.into_iter().map(|(number, stream)| {
        let (id, interface) = clients[&stream.client];
        let talk = id.0 as usize - 1;
        let (client, server) = followed.get(&number).cloned().unwrap_or_default();
        let shown = talks[talk].shown(interface);
        let same = client == shown[0] && server == shown[1];
        assert!(same, "other bytes: stream {number}, connection {id} on {interface:?}");
        Found { talk, interface, stream }
    });
    found.collect()
}
