//! Records what passes through one connection: counts it, and gives it to the sinks.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::counters::Passed;
use super::sampling::Sampling;
use super::shared::Worker;
use super::tcp_info;
use crate::event::{Connected, Direction, EventKind, Info, Leg, Process, Side, Timestamp, View};
use crate::net::{Chunk, Socket};
use crate::relay::{Emit, Input};
use crate::sink::{self, ConnectionRecorder, SkippedSinks};
use crate::verdict::Judge;

/// Data that waits for room in a sink's queue.
struct Pending {
    time: Timestamp,
    chunk: sink::Chunk,
    as_received: Option<SkippedSinks>,
    done: Pin<Box<dyn Future<Output = SkippedSinks>>>,
}

/// What will tell the client's program, if that is looked for.
pub(super) type Finding = Option<oneshot::Receiver<Process>>;

/// The way from a connection to the counters and the sinks.
pub(super) struct Recording<'a> {
    worker: &'a Worker,
    tap: &'a Rc<ConnectionRecorder>,
    passed: &'a Arc<Passed>,
    connected: Option<Arc<Connected>>,
    /// By direction, then leg.
    waiting: [[Option<Pending>; 2]; 2],
    /// What was received last in each direction, and which sinks missed it.
    received: [(Option<Identity>, SkippedSinks); 2],
    /// Whether `Close` was recorded.
    closed: &'a Cell<bool>,
    /// Where some sink wants to know where the time goes.
    judge: Option<Judge>,
    finding: Finding,
    /// Where some sink asks for what the kernel knows.
    sampling: Option<Sampling>,
    /// Whether the last look was taken, by side, and which directions have ended.
    looked: [bool; 2],
    ended: [bool; 2],
}

/// Where bytes lie, by which the same chunk is known again at the other leg.
type Identity = (usize, usize);

impl<'a> Recording<'a> {
    pub(super) fn new(
        worker: &'a Worker,
        tap: &'a Rc<ConnectionRecorder>,
        passed: &'a Arc<Passed>,
        closed: &'a Cell<bool>,
        judge: Judge,
    ) -> Self {
        Self {
            judge: tap.wants_verdict().then_some(judge),
            worker,
            tap,
            passed,
            connected: None,
            waiting: Default::default(),
            received: Default::default(),
            closed,
            finding: None,
            sampling: None,
            looked: [false; 2],
            ended: [false; 2],
        }
    }

    /// The same, which will record the client's program when it is found.
    pub(super) fn finding(self, finding: Finding) -> Self {
        Self { finding, ..self }
    }

    /// Records the client's program if it was found.
    pub(super) fn poll_process(&mut self, context: &mut Context<'_>) {
        let Some(finding) = &mut self.finding else { return };
        if let Poll::Ready(found) = Pin::new(finding).poll(context) {
            self.finding = None;
            if let Ok(process) = found {
                let now = self.worker.shared.clock.now().time;
                self.tap.lifecycle(now, EventKind::Process(process));
            }
        }
    }

    /// Keeps what `Connected` will tell.
    pub(super) fn set_connected(&mut self, connected: Connected) {
        self.connected = Some(Arc::new(connected));
    }

    /// Whether `Close` was recorded.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether any sink wants to see what passes.
    pub(super) fn sees_data(&self) -> bool {
        self.tap.wants(Leg::Received) || self.tap.wants(Leg::Sent)
    }

    /// Records bytes; says so at once where every sink has room.
    pub(super) fn data(
        &mut self,
        time: Timestamp,
        direction: Direction,
        leg: Leg,
        payload: &Chunk,
    ) -> Option<Input<Chunk>> {
        let offset = self.worker.counters().passed(self.passed, direction, leg, payload.len());
        if let Some(judge) = &mut self.judge {
            judge.data(time, direction, leg, payload.len());
        }
        let recorded = Input::Recorded { direction, leg };
        let Some(bytes) = payload.bytes().filter(|_| self.tap.wants(leg)) else {
            return Some(recorded);
        };
        let identity = (bytes.as_ptr() as usize, bytes.len());
        let as_received = self.as_received(direction, leg, identity);
        let chunk = sink::Chunk { direction, offset, bytes: bytes.clone() };
        match self.tap.data_now(time, leg, chunk, as_received) {
            Ok(missing) => {
                self.note(direction, leg, identity, missing);
                Some(recorded)
            }
            Err(chunk) => {
                if let Some(judge) = &mut self.judge {
                    judge.sink_is_full(time);
                }
                let (tap, waits) = (Rc::clone(self.tap), chunk.clone());
                let done = async move { tap.data(time, leg, waits, as_received).await };
                let pending = Pending { time, chunk, as_received, done: Box::pin(done) };
                self.waiting[direction as usize][leg as usize] = Some(pending);
                self.note(direction, leg, identity, SkippedSinks::default());
                None
            }
        }
    }

    /// Which sinks missed the same bytes when they were received, if they are the same.
    fn as_received(&self, direction: Direction, leg: Leg, same: Identity) -> Option<SkippedSinks> {
        let (received, missing) = self.received[direction as usize];
        (leg == Leg::Sent && received == Some(same)).then_some(missing)
    }

    fn note(&mut self, direction: Direction, leg: Leg, identity: Identity, missing: SkippedSinks) {
        if leg == Leg::Received {
            self.received[direction as usize] = (Some(identity), missing);
        }
    }

    /// What was recorded after a wait.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Option<Input<Chunk>> {
        for direction in [Direction::ClientToServer, Direction::ServerToClient] {
            for leg in [Leg::Received, Leg::Sent] {
                let waiting = &mut self.waiting[direction as usize][leg as usize];
                let Some(pending) = waiting else { continue };
                if let Poll::Ready(missing) = pending.done.as_mut().poll(context) {
                    *waiting = None;
                    if let Some(judge) = &mut self.judge {
                        judge.sink_has_room(self.worker.shared.clock.now().time);
                    }
                    if leg == Leg::Received {
                        self.received[direction as usize].1 = missing;
                    }
                    return Some(Input::Recorded { direction, leg });
                }
            }
        }
        None
    }

    /// Records what waits for a sink where there is room: it would be too late after the close.
    fn stop_waiting(&mut self) {
        for by_leg in &mut self.waiting {
            for (leg, waiting) in [Leg::Received, Leg::Sent].into_iter().zip(by_leg) {
                if let Some(Pending { time, chunk, as_received, done }) = waiting.take() {
                    drop(done);
                    self.tap.data_where_room(time, leg, chunk, as_received);
                }
            }
        }
    }

    /// Takes notice that nothing of a direction is under way.
    pub(super) fn idle(&mut self, time: Timestamp, direction: Direction) {
        if let Some(judge) = &mut self.judge {
            judge.idle(time, direction);
        }
    }

    /// Asks the kernel about both sockets now and at every sample, if some sink wants that.
    pub(super) fn begin_sampling(&mut self, client: &Socket, server: &Socket) {
        if self.tap.wants_info() {
            let sockets = [client.clone(), server.clone()];
            self.sampling = Some(Sampling::start(
                &self.worker.samples,
                self.tap,
                sockets,
                Arc::clone(self.passed),
            ));
        }
    }

    /// Whether the other direction has ended, so that the end of this one is that of all.
    pub(super) const fn is_last(&self, direction: Direction) -> bool {
        self.ended[direction.receiver() as usize]
    }

    /// Asks the kernel about the socket to `side` for the last time, if some sink wants that or it
    /// explains where the time went.
    pub(super) fn last_look(&mut self, time: Timestamp, side: Side, socket: Option<&Socket>) {
        self.sampling = None;
        let Some(socket) = socket.filter(|_| !self.looked[side as usize]) else { return };
        let wants_info = self.tap.wants_info();
        let explains = self.judge.as_mut().is_some_and(|judge| judge.needs_account(time, side));
        let Some(tcp) = (wants_info || explains).then(|| tcp_info::of(socket)).flatten() else {
            return;
        };
        self.looked[side as usize] = true;
        if let Some(judge) = &mut self.judge {
            judge.account(side, &tcp);
        }
        if wants_info {
            self.tap.lifecycle(time, EventKind::Info(Info::new(side, tcp).into()));
        }
    }

    /// Records where the time went.
    fn verdict(&mut self, time: Timestamp) {
        if let Some(judge) = self.judge.take() {
            self.tap.lifecycle(time, EventKind::Verdict(Arc::new(judge.closed(time))));
        }
    }

    /// Records what carries no bytes.
    pub(super) fn lifecycle(&mut self, time: Timestamp, event: Emit<Chunk>) {
        let kind = match event {
            Emit::Connected => match self.connected.take() {
                Some(connected) => {
                    if let Some(judge) = &mut self.judge {
                        judge.connected(time);
                    }
                    EventKind::Connected(connected)
                }
                None => return,
            },
            Emit::Shutdown { direction, totals } => {
                self.ended[direction.sender() as usize] = true;
                if let Some(judge) = &mut self.judge {
                    judge.ended(time, direction);
                }
                EventKind::Shutdown { direction, view: View::Wire, totals }
            }
            Emit::Close { reason, totals } => {
                self.stop_waiting();
                self.sampling = None;
                self.verdict(time);
                self.closed.set(true);
                tracing::debug!("connection {}: {reason}", self.tap.connection());
                EventKind::Close { reason, totals }
            }
            Emit::Event(kind) => kind,
            Emit::Data { .. } => return,
        };
        self.tap.lifecycle(time, kind);
    }
}
