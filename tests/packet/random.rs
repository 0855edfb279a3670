//! Random conversations, each judged by tshark and byte for byte.

use std::collections::VecDeque;

use bytes::Bytes;
use tcp_tunn::event::{CloseReason, Side};
use tcp_tunn::packet::Legs;

use super::judged::judge_talks;
use super::scenario::FAMILIES;
use crate::support::bytes::bytes;
use crate::support::random::Random;
use crate::support::talk::Talk;

const CONVERSATIONS: u64 = 300;
/// Mostly small, sometimes around what makes one or two segments, seldom more.
fn len(random: &mut Random) -> usize {
    let len = match random.below(20) {
        0 => 32760 + random.below(16),
        1 => 65530 + random.below(16),
        2 => random.below(200_000),
        _ => 1 + random.below(300),
    };
    len.max(1) as usize
}

fn reason(random: &mut Random) -> CloseReason {
    match random.below(5) {
        0 => CloseReason::IdleTimeout,
        1 => CloseReason::Stopped,
        2 => CloseReason::Internal,
        _ => CloseReason::Reset { by: random.side() },
    }
}

/// A connection whose life is left to chance, within the contract of events.
fn talk(id: u64, random: &mut Random) -> Talk {
    let family = FAMILIES[random.below(FAMILIES.len() as u64) as usize];
    let mut talk = Talk::open(id, random.below(20_000), family.ends(id));
    if random.below(10) == 0 {
        talk.close(CloseReason::Refused);
        return talk;
    }
    talk.connect();
    let mut waiting = [VecDeque::new(), VecDeque::new()];
    let mut finished = [false; 2];
    for _ in 0..random.below(80) {
        talk.pace = random.below(3) * random.below(1000);
        let side = random.side();
        let queue: &mut VecDeque<Bytes> = &mut waiting[side as usize];
        if random.below(2) == 0 && queue.len() < 30 && !finished[side as usize] {
            let chunk = Bytes::from(bytes(random.0, len(random)));
            queue.push_back(chunk.clone());
            talk.hear(side, chunk);
        } else if let Some(chunk) = queue.pop_front() {
            talk.tell(side, chunk);
        } else if random.below(30) == 0 && !finished[side as usize] {
            finished[side as usize] = true;
            talk.finish(side);
        }
    }
    if random.below(3) == 0 {
        let reason = reason(random);
        talk.close(reason);
        return talk;
    }
    let first = if finished[1] { Side::Server } else { Side::Client };
    for side in [first, !first] {
        waiting[side as usize].drain(..).for_each(|chunk| talk.tell(side, chunk));
        if !finished[side as usize] {
            talk.finish(side);
        }
    }
    talk.close(CloseReason::Finished { first });
    talk
}

#[test]
fn random_conversations_are_perfect() {
    let mut random = Random::seeded();
    for legs in [Legs::Direct, Legs::Both] {
        let talks: Vec<_> = (1..=CONVERSATIONS / 2).map(|id| talk(id, &mut random)).collect();
        judge_talks(legs, random.0, &talks);
    }
}
