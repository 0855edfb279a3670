//! Whatever two peers do, the events of it keep the contract, and both hear what was said.

use std::net::TcpListener;

use proptest::prelude::*;
use tcp_tunn::event::{CloseReason, Direction, Leg, Side};

use crate::support::events::{Events, check_contract};
use crate::support::talker::{Step, Talker, talk};
use crate::support::tunnel::Running;

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
