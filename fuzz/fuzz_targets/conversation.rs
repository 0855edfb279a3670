//! Whatever happens, in whatever order: no panic, and no packet that is not sound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcp_tunn::packet::{ConversationConfig, Conversations, Legs};

#[path = "../../tests/support/chaos.rs"]
mod chaos;
#[path = "../../tests/support/watch.rs"]
mod watch;

fuzz_target!(|data: &[u8]| {
    let [first, choices @ ..] = data else { return };
    let legs = if first & 1 == 0 { Legs::Direct } else { Legs::Both };
    // The next numbers are around the wrap.
    let mut number = u32::MAX - u32::from(*first);
    let isn = move || {
        number = number.wrapping_add(40_503);
        number
    };
    let config = ConversationConfig { legs, ..ConversationConfig::default() };
    let mut conversations = Conversations::new(config, Box::new(isn));
    let (mut watch, mut late) = (watch::Watch::default(), watch::Watch::default());
    let events = chaos::events(choices);
    for (index, event) in events.iter().enumerate() {
        if index == events.len() / 2 {
            let Ok(()) = conversations.flush_acks(&mut watch);
            let Ok(()) = conversations.resume(&mut late);
        }
        let Ok(()) = conversations.event(event, &mut watch);
    }
});
