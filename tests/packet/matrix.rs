//! Every way to live and end, in every family, as tshark and tcpdump see it.

use tcp_tunn::event::Side;
use tcp_tunn::packet::{Interface, Legs};

use super::judged::judge_talks;
use super::scenario::{FAMILIES, Family, SCENARIOS, Scenario};
use super::{conversations, draw, isns};
use crate::support::oracle::{Expect, FULL, judge};
use crate::support::talk::Talk;

/// Plays every scenario in every family, each connection beginning `apart` nanoseconds after the
/// one before.
fn play(apart: u64) -> Vec<(&'static Scenario, Talk)> {
    let all = FAMILIES.iter().flat_map(|family| SCENARIOS.iter().map(move |s| (*family, s)));
    let play = |(id, (family, scenario)): (u64, (Family, &'static Scenario))| {
        let mut talk = Talk::open(id, id * apart, family.ends(id));
        (scenario.play)(&mut talk);
        (scenario, talk)
    };
    (1..).zip(all).map(play).collect()
}

fn check(legs: Legs, apart: u64) {
    let (scenarios, talks): (Vec<_>, Vec<_>) = play(apart).into_iter().unzip();
    for found in judge_talks(legs, 1, &talks) {
        let scenario = scenarios[found.talk];
        let place = match found.interface {
            Interface::Direct => 0,
            Interface::ClientLeg => 1,
            Interface::ServerLeg => 2,
        };
        let what = format!("{} on {:?}, {}", scenario.name, found.interface, found.stream.client);
        assert_eq!(found.stream.completeness, scenario.completeness[place], "{what}");
    }
}

/// Longer than any scenario takes.
const ONE_AFTER_THE_OTHER: u64 = 1_000_000_000;
const INTERLEAVED: u64 = 700;

#[test]
fn single_conversations_are_perfect() {
    check(Legs::Direct, ONE_AFTER_THE_OTHER);
}

#[test]
fn single_conversations_on_both_legs_are_perfect() {
    check(Legs::Both, ONE_AFTER_THE_OTHER);
}

#[test]
fn interleaved_conversations_are_perfect() {
    check(Legs::Direct, INTERLEAVED);
}

#[test]
fn interleaved_conversations_on_both_legs_are_perfect() {
    check(Legs::Both, INTERLEAVED);
}

/// What a slow sink missed is a hole in the stream, in its place and of its size.
#[test]
fn dropped_bytes_are_the_only_complaint() {
    let mut talk = Talk::open(1, 0, Family::V4.ends(1));
    talk.connect();
    for turn in 0..40 {
        talk.say(Side::Client, &[b'c'; 3000]);
        talk.say(Side::Server, &[b's'; 70_000]);
        if turn % 10 == 5 {
            talk.events.truncate(talk.events.len() - 3);
        }
    }
    talk.end(Side::Client);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gaps.pcapng");
    draw(&path, &mut conversations(Legs::Direct, isns(1)), &talk.events);
    let expect = Expect { allow_gaps: true, ..Expect::default() };
    let judged = judge(&path, expect).unwrap_or_else(|bad| panic!("{bad:#?}"));
    assert_eq!(judged.streams[&0].completeness, FULL);
    // The answer, and the question's delivery, which has no bytes of its own.
    assert_eq!(judged.streams[&0].len, 40 * 3000 + 36 * 70_000);
    assert!(judge(&path, Expect::default()).is_err(), "no gap was seen");
}
