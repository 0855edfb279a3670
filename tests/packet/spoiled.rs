//! The oracle finds what is wrong; otherwise it would prove nothing.

use std::net::IpAddr;
use std::path::PathBuf;

use tcp_tunn::event::Side;
use tcp_tunn::packet::{Legs, Packet, PacketWriter};

use super::scenario::Family;
use super::{WHOLE, conversations, isns};
use crate::support::capture::Capture;
use crate::support::oracle::{Expect, FULL, follow, judge};
use crate::support::talk::Talk;

/// What becomes of a packet.
enum Fate {
    Whole,
    Lost,
    Twice,
    /// The byte at this place of the headers is another.
    Bent(usize),
}

/// Hands packets on, but for one.
struct Spoiler {
    capture: Capture,
    count: usize,
    fate: fn(usize) -> Fate,
}

impl PacketWriter for Spoiler {
    type Error = <Capture as PacketWriter>::Error;

    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), Self::Error> {
        self.count += 1;
        match (self.fate)(self.count) {
            Fate::Whole => self.capture.packet(packet),
            Fate::Lost => Ok(()),
            Fate::Twice => {
                self.capture.packet(packet)?;
                self.capture.packet(packet)
            }
            Fate::Bent(place) => {
                let mut headers = packet.headers.to_vec();
                headers[place] ^= 0x10;
                self.capture.packet(&Packet { headers: &headers, ..*packet })
            }
        }
    }

    fn name(&mut self, address: IpAddr, name: &str) -> Result<(), Self::Error> {
        self.capture.name(address, name)
    }
}

/// A question and an answer, drawn into a file: SYN, SYN/ACK, ACK, question, ACK, answer, ACK,
/// FIN, ACK, FIN, ACK.
fn spoil(fate: fn(usize) -> Fate) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spoiled.pcapng");
    let mut talk = Talk::open(1, 0, Family::V4.ends(1));
    talk.connect();
    talk.say(Side::Client, b"question");
    talk.say(Side::Server, b"answer");
    talk.end(Side::Client);
    let mut spoiler = Spoiler { capture: Capture::create(&path, WHOLE), count: 0, fate };
    let mut conversations = conversations(Legs::Direct, isns(3));
    for event in &talk.events {
        let Ok(()) = conversations.event(event, &mut spoiler);
    }
    assert_eq!(spoiler.count, 11);
    spoiler.capture.finish();
    (folder, path)
}

#[track_caller]
fn assert_found(fate: fn(usize) -> Fate, expected: &[&str]) {
    let (_folder, path) = spoil(fate);
    let bad = judge(&path, Expect { completeness: Some(FULL), ..Expect::default() }).unwrap_err();
    for expected in expected {
        assert!(bad.iter().any(|bad| bad.contains(expected)), "{expected}: {bad:#?}");
    }
}

#[test]
fn intact_capture_is_accepted() {
    let (_folder, path) = spoil(|_| Fate::Whole);
    let judged = judge(&path, Expect { completeness: Some(FULL), ..Expect::default() }).unwrap();
    assert_eq!(judged.packets, 11);
    let stream = judged.stream_of("10.0.0.1:10001");
    assert_eq!(follow(&path, stream), (b"question".to_vec(), b"answer".to_vec()));
}

#[test]
fn wrong_checksum_is_found() {
    const TCP_CHECKSUM: usize = 14 + 20 + 16;
    const IP_CHECKSUM: usize = 14 + 10;
    let bent = |number| if number == 4 { Fate::Bent(TCP_CHECKSUM) } else { Fate::Whole };
    assert_found(bent, &["packet 4: TCP checksum", "tcpdump verified 10 of 11"]);
    let bent = |number| if number == 6 { Fate::Bent(IP_CHECKSUM) } else { Fate::Whole };
    assert_found(bent, &["packet 6: IP checksum", "bad cksum"]);
}

#[test]
fn lost_packet_is_found() {
    let lost = |number| if number == 4 { Fate::Lost } else { Fate::Whole };
    assert_found(lost, &["ACKed segment that wasn't captured"]);
    let lost = |number| if number == 2 { Fate::Lost } else { Fate::Whole };
    assert_found(lost, &["completeness 29"]);
}

#[test]
fn repeated_packet_is_found() {
    let twice = |number| if number == 5 { Fate::Twice } else { Fate::Whole };
    assert_found(twice, &["Duplicate ACK"]);
    let twice = |number| if number == 4 { Fate::Twice } else { Fate::Whole };
    assert_found(twice, &["retransmission"]);
}
