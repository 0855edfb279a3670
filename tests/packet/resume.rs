//! Captures that begin when connections are already open.

use std::convert::Infallible;

use tcp_tunn::event::{CloseReason, Side};
use tcp_tunn::packet::{Interface, Legs};

use super::judged::clients;
use super::scenario::Family;
use super::{WHOLE, conversations, isns};
use crate::support::capture::Capture;
use crate::support::oracle::{Expect, FULL, follow_all, judge};
use crate::support::talk::Talk;

use Side::{Client, Server};

/// What a connection does before the new capture begins, and after; and what tshark then makes of
/// its life as a whole.
type Play = (fn(&mut Talk), fn(&mut Talk), u32);

const PLAYS: &[Play] = &[
    (|_| (), |talk| talk.close(CloseReason::Refused), 37),
    (|_| (), whole_life, FULL),
    (connected, |talk| talk.end(Server), 23),
    (in_transfer, |talk| talk.close(CloseReason::Reset { by: Client }), 39),
    (in_transfer, go_on, FULL),
    (half_closed_by_client, late_data, FULL),
    (half_closed_by_server, late_request, FULL),
];

fn connected(talk: &mut Talk) {
    talk.connect();
}

fn whole_life(talk: &mut Talk) {
    talk.connect();
    talk.say(Client, b"hello");
    talk.end(Client);
}

fn in_transfer(talk: &mut Talk) {
    talk.connect();
    talk.say(Client, &[1; 100_000]);
    talk.say(Server, &[2; 30]);
    talk.hear(Server, vec![3; 50_000].into());
}

fn go_on(talk: &mut Talk) {
    talk.say(Client, &[4; 40_000]);
    talk.hear(Server, vec![5; 10].into());
    talk.end(Server);
}

fn half_closed_by_client(talk: &mut Talk) {
    talk.connect();
    talk.say(Client, b"that is all");
    talk.finish(Client);
}

fn late_data(talk: &mut Talk) {
    talk.say(Server, &[6; 70_000]);
    talk.finish(Server);
    talk.close(CloseReason::Finished { first: Client });
}

fn half_closed_by_server(talk: &mut Talk) {
    talk.connect();
    talk.finish(Server);
}

fn late_request(talk: &mut Talk) {
    talk.say(Client, b"I am not done");
    talk.finish(Client);
    talk.close(CloseReason::Finished { first: Server });
}

/// Each play in some families, up to the cut and from there.
fn talks() -> (Vec<Talk>, Vec<Talk>) {
    let families = [Family::V4, Family::V6, Family::Unix, Family::Named];
    let plays = families.iter().flat_map(|family| PLAYS.iter().map(move |play| (family, play)));
    let talk = |(id, (family, (before, after, _))): (u64, (&Family, &Play))| {
        let mut whole = Talk::open(id, id * 10, family.ends(id));
        before(&mut whole);
        let mut rest = whole.rest(1_000_000);
        after(&mut rest);
        (whole, rest)
    };
    (1..).zip(plays).map(talk).unzip()
}

fn check(legs: Legs) {
    let folder = tempfile::tempdir().unwrap();
    let [old_path, new_path] = ["old", "new"].map(|name| folder.path().join(name));
    let (before, after) = talks();
    let mut conversations = conversations(legs, isns(SEED));
    let mut old = Capture::create(&old_path, WHOLE);
    let before: Vec<_> = before.into_iter().flat_map(|talk| talk.events).collect();
    for event in &before {
        let Ok(()): Result<(), Infallible> = conversations.event(event, &mut old);
    }
    let Ok(()) = conversations.flush_acks(&mut old);
    let mut new = Capture::create(&new_path, WHOLE);
    let Ok(()) = conversations.resume(&mut new);
    for event in after.iter().flat_map(|talk| &talk.events) {
        let Ok(()) = conversations.event(event, &mut new);
    }
    assert!(conversations.is_empty());
    old.finish();
    new.finish();
    judge(&old_path, Expect::default()).unwrap_or_else(|bad| panic!("{bad:#?}"));
    let expect = Expect { allow_rst: true, ..Expect::default() };
    let judged = judge(&new_path, expect).unwrap_or_else(|bad| panic!("{bad:#?}"));
    let followed = follow_all(&new_path, &judged.streams.keys().copied().collect::<Vec<_>>());
    let all = before.iter().chain(after.iter().flat_map(|talk| &talk.events));
    let clients = clients(legs, SEED, all);
    assert_eq!(judged.streams.len(), clients.len());
    for (number, stream) in &judged.streams {
        let (id, interface) = clients[&stream.client];
        let index = id.0 as usize - 1;
        if interface == Interface::Direct {
            assert_eq!(stream.completeness, PLAYS[index % PLAYS.len()].2, "{stream:?}");
        }
        let (client, server) = followed.get(number).cloned().unwrap_or_default();
        let same = after[index].shown(interface) == [&client[..], &server[..]];
        assert!(same, "other bytes: {stream:?} on {interface:?}");
    }
}

const SEED: u64 = 5;

#[test]
fn resumed_capture_is_perfect() {
    check(Legs::Direct);
}

#[test]
fn resumed_capture_on_both_legs_is_perfect() {
    check(Legs::Both);
}
