//! What holds of all conversations, the senseless ones too.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tcp_tunn::event::{CloseReason, Event, Side};
use tcp_tunn::packet::{ConversationConfig, Conversations, Legs, SegmentSize};

use super::fixed_isns;
use super::scenario::FAMILIES;
use crate::support::talk::{Talk, interleave};
use crate::support::watch::Watch;
use crate::support::{bytes::bytes, chaos};

fn legs() -> impl Strategy<Value = Legs> {
    prop_oneof![Just(Legs::Direct), Just(Legs::Both)]
}

/// Numbers from all over, and often from where they wrap.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), (u32::MAX - 200_000)..=u32::MAX, 0_u32..3]
}

fn segment_size() -> impl Strategy<Value = SegmentSize> {
    let sizes = u32::from(SegmentSize::MIN)..=u32::from(SegmentSize::MAX);
    let sizes = prop_oneof![Just(32768), Just(1460), sizes];
    sizes.prop_map(|size| SegmentSize::new(size).unwrap())
}

/// Who says how much, or is told what waits for it.
fn steps() -> impl Strategy<Value = Vec<(bool, Option<usize>)>> {
    let len = prop_oneof![4 => 1_usize..300, 1 => 32_760_usize..32_776, 1 => 1_usize..150_000];
    vec((any::<bool>(), prop::option::of(len)), 0..40)
}

/// A connection that takes these steps and then finishes.
fn talk(id: u64, steps: &[(bool, Option<usize>)]) -> Talk {
    let family = FAMILIES[id as usize % FAMILIES.len()];
    let mut talk = Talk::open(id, id * 137, family.ends(id));
    talk.connect();
    let mut waiting = [Vec::new(), Vec::new()];
    for (step, (is_client, len)) in steps.iter().enumerate() {
        let side = if *is_client { Side::Client } else { Side::Server };
        let queue: &mut Vec<Bytes> = &mut waiting[side as usize];
        match len {
            Some(len) => {
                queue.push(Bytes::from(bytes(step as u64, *len)));
                talk.hear(side, queue[queue.len() - 1].clone());
            }
            None => queue.drain(..).for_each(|chunk| talk.tell(side, chunk)),
        }
    }
    for side in [Side::Client, Side::Server] {
        waiting[side as usize].drain(..).for_each(|chunk| talk.tell(side, chunk));
    }
    talk.end(if steps.len().is_multiple_of(2) { Side::Client } else { Side::Server });
    talk
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn packets_reassemble_to_the_bytes(
        legs in legs(), isns in (number(), number()), segment_size in segment_size(),
        plays in vec(steps(), 1..4),
    ) {
        let talks: Vec<_> = (1..).zip(&plays).map(|(id, steps)| talk(id, steps)).collect();
        let config = ConversationConfig { legs, segment_size, ..ConversationConfig::default() };
        let mut conversations = Conversations::new(config, fixed_isns(isns.0, isns.1));
        let mut watch = Watch::default();
        watch.said = Some(HashMap::new());
        for event in interleave(&talks) {
            let Ok(()) = conversations.event(&event, &mut watch);
        }
        prop_assert!(conversations.is_empty());
        let streams = if legs == Legs::Both { 2 } else { 1 };
        let mut expected: Vec<_> = talks.iter().flat_map(|talk| &talk.said).collect();
        expected = expected.repeat(streams);
        let said = watch.said.unwrap_or_default();
        let mut found: Vec<_> = said.values().collect();
        expected.sort_unstable();
        found.sort_unstable();
        prop_assert!(found == expected);
    }

    #[test]
    fn any_events_make_valid_packets(
        legs in legs(), isns in (number(), number()), choices in vec(any::<u8>(), 0..600),
        resume_at in any::<prop::sample::Index>(),
    ) {
        let events: Vec<Event> = chaos::events(&choices);
        let config = ConversationConfig { legs, ..ConversationConfig::default() };
        let mut conversations = Conversations::new(config, fixed_isns(isns.0, isns.1));
        let (mut watch, mut late) = (Watch::default(), Watch::default());
        let resume_at = resume_at.index(events.len() + 1);
        for (index, event) in events.iter().enumerate() {
            if index == resume_at {
                let Ok(()) = conversations.flush_acks(&mut watch);
                let Ok(()) = conversations.resume(&mut late);
            }
            let Ok(()) = conversations.event(event, &mut watch);
        }
    }
}

/// A gap after bytes that wait for an answer, found by the fuzzer.
#[test]
fn acknowledgments_cover_shown_bytes_only() {
    let choices = b"\0\0\0\xff\xff\x07\0\xf8\x01\x01\x06<<\n\xf5\x08<<<<\0<p\x06\x06k";
    let mut watch = Watch::default();
    let mut conversations = Conversations::new(ConversationConfig::default(), fixed_isns(0, 0));
    let events = chaos::events(choices);
    for (index, event) in events.iter().enumerate() {
        if index == events.len() / 2 {
            let Ok(()) = conversations.flush_acks(&mut watch);
            let Ok(()) = conversations.resume(&mut Watch::default());
        }
        let Ok(()) = conversations.event(event, &mut watch);
    }
}

/// Or the property before would hold of nothing.
#[test]
fn random_events_make_packets() {
    let choices = bytes(1, 20_000);
    let mut watch = Watch::default();
    let mut conversations = Conversations::new(ConversationConfig::default(), fixed_isns(0, 0));
    for event in chaos::events(&choices) {
        let Ok(()) = conversations.event(&event, &mut watch);
    }
    assert!(watch.packets > 500, "{}", watch.packets);
}

#[test]
fn ten_thousand_connections_come_and_go() {
    let mut conversations = Conversations::new(ConversationConfig::default(), fixed_isns(1, 1));
    let mut watch = Watch::default();
    let mut talks: Vec<_> =
        (1..=10_000).map(|id| Talk::open(id, id, FAMILIES[id as usize % 5].ends(id))).collect();
    for talk in &mut talks {
        talk.connect();
        for event in talk.events.drain(..) {
            let Ok(()) = conversations.event(&event, &mut watch);
        }
    }
    assert_eq!(conversations.len(), 10_000);
    for talk in &mut talks {
        talk.close(CloseReason::Stopped);
        let Ok(()) = conversations.event(&talk.events[0], &mut watch);
    }
    assert!(conversations.is_empty());
}
