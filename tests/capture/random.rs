//! Conversations that nobody thought of.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use tcp_tunn::event::{CloseReason, Side};
use tcp_tunn::packet::View;

use super::{captured, options};
use crate::support::script::{START_NS, Talk, interleaved};
use crate::support::verdict::{RESET, follow, judge};

/// A step of a conversation: who says how many bytes, of what.
type Step = (bool, usize, u8);

/// How a conversation goes, and how it ends.
fn dialogue() -> impl Strategy<Value = (Vec<Step>, u8)> {
    let len = prop_oneof![0..100_usize, 32_700..32_800_usize, 60_000..200_000_usize];
    (prop::collection::vec((any::<bool>(), len, any::<u8>()), 0..12), 0_u8..6)
}

fn side(is_client: bool) -> Side {
    if is_client { Side::Client } else { Side::Server }
}

fn hold(talk: &mut Talk, (steps, end): &(Vec<Step>, u8)) {
    talk.connect();
    let mut finished = None;
    for (index, (is_client, len, byte)) in steps.iter().enumerate() {
        let speaker = side(*is_client);
        if finished == Some(speaker) || *len == 0 {
            continue;
        }
        talk.say(speaker, &vec![*byte; *len]);
        if *end == 5 && index == steps.len() / 2 {
            talk.finish(speaker);
            finished = Some(speaker);
        }
    }
    let _ = match (end, finished) {
        (_, Some(first)) => talk.finish(!first).close(CloseReason::Finished { first }),
        (0, _) => talk.close(CloseReason::Reset { by: Side::Client }),
        (1, _) => talk.close(CloseReason::Reset { by: Side::Server }),
        (2, _) => talk.end(Side::Server),
        _ => talk.end(Side::Client),
    };
}

#[test]
fn three_hundred_random_conversations_are_perfect_and_exact() {
    let mut runner = TestRunner::new(Config::default());
    let folder = tempfile::tempdir().unwrap();
    let mut talks = Vec::new();
    for id in 1..=300_u64 {
        let dialogue = dialogue().new_tree(&mut runner).unwrap().current();
        let client = format!("127.0.0.1:{}", 20_000 + id);
        let mut talk =
            Talk::new(id, &client, "127.0.0.1:8080", "192.0.2.7:80").at(START_NS + id * 3_000_011);
        hold(&mut talk, &dialogue);
        talks.push(talk);
    }
    let path = captured(folder.path(), options(View::Direct), &interleaved(&talks));
    let judged = judge(&path, &[RESET]);
    assert_eq!(judged.completeness.len(), talks.len(), "seed: {:?}", runner.rng());
    for (stream, [client, server]) in follow(&path, talks.len()).into_iter().enumerate() {
        let said = &talks[stream].said;
        assert!(client == said[0] && server == said[1], "{stream}, seed: {:?}", runner.rng());
    }
}
