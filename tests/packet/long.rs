//! More than sequence numbers can count.

use bytes::Bytes;
use tcp_tunn::event::Side;
use tcp_tunn::packet::{ConversationConfig, Conversations, SegmentSize};

use super::fixed_isns;
use super::scenario::Family;
use crate::support::capture::Capture;
use crate::support::oracle::{Expect, FULL, judge};
use crate::support::talk::Talk;

#[test]
fn stream_beyond_4_gib_keeps_sequence() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: u64 = 4100;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.pcapng");
    let segment_size = SegmentSize::new(65475).unwrap();
    let config = ConversationConfig { segment_size, ..ConversationConfig::default() };
    let mut conversations = Conversations::new(config, fixed_isns(u32::MAX - 70_000, u32::MAX));
    // Headers are enough to judge the numbers.
    let mut capture = Capture::create(&path, 0);
    let mut draw = |talk: &mut Talk| {
        for event in talk.events.drain(..) {
            let Ok(()) = conversations.event(&event, &mut capture);
        }
    };
    let mut talk = Talk::open(1, 0, Family::V4.ends(1));
    talk.connect();
    talk.say(Side::Client, b"all of it, please");
    let chunk = Bytes::from(vec![0; CHUNK]);
    for _ in 0..CHUNKS {
        talk.hear(Side::Server, chunk.clone());
        talk.tell(Side::Server, chunk.clone());
        talk.said[Side::Server as usize].clear();
        talk.told[Side::Server as usize].clear();
        draw(&mut talk);
    }
    talk.end(Side::Client);
    draw(&mut talk);
    capture.finish();
    let expect =
        Expect { streams: Some(1), completeness: Some(FULL), cut: true, ..Expect::default() };
    let judged = judge(&path, expect).unwrap_or_else(|bad| panic!("{bad:#?}"));
    let said = b"all of it, please".len() as u64 + CHUNKS * CHUNK as u64;
    assert_eq!(judged.streams[&0].len, said);
}
