//! Captures under a transform: each leg as its peer saw it, and perfect.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;

use tcp_tunn::capture::{PcapngOptions, PcapngSink};
use tcp_tunn::event::{Connected, ConnectionId, EventKind, Open};
use tcp_tunn::packet::Legs;
use tcp_tunn::transform::{LengthPrefix, Messages, Pair, from_fn};

use super::{ClientToServer, Dialogue, Received, Sent, ServerToClient, rest_of};
use crate::support::events::Events;
use crate::support::oracle::{Expect, FULL, follow, judge};

/// Messages from the client are doubled, dropped, answered or, last, end the direction; every
/// other byte of the server is left out.
fn meddle(_: ConnectionId, _: &Open) -> Pair {
    let encoder = from_fn(|message, output| {
        match message {
            b"drop" => {}
            b"ask" => output.reply(b"answered"),
            b"last" => output.finish(),
            b"cut" => output.reset(),
            message => {
                output.forward(message);
                output.forward(message);
            }
        }
        Ok(())
    });
    let mut offset = 0;
    let decoder = move |bytes: &[u8]| {
        let kept = bytes.iter().skip(offset % 2).step_by(2).copied().collect::<Vec<u8>>();
        offset += bytes.len();
        kept
    };
    Pair::default().encoder(Messages::new(LengthPrefix::new(4), encoder)).decoder(decoder)
}

/// A dialogue that is captured into `path`.
fn captured(path: &Path, legs: Legs) -> Dialogue {
    let mut options = PcapngOptions::default();
    options.legs = legs;
    let sink = PcapngSink::create(path, options).unwrap();
    Dialogue::with(|builder| builder.codec(meddle).sink(sink))
}

fn say(stream: &mut TcpStream, messages: &[&[u8]]) {
    for message in messages {
        stream.write_all(&(message.len() as u32).to_be_bytes()).unwrap();
        stream.write_all(message).unwrap();
    }
}

/// Ends a dialogue of which both sides have said much, but not that they are done.
fn talk(dialogue: &mut Dialogue) {
    let long = vec![b'x'; 100_000];
    say(&mut dialogue.client, &[b"hello", b"drop", b"ask", &long]);
    let told = 2 * (4 + 5) + 2 * (4 + long.len());
    let mut heard = vec![0; told];
    dialogue.server.read_exact(&mut heard).unwrap();
    dialogue.server.write_all(&vec![b'y'; 200_000]).unwrap();
    let mut heard = vec![0; 4 + 8 + 100_000];
    dialogue.client.read_exact(&mut heard).unwrap();
}

/// Where the tunnel's own connection to the server comes from.
fn local(events: &Events) -> String {
    let found = events.wait_for(|event| matches!(event.kind, EventKind::Connected(_)));
    let EventKind::Connected(connected) = found.kind else { unreachable!() };
    let Connected { local, .. } = &*connected;
    local.to_string()
}

/// Holds the capture of a finished dialogue against what its events say; what it expects of the
/// streams is up to how the dialogue ended.
fn check(path: &Path, legs: Legs, client: &str, events: &Events, expect: Expect) {
    let streams = if legs == Legs::Both { 2 } else { 1 };
    let expect = Expect { streams: Some(streams), ..expect };
    let judged = judge(path, expect).unwrap_or_else(|bad| panic!("{legs:?}: {bad:#?}"));
    let bytes = |direction, leg| events.bytes(1, direction, leg);
    let shown = |client: &str| follow(path, judged.stream_of(client));
    let said = (bytes(ClientToServer, Received), bytes(ServerToClient, Received));
    if legs == Legs::Direct {
        assert!(shown(client) == said);
        return;
    }
    assert!(shown(client) == (said.0, bytes(ServerToClient, Sent)));
    assert!(shown(&local(events)) == (bytes(ClientToServer, Sent), said.1));
}

/// Talks, ends by `end`, and checks the capture.
fn run(expect: Expect, end: impl Fn(&mut Dialogue)) {
    for legs in [Legs::Both, Legs::Direct] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.pcapng");
        let mut dialogue = captured(&path, legs);
        let client = dialogue.client.local_addr().unwrap().to_string();
        talk(&mut dialogue);
        end(&mut dialogue);
        let (_, events) = dialogue.close();
        check(&path, legs, &client, &events, expect);
    }
}

#[test]
fn both_legs_are_perfect_though_lengths_differ() {
    run(Expect { completeness: Some(FULL), ..Expect::default() }, |dialogue| {
        dialogue.client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest_of(&mut dialogue.server), b"");
        dialogue.server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest_of(&mut dialogue.client), b"");
    });
}

#[test]
fn both_legs_are_perfect_when_the_transform_ends_a_direction() {
    run(Expect { completeness: Some(FULL), ..Expect::default() }, |dialogue| {
        say(&mut dialogue.client, &[b"last", b"into the void"]);
        assert_eq!(rest_of(&mut dialogue.server), b"");
        dialogue.server.write_all(b"bye").unwrap();
        dialogue.server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest_of(&mut dialogue.client), b"be");
        dialogue.client.shutdown(Shutdown::Write).unwrap();
    });
}

#[test]
fn both_legs_are_perfect_when_the_transform_resets() {
    let expect = Expect { allow_rst: true, completeness: Some(47), ..Expect::default() };
    run(expect, |dialogue| {
        say(&mut dialogue.client, &[b"cut"]);
        assert!(dialogue.server.read(&mut [0; 1]).is_err());
    });
}
