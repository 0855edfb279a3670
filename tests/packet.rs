//! The packet layer: events in, packets out.

mod addresses;
mod dialogue;
mod judged;
mod long;
mod matrix;
mod properties;
mod random;
mod render;
mod resume;
mod scenario;
mod spoiled;

use std::convert::Infallible;
use std::path::Path;

use tcp_tunn::event::Event;
use tcp_tunn::packet::{ConversationConfig, Conversations, Legs};

use crate::support::capture::Capture;

/// Nothing is cut.
const WHOLE: usize = usize::MAX;

/// Initial sequence numbers that look random and are the same each time; every third is so high
/// that the numbers wrap, or is one of the ends.
fn isns(mut seed: u64) -> Box<dyn FnMut() -> u32 + Send> {
    Box::new(move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let number = (seed >> 32) as u32;
        match number % 6 {
            0 => u32::MAX - number % 50_000,
            1 => (number / 6 % 4).wrapping_sub(3),
            _ => number,
        }
    })
}

/// Alternately the client's and the server's.
fn fixed_isns(client: u32, server: u32) -> Box<dyn FnMut() -> u32 + Send> {
    let mut numbers = [client, server].into_iter().cycle();
    Box::new(move || numbers.next().unwrap())
}

fn conversations(legs: Legs, isn: Box<dyn FnMut() -> u32 + Send>) -> Conversations {
    Conversations::new(ConversationConfig { legs, ..ConversationConfig::default() }, isn)
}

/// Draws `events` into a capture file.
fn draw(path: &Path, conversations: &mut Conversations, events: &[Event]) {
    let mut capture = Capture::create(path, WHOLE);
    for event in events {
        let Ok(()): Result<(), Infallible> = conversations.event(event, &mut capture);
    }
    capture.finish();
}
