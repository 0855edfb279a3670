//! Whatever two peers, the sinks and the clock do, in any order: the event contract and the relay
//! contract hold.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use crate::event::{CloseReason, Direction, Leg, Side};
use crate::relay::{Action, Actions, Emit, Fault, Input, Relay, Timeouts};

const SIDES: [Side; 2] = [Side::Client, Side::Server];
const TIMEOUTS: Timeouts =
    Timeouts { idle: Some(Duration::from_secs(300)), half_close: Duration::from_secs(60) };

/// One peer, and what was asked of its socket.
#[derive(Default)]
struct Peer {
    /// What was read of what it said.
    said: Vec<u8>,
    /// What it was sent.
    heard: Vec<u8>,
    /// What it is being sent, and has not taken yet.
    writing: Bytes,
    is_read: bool,
    is_watched: bool,
    is_measured: bool,
    has_ended: bool,
    has_reset: bool,
    /// What the machine did to it.
    was_shut: bool,
    was_reset: bool,
}

/// The world around one machine.
struct World {
    relay: Relay<Bytes>,
    now: Duration,
    out: Actions<Bytes>,
    peers: [Peer; 2],
    is_connecting: bool,
    /// Data that the sinks have not taken.
    recording: Vec<(Direction, Leg)>,
    emitted: Vec<Emit<Bytes>>,
}

impl World {
    fn new() -> Self {
        let mut out = Actions::new();
        let relay = Relay::new(TIMEOUTS, Duration::ZERO, &mut out);
        let mut world = Self {
            relay,
            now: Duration::ZERO,
            out,
            peers: [Peer::default(), Peer::default()],
            is_connecting: false,
            recording: Vec::new(),
            emitted: Vec::new(),
        };
        world.perform();
        world
    }

    fn give(&mut self, input: Input<Bytes>) {
        self.relay.handle(input, self.now, &mut self.out);
        self.perform();
    }

    /// Notes what is asked, and that nobody could ask it of a real socket twice or too late.
    fn perform(&mut self) {
        while let Some(action) = self.out.pop_front() {
            if let Action::Read { from: side }
            | Action::Write { to: side, .. }
            | Action::ShutDown { side }
            | Action::Reset { side }
            | Action::Watch { side }
            | Action::Measure { side } = action
            {
                assert!(!self.peers[side as usize].was_reset, "{action:?} after a reset");
            }
            match action {
                Action::Connect => self.is_connecting = true,
                Action::GiveUpConnect => self.is_connecting = false,
                Action::Read { from } => {
                    let peer = &mut self.peers[from as usize];
                    assert!(!peer.is_read, "two reads at a time");
                    assert!(!peer.has_ended, "a read after the end");
                    peer.is_read = true;
                }
                Action::Write { to, payload } => {
                    let peer = &mut self.peers[to as usize];
                    assert!(peer.writing.is_empty(), "two writes at a time");
                    assert!(!peer.was_shut, "a write after FIN");
                    assert!(!payload.is_empty(), "a write of nothing");
                    peer.writing = payload;
                }
                Action::ShutDown { side } => {
                    let peer = &mut self.peers[side as usize];
                    assert!(peer.writing.is_empty(), "FIN before what was said");
                    assert!(!peer.was_shut, "two FINs");
                    peer.was_shut = true;
                }
                Action::Reset { side } => {
                    self.peers[side as usize].was_reset = true;
                    self.peers[side as usize].writing = Bytes::new();
                }
                Action::Watch { side } => self.peers[side as usize].is_watched = true,
                Action::Measure { side } => self.peers[side as usize].is_measured = true,
                Action::Transform { .. } => panic!("there is no transform"),
                Action::Emit(event) => self.emit(event),
            }
        }
    }

    fn emit(&mut self, event: Emit<Bytes>) {
        let is_close = |event: &Emit<Bytes>| matches!(event, Emit::Close { .. });
        assert!(!self.emitted.iter().any(is_close), "{event:?} after Close");
        if let Emit::Data { direction, leg, .. } = event {
            self.recording.push((direction, leg));
        }
        self.emitted.push(event);
    }

    /// All that may happen now.
    fn possible(&self) -> Vec<Event> {
        let mut possible = vec![Event::Time];
        if self.is_connecting {
            possible.extend([Event::Connected, Event::Refused]);
        }
        possible.extend((0..self.recording.len()).map(Event::Recorded));
        for side in SIDES {
            let peer = &self.peers[side as usize];
            if peer.was_reset {
                continue;
            }
            if peer.is_read && !peer.has_reset && !peer.has_ended {
                possible.extend([Event::Says(side), Event::Ends(side)]);
            }
            if peer.is_read || peer.is_watched {
                possible.push(Event::Resets(side));
            }
            if !peer.writing.is_empty() {
                possible.extend([Event::Takes(side), Event::Refuses(side)]);
            }
            if peer.is_measured {
                possible.extend([Event::Left(side, 3), Event::Left(side, 0)]);
            }
        }
        possible
    }

    fn happen(&mut self, event: Event, size: u8) {
        let size = usize::from(size % 7) + 1;
        match event {
            Event::Connected => {
                self.is_connecting = false;
                self.give(Input::Connected { transformed: [false; 2], opening: Vec::new() });
            }
            Event::Refused => {
                self.is_connecting = false;
                self.give(Input::ConnectFailed {
                    reason: CloseReason::Refused,
                    is_answered: false,
                });
            }
            Event::Recorded(index) => {
                let (direction, leg) = self.recording.remove(index);
                self.give(Input::Recorded { direction, leg });
            }
            Event::Says(from) => {
                let peer = &mut self.peers[from as usize];
                let start = peer.said.len();
                let bytes: Vec<u8> = (start..start + size).map(|byte| byte as u8).collect();
                peer.said.extend_from_slice(&bytes);
                peer.is_read = false;
                self.give(Input::Read { from, payload: bytes.into() });
            }
            Event::Ends(from) => {
                self.peers[from as usize].is_read = false;
                self.peers[from as usize].has_ended = true;
                self.give(Input::Ended { from });
            }
            Event::Resets(side) => {
                let peer = &mut self.peers[side as usize];
                (peer.is_read, peer.is_watched, peer.has_reset) = (false, false, true);
                self.give(Input::Failed { side, fault: Fault::Reset });
            }
            Event::Takes(to) => {
                let peer = &mut self.peers[to as usize];
                let taken = peer.writing.split_to(size.min(peer.writing.len()));
                peer.heard.extend_from_slice(&taken);
                self.give(Input::Wrote { to, len: taken.len() });
            }
            Event::Refuses(side) => {
                self.peers[side as usize].writing = Bytes::new();
                self.give(Input::WriteFailed { side, fault: Fault::Reset });
            }
            Event::Left(side, bytes) => {
                self.peers[side as usize].is_measured = false;
                self.give(Input::Unacknowledged { side, bytes });
            }
            Event::Time => {
                self.now += Duration::from_millis(size as u64);
                self.give(Input::TimePassed);
            }
        }
        self.check();
    }

    /// What holds at any time.
    fn check(&self) {
        for side in SIDES {
            let (sender, receiver) = (&self.peers[side as usize], &self.peers[!side as usize]);
            assert!(sender.said.starts_with(&receiver.heard), "bytes changed on their way");
            assert!(!receiver.was_shut || sender.has_ended, "a FIN that nobody sent");
        }
        if let Some(deadline) = self.relay.deadline()
            && deadline <= self.now
        {
            // Asked for is an answer, which the driver has at once.
            assert!(self.peers.iter().any(|peer| peer.is_measured), "a deadline not served");
        }
    }

    /// Lets everything end: sinks take all, peers take and end.
    fn wind_up(&mut self) {
        for _ in 0..10_000 {
            if self.relay.is_closed() {
                return;
            }
            let possible = self.possible();
            let next = possible.iter().copied().find(|event| {
                matches!(
                    event,
                    Event::Connected
                        | Event::Recorded(_)
                        | Event::Takes(_)
                        | Event::Ends(_)
                        | Event::Left(_, 0)
                )
            });
            match next {
                Some(event) => self.happen(event, 6),
                None => {
                    let deadline = self.relay.deadline();
                    self.now = deadline.expect("it waits for ever for nothing").max(self.now);
                    self.give(Input::TimePassed);
                }
            }
        }
        panic!("it does not end");
    }

    /// What holds when it is over.
    fn check_end(&self) {
        let Some(Emit::Close { reason, totals }) = self.emitted.last() else {
            panic!("no Close: {:?}", self.emitted)
        };
        for side in SIDES {
            let (sender, receiver) = (&self.peers[side as usize], &self.peers[!side as usize]);
            let totals = totals.get(Direction::from(side));
            // What a peer says while it is about to be reset is nobody's any more.
            assert!(totals.received <= sender.said.len() as u64);
            if reason.is_clean() {
                assert_eq!(sender.said, receiver.heard, "bytes lost at a clean end");
                assert_eq!(totals.sent, totals.received);
                assert_eq!(totals.received, sender.said.len() as u64);
                assert!(sender.was_shut && !sender.was_reset);
            }
        }
        if !reason.is_clean() {
            assert!(self.peers[Side::Client as usize].was_reset, "an end that looks clean");
        }
        self.check_events();
    }

    fn check_events(&self) {
        let mut offsets = [[0_u64; 2]; 2];
        let mut ended = [false; 2];
        let (mut connected, mut closed) = (0, 0);
        for event in &self.emitted {
            match event {
                Emit::Connected => connected += 1,
                Emit::Data { direction, leg, offset, payload } => {
                    assert!(connected == 1 && !ended[*direction as usize], "{:?}", self.emitted);
                    let expected = &mut offsets[*direction as usize][*leg as usize];
                    assert_eq!(offset, expected);
                    *expected += payload.len() as u64;
                }
                Emit::Shutdown { direction, totals } => {
                    assert!(!std::mem::replace(&mut ended[*direction as usize], true));
                    let [received, sent] = offsets[*direction as usize];
                    assert_eq!((totals.received, totals.sent), (received, sent));
                }
                Emit::Event(_) => panic!("there is no transform"),
                Emit::Close { .. } => closed += 1,
            }
        }
        assert!(connected <= 1 && closed == 1, "{:?}", self.emitted);
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Connected,
    Refused,
    Recorded(usize),
    Says(Side),
    Ends(Side),
    Resets(Side),
    Takes(Side),
    Refuses(Side),
    Left(Side, usize),
    Time,
}

impl Event {
    /// Ends come seldom, or no dialogue would get anywhere.
    const fn is_rare(self) -> bool {
        matches!(self, Self::Refused | Self::Ends(_) | Self::Resets(_) | Self::Refuses(_))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_interleaving_keeps_the_contracts(
        choices in prop::collection::vec((any::<u8>(), any::<u8>()), 0..120),
        abrupt in any::<bool>(),
    ) {
        let mut world = World::new();
        for (choice, size) in choices {
            let mut possible = world.possible();
            if size % 16 != 0 {
                possible.retain(|event| !event.is_rare());
            }
            let event = possible[usize::from(choice) % possible.len()];
            world.happen(event, size);
            if world.relay.is_closed() {
                break;
            }
        }
        if abrupt {
            world.give(Input::ShutdownAsked);
        }
        world.wind_up();
        world.check_end();
    }

    #[test]
    fn bytes_before_a_reset_arrive_at_a_peer_that_reads(
        choices in prop::collection::vec((any::<u8>(), any::<u8>()), 0..60),
        side in prop_oneof![Just(Side::Client), Just(Side::Server)],
    ) {
        let mut world = World::new();
        world.happen(Event::Connected, 0);
        for (choice, size) in choices {
            let mut possible = world.possible();
            possible.retain(|event| !event.is_rare());
            world.happen(possible[usize::from(choice) % possible.len()], size);
        }
        while !world.peers[side as usize].is_read {
            let mut possible = world.possible();
            possible.retain(|event| matches!(event, Event::Recorded(_) | Event::Takes(_)));
            world.happen(possible[0], 6);
        }
        world.happen(Event::Resets(side), 0);
        world.wind_up();
        world.check_end();
        prop_assert_eq!(&world.peers[side as usize].said, &world.peers[!side as usize].heard);
        prop_assert!(world.peers[!side as usize].was_reset);
    }
}
