//! Messages over real sockets.

use std::io::Write;

use tcp_tunn::event::EventKind;
use tcp_tunn::transform::{Lines, Messages};

use super::{Dialogue, Received};
use crate::support::events::check_contract;

#[test]
fn messages_in_any_chunks_arrive_whole() {
    let make = || Messages::new(Lines::new(), |line: &[u8]| [b"<", line, b">"].concat());
    let mut dialogue = Dialogue::encoded(make);
    dialogue.client.set_nodelay(true).unwrap();
    let mut heard = 0;
    for part in [&b"on"[..], b"e\nt", b"wo\nth"] {
        dialogue.client.write_all(part).unwrap();
        heard += part.len();
        // Each part is a read of its own, because the one before it was seen.
        let wanted = heard;
        dialogue.events.wait_for(|event| match &event.kind {
            EventKind::Data { leg: Received, offset, bytes, .. } => {
                *offset as usize + bytes.len() == wanted
            }
            _ => false,
        });
    }
    assert_eq!(dialogue.say_all(b"ree"), b"<one>\n<two>\n<three>");
    dialogue.close();
}

#[test]
fn endless_message_fails_within_memory_limit() {
    let make = || Messages::new(Lines::new(), |line: &[u8]| line.to_vec()).max(1000);
    let Dialogue { mut client, server, tunnel, events, .. } = Dialogue::encoded(make);
    // The tunnel resets the connection amid this, at any place of it.
    let _ = client.write_all(&[b'x'; 100_000]);
    let reason = events.wait_for_close();
    let words = "a message is longer than the 1000 bytes that are allowed";
    assert!(reason.to_string().contains(words), "{reason}");
    drop(server);
    tunnel.stop();
    check_contract(&events.all());
}
