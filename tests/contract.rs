//! Whatever two peers do, the events of it keep the contract, and both hear what was said.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;

use proptest::prelude::*;
use tcp_tunn::event::{CloseReason, Direction, Leg, Side};

use crate::support::bytes::bytes;
use crate::support::end::{patient, reset};
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

#[derive(Clone, Debug)]
enum Step {
    Say(Side, usize),
    Finish(Side),
    Reset(Side),
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Client), Just(Side::Server)]
}

/// Mostly small talk, at times enough for the largest buffers.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 1..200_usize, 4 => 200..20_000_usize, 1 => 20_000..2_000_000_usize]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (side(), length()).prop_map(|(side, len)| Step::Say(side, len)),
        2 => side().prop_map(Step::Finish),
        1 => side().prop_map(Step::Reset),
    ]
}

/// One end, which always listens, so that no talk is stuck.
struct Talker {
    stream: Option<TcpStream>,
    hearing: JoinHandle<Vec<u8>>,
    said: Vec<u8>,
    finished: bool,
}

impl Talker {
    fn new(stream: TcpStream) -> Self {
        let mut reader = patient(stream.try_clone().unwrap());
        let hearing = std::thread::spawn(move || {
            let mut heard = Vec::new();
            // What came before an error counts too.
            let _ = reader.read_to_end(&mut heard);
            heard
        });
        Self { stream: Some(patient(stream)), hearing, said: Vec::new(), finished: false }
    }

    fn say(&mut self, len: usize) {
        if let Some(stream) = self.stream.as_mut().filter(|_| !self.finished) {
            let bytes = bytes(self.said.len() as u64 + 1, len);
            self.said.extend_from_slice(&bytes);
            // The other may have reset the connection.
            let _ = stream.write_all(&bytes);
        }
    }

    fn finish(&mut self) {
        self.finished = true;
        if let Some(stream) = &self.stream {
            let _ = stream.shutdown(Shutdown::Write);
        }
    }

    fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            // The reader holds the socket open: what it reads is to fail.
            let _ = stream.shutdown(Shutdown::Read);
            reset(stream);
        }
    }

    /// What it said and heard.
    fn end(mut self) -> (Vec<u8>, Vec<u8>) {
        self.finish();
        let heard = self.hearing.join().unwrap();
        (self.said, heard)
    }
}

fn talk(steps: &[Step], client: Talker, server: Talker) -> [(Vec<u8>, Vec<u8>); 2] {
    let mut ends = [client, server];
    for step in steps {
        match *step {
            Step::Say(side, len) => ends[side as usize].say(len),
            Step::Finish(side) => ends[side as usize].finish(),
            Step::Reset(side) => ends[side as usize].reset(),
        }
    }
    ends.iter_mut().for_each(Talker::finish);
    ends.map(Talker::end)
}

fn check_bytes(events: &Events, said: &[u8], heard: &[u8], direction: Direction, clean: bool) {
    let received = events.bytes(1, direction, Leg::Received);
    let sent = events.bytes(1, direction, Leg::Sent);
    assert!(said.starts_with(&received) && received.starts_with(&sent), "{direction:?}");
    assert!(said.starts_with(heard), "{direction:?}");
    if clean {
        assert!(heard == said && sent == said, "{direction:?}: {} of {}", heard.len(), said.len());
    }
}

fn hold(steps: &[Step]) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (tunnel, events) = Running::recorded(listener.local_addr().unwrap());
    let client = Talker::new(tunnel.connect());
    let server = Talker::new(listener.accept().unwrap().0);
    let [(client_said, client_heard), (server_said, server_heard)] = talk(steps, client, server);
    let close = events.wait_for_close();
    tunnel.stop();
    check_contract(&events.all());
    let clean = !steps.iter().any(|step| matches!(step, Step::Reset(_)));
    assert!(!clean || close.is_clean(), "{close:?}");
    let expected = |by| steps.iter().any(|step| matches!(step, Step::Reset(side) if *side == by));
    assert!(!matches!(close, CloseReason::Reset { by } if !expected(by)), "{close:?}");
    check_bytes(&events, &client_said, &server_heard, Direction::ClientToServer, clean);
    check_bytes(&events, &server_said, &client_heard, Direction::ServerToClient, clean);
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_dialogue_keeps_the_contract(steps in prop::collection::vec(step(), 0..20)) {
        hold(&steps);
    }
}
