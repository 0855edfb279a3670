//! Where the time of a connection goes: what happens goes in, a [`Verdict`] comes out.
//!
//! A [`Judge`] is pure and keeps a few numbers for each connection, however long it lives. It
//! attributes each moment by four rules:
//!
//! 1. While a sink has no room, that sink holds everything up.
//! 2. Until the server is reached, the connection is connecting.
//! 3. While bytes were received and not sent on, the receiver holds the transfer up: its window or
//!    the network to it. The kernel's own accounts of the receiver's socket tell the two apart.
//! 4. Else nothing is under way, and the next bytes tell whom everybody waited for: their sender.
//!    Where the same side goes on within [`PAUSE`], it was a slow transfer. Where no bytes follow,
//!    the tunnel waited for the server if the client's last bytes had no answer, and else for the
//!    client, or, after one side had ended, for the other to close.

use std::time::Duration;

use crate::event::{
    Bound, Direction, Event, EventKind, Leg, Phase, Request, Side, TcpInfo, TimeSpent, Timestamp,
    Verdict, View,
};

/// A side that goes on after a shorter silence than this was sending slowly; after a longer one,
/// it was waited for.
pub const PAUSE: Duration = Duration::from_millis(500);

/// Waits that are shorter in sum need no explanation by the kernel's accounts.
const WORTH_EXPLAINING: Duration = Duration::from_millis(1);
/// So many bytes at a time may fill the kernel's buffers, so that they are sent on and still far
/// from the receiver.
const BULK: u64 = 128 << 10;
/// So much of what the kernel was busy with is more than late acknowledgments.
const BUSY_UNSEEN: Duration = Duration::from_millis(250);
/// Shorter round trips explain no pause.
const ROUND_TRIP_FELT: Duration = Duration::from_millis(2);
/// The network loses segments where one in this many comes out of order.
const SEGMENTS_PER_LOSS: u64 = 1000;

/// What the kernel knows of a socket, as far as a verdict needs it.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// How long something was on its way to the peer.
    busy: Duration,
    /// Of this, how long the peer's receive window was full.
    window_full: Duration,
    /// The round trip, of what the tunnel sent.
    round_trip: Duration,
    /// Segments with data that came.
    segments: u64,
    /// Of these, how many came out of order.
    out_of_order: u64,
}

impl From<&TcpInfo> for Account {
    fn from(tcp: &TcpInfo) -> Self {
        Self {
            busy: tcp.busy.unwrap_or_default(),
            window_full: tcp.rwnd_limited.unwrap_or_default(),
            round_trip: tcp.rtt.unwrap_or_default(),
            segments: tcp.data_segments.unwrap_or_default(),
            out_of_order: tcp.out_of_order.unwrap_or_default(),
        }
    }
}

/// What is under way in one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    /// Bytes were received that were not sent on yet.
    is_under_way: bool,
    ended: bool,
    /// Bytes received.
    received: u64,
    /// How many times this direction's sender began to speak.
    turns: u64,
    /// How long bytes were under way.
    sending: Duration,
    /// How long, in how many pauses, the sender was slow to go on.
    pausing: Duration,
    pauses: u32,
}

/// What the client said last, until it is answered.
#[derive(Clone, Copy, Debug)]
struct Asked {
    offset: u64,
    /// When the server had all of it.
    at: Timestamp,
}

/// Watches one connection, and judges it at its end.
///
/// The times that it is told must not decrease; one that does counts as the latest so far.
#[derive(Clone, Debug)]
pub struct Judge {
    /// Up to when time was attributed.
    now: Timestamp,
    is_connected: bool,
    /// By direction.
    flows: [Flow; 2],
    /// Which direction's bytes are under way longest, where any are.
    first: Option<Direction>,
    /// For how many sinks' room is waited.
    sinks: u32,
    /// How long nothing was under way since something was.
    silence: Duration,
    speaker: Option<Side>,
    asked: Option<Asked>,
    spent: TimeSpent,
    requests: u64,
    /// The longest first.
    slowest: Vec<Request>,
    /// By side.
    accounts: [Option<Account>; 2],
}

impl Judge {
    /// A client was accepted.
    pub fn new(at: Timestamp) -> Self {
        Self {
            now: at,
            is_connected: false,
            flows: Default::default(),
            first: None,
            sinks: 0,
            silence: Duration::ZERO,
            speaker: None,
            asked: None,
            spent: TimeSpent::default(),
            requests: 0,
            slowest: Vec::new(),
            accounts: [None; 2],
        }
    }

    /// Takes an event of the connection. What happens to the wire counts, and nothing else: a
    /// view of it happens at the same time.
    pub fn event(&mut self, event: &Event) {
        let at = event.time;
        match &event.kind {
            EventKind::Connected(_) => self.connected(at),
            EventKind::Data { direction, leg, view: View::Wire, bytes, .. } => {
                self.data(at, *direction, *leg, bytes.len());
            }
            EventKind::Shutdown { direction, view: View::Wire, .. } => self.ended(at, *direction),
            EventKind::Info(info) => self.account(info.leg, &info.tcp),
            _ => {}
        }
    }

    /// The server was reached.
    pub fn connected(&mut self, at: Timestamp) {
        self.advance(at);
        self.is_connected = true;
    }

    /// Bytes passed a leg.
    pub fn data(&mut self, at: Timestamp, direction: Direction, leg: Leg, len: usize) {
        match leg {
            Leg::Received => self.received(at, direction, len),
            Leg::Sent => self.sent(at, direction),
        }
    }

    fn received(&mut self, at: Timestamp, direction: Direction, len: usize) {
        self.advance(at);
        let sender = direction.sender();
        let goes_on = self.speaker == Some(sender);
        self.waited_for(sender, goes_on);
        let flow = &mut self.flows[direction as usize];
        let offset = flow.received;
        flow.received += len as u64;
        flow.turns += u64::from(!goes_on);
        self.speaker = Some(sender);
        match (sender, self.asked) {
            (Side::Client, Some(Asked { offset, .. })) => self.asked = Some(Asked { offset, at }),
            (Side::Client, None) => self.asked = Some(Asked { offset, at }),
            (Side::Server, Some(asked)) => self.answered(asked),
            (Side::Server, None) => {}
        }
        self.begin(direction);
    }

    fn sent(&mut self, at: Timestamp, direction: Direction) {
        self.idle(at, direction);
        if let (Direction::ClientToServer, Some(asked)) = (direction, &mut self.asked) {
            asked.at = self.now;
        }
    }

    /// What was received in a direction is done with: sent on, or kept by a transform.
    pub fn idle(&mut self, at: Timestamp, direction: Direction) {
        if !self.flows[direction as usize].is_under_way {
            return;
        }
        self.advance(at);
        self.flows[direction as usize].is_under_way = false;
        if self.first == Some(direction) {
            self.first = Some(!direction).filter(|other| self.flows[*other as usize].is_under_way);
        }
    }

    fn begin(&mut self, direction: Direction) {
        self.flows[direction as usize].is_under_way = true;
        self.first.get_or_insert(direction);
    }

    /// A sink has no room.
    pub fn sink_is_full(&mut self, at: Timestamp) {
        self.advance(at);
        self.sinks += 1;
    }

    /// That sink has room again.
    pub fn sink_has_room(&mut self, at: Timestamp) {
        self.advance(at);
        self.sinks = self.sinks.saturating_sub(1);
    }

    /// The sender of a direction is done.
    pub fn ended(&mut self, at: Timestamp, direction: Direction) {
        self.advance(at);
        self.nobody_spoke(Some(direction.sender()));
        self.flows[direction as usize].ended = true;
    }

    /// Whether what the kernel knows of the socket to `side` would make a difference, so that it
    /// should be asked before the end.
    pub fn needs_account(&mut self, at: Timestamp, side: Side) -> bool {
        self.advance(at);
        let (from, to) = (Direction::from(side), Direction::from(!side));
        let [from, to] = [from, to].map(|direction| &self.flows[direction as usize]);
        to.sending + from.pausing >= WORTH_EXPLAINING || to.is_bulk()
    }

    /// What the kernel knows of the socket to `side`, as late as possible.
    pub fn account(&mut self, side: Side, tcp: &TcpInfo) {
        self.accounts[side as usize] = Some(tcp.into());
    }

    /// The connection has ended.
    pub fn closed(mut self, at: Timestamp) -> Verdict {
        self.advance(at);
        self.nobody_spoke(None);
        for side in [Side::Client, Side::Server] {
            self.explain_pauses(side);
            self.explain_sending(side);
        }
        let mut verdict = Verdict::new(self.spent);
        verdict.requests = self.requests;
        verdict.slowest = self.slowest;
        verdict
    }

    /// Attributes the time up to `at`.
    fn advance(&mut self, at: Timestamp) {
        let passed = Duration::from_nanos(at.nanos_since(self.now));
        self.now = self.now.max(at);
        if self.sinks > 0 {
            *self.spent.get_mut(Phase::Transferring(Bound::Sinks)) += passed;
        } else if !self.is_connected {
            *self.spent.get_mut(Phase::Connecting) += passed;
        } else if let Some(direction) = self.first {
            self.flows[direction as usize].sending += passed;
        } else {
            self.silence += passed;
        }
    }

    /// The silence is over: `side` speaks, who has spoken last or not.
    fn waited_for(&mut self, side: Side, goes_on: bool) {
        let silence = std::mem::take(&mut self.silence);
        if goes_on && silence < PAUSE {
            let flow = &mut self.flows[Direction::from(side) as usize];
            flow.pausing += silence;
            flow.pauses = flow.pauses.saturating_add(u32::from(!silence.is_zero()));
        } else {
            *self.spent.get_mut(Phase::WaitingFor(side)) += silence;
        }
    }

    /// The silence is over, and no bytes follow; `ending` is done.
    fn nobody_spoke(&mut self, ending: Option<Side>) {
        let [client, server] = self.flows.map(|flow| flow.ended);
        let owes_answer = self.speaker == Some(Side::Client) && !server;
        if let Some(side) = ending
            && self.speaker == Some(side)
            && !(client || server || owes_answer)
            && self.silence < PAUSE
        {
            return self.waited_for(side, true);
        }
        let silence = std::mem::take(&mut self.silence);
        let phase = match owes_answer {
            true => Phase::WaitingFor(Side::Server),
            false if client || server => Phase::Closing,
            false => Phase::WaitingFor(Side::Client),
        };
        *self.spent.get_mut(phase) += silence;
    }

    fn answered(&mut self, asked: Asked) {
        self.asked = None;
        self.requests += 1;
        let answered_after = Duration::from_nanos(self.now.nanos_since(asked.at));
        let request = Request::new(asked.offset, answered_after);
        let place = self.slowest.partition_point(|other| other.answered_after >= answered_after);
        if place < Verdict::SLOWEST_MAX {
            self.slowest.truncate(Verdict::SLOWEST_MAX - 1);
            self.slowest.insert(place, request);
        }
    }

    /// Tells why `side` was slow to go on.
    fn explain_pauses(&mut self, side: Side) {
        let Flow { pausing, pauses, .. } = self.flows[Direction::from(side) as usize];
        let is_network = self.accounts[side as usize].is_some_and(|account| {
            let loses = account.out_of_order * SEGMENTS_PER_LOSS > account.segments;
            let round_trip = account.round_trip;
            loses || round_trip >= ROUND_TRIP_FELT && pausing <= round_trip * 2 * pauses
        });
        let bound = if is_network { Bound::Network(side) } else { Bound::Sender(side) };
        *self.spent.get_mut(Phase::Transferring(bound)) += pausing;
    }

    /// Tells why it took time to send to `side`.
    fn explain_sending(&mut self, side: Side) {
        let flow = self.flows[Direction::from(!side) as usize];
        let account = self.accounts[side as usize];
        let unseen = account.map(|account| account.busy.saturating_sub(flow.sending));
        let unseen = unseen.filter(|unseen| flow.is_bulk() && *unseen >= BUSY_UNSEEN);
        let sending = flow.sending + self.take_back(side, unseen.unwrap_or_default());
        let by_window = match account {
            Some(Account { busy, window_full, .. }) if !busy.is_zero() => {
                let share = window_full.as_secs_f64() / busy.as_secs_f64();
                sending.mul_f64(share.min(1.0)).min(sending)
            }
            // Of a unix socket nothing more is known; there is no network.
            _ => sending,
        };
        *self.spent.get_mut(Phase::Transferring(Bound::Window(side))) += by_window;
        let by_network = sending.saturating_sub(by_window);
        *self.spent.get_mut(Phase::Transferring(Bound::Network(side))) += by_network;
    }

    /// Takes time in which the kernel still delivered to `side` from what passed for waiting.
    fn take_back(&mut self, side: Side, unseen: Duration) -> Duration {
        let mut left = unseen;
        for phase in [Phase::WaitingFor(side), Phase::Closing] {
            let waited = self.spent.get_mut(phase);
            let taken = left.min(*waited);
            *waited -= taken;
            left -= taken;
        }
        unseen - left
    }
}

impl Flow {
    /// Whether its sender said so much at a time that buffers matter.
    const fn is_bulk(&self) -> bool {
        self.turns > 0 && self.received / self.turns >= BULK
    }
}

#[cfg(test)]
mod tests;
