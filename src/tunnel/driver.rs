//! Drives the relay of one connection over its sockets: performs what the relay asks for, and
//! tells it what came of it. Every decision is the relay's.

use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Sleep;

use super::clock::Moment;
use super::phases::Phase;
use super::reaching::{Reached, Unreached};
use super::recording::Recording;
use super::shared::Worker;
use super::transforming::Transforms;
use crate::event::{Direction, Side};
use crate::net::{self, Chunk, Io, PipePool, Reader, Socket, Write};
use crate::relay::{Action, Actions, Emit, Fault, Input, Payload, Relay, Timeouts};

impl Payload for Chunk {
    fn len(&self) -> usize {
        self.len()
    }
}

/// A future that the driver polls until it is done.
type Waiting<T> = Option<Pin<Box<dyn Future<Output = T>>>>;

const SIDES: [Side; 2] = [Side::Client, Side::Server];
/// So much is done for one connection before others have their turn.
const TURNS_MAX: usize = 32;

/// One side of the connection, and what is under way there.
#[derive(Default)]
struct Port {
    socket: Option<Socket>,
    reader: Option<Reader>,
    read: Operation,
    write: Option<Write>,
    write_waits: bool,
    failure: Waiting<Fault>,
}

/// A read that the relay asked for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Operation {
    #[default]
    None,
    /// To be tried.
    Due,
    /// Tried since the task was last woken: something will wake it.
    Waiting,
}

/// One connection and its relay.
pub(super) struct Driver<'a> {
    worker: &'a Rc<Worker>,
    relay: Relay<Chunk>,
    actions: Actions<Chunk>,
    /// By side.
    ports: [Port; 2],
    reaching: Waiting<Result<Reached, Unreached>>,
    transforms: Transforms<'a>,
    recording: Recording<'a>,
    timer: Option<Pin<Box<Sleep>>>,
    /// When the timer is due, if it is set.
    due: Option<std::time::Duration>,
    /// While others have their turn.
    yielding: Waiting<()>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        worker: &'a Rc<Worker>,
        recording: Recording<'a>,
        client: Option<Socket>,
        reaching: Pin<Box<dyn Future<Output = Result<Reached, Unreached>>>>,
        transforms: Transforms<'a>,
    ) -> Self {
        let limits = &worker.shared.limits;
        let timeouts =
            Timeouts { idle: limits.idle_timeout, half_close: limits.half_close_timeout };
        let mut actions = Actions::new();
        let now = worker.shared.clock.now();
        let relay = Relay::new(timeouts, now.elapsed, &mut actions);
        let client = Port { socket: client, ..Port::default() };
        let mut driver = Self {
            worker,
            relay,
            actions,
            ports: [client, Port::default()],
            reaching: Some(reaching),
            transforms,
            recording,
            timer: None,
            due: None,
            yielding: None,
        };
        driver.perform(now);
        driver
    }

    /// Drives the connection to its end, which it has recorded then.
    pub(super) async fn run(mut self) {
        let worker = Rc::clone(self.worker);
        let mut ending = pin!(worker.shared.phases.reached(Phase::Ending));
        let mut is_ending = false;
        std::future::poll_fn(|context| {
            if !is_ending && ending.as_mut().poll(context).is_ready() {
                is_ending = true;
                self.give(Input::ShutdownAsked);
            }
            self.poll(context)
        })
        .await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for port in &mut self.ports {
            port.write_waits = false;
            if port.read == Operation::Waiting {
                port.read = Operation::Due;
            }
        }
        if !self.relay.is_closed() {
            self.recording.poll_process(context);
        }
        for _ in 0..TURNS_MAX {
            if self.relay.is_closed() {
                return Poll::Ready(());
            }
            if let Some(yielding) = &mut self.yielding {
                if yielding.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.yielding = None;
            }
            let mut has_moved = self.poll_reaching(context);
            // A reset that fails a write lets a read of the same socket see a clean end.
            for side in SIDES {
                has_moved |= self.poll_write(side, context);
            }
            for side in SIDES {
                if self.poll_read(side, context) {
                    has_moved = true;
                    self.poll_write(!side, context);
                }
                has_moved |= self.poll_failure(side, context);
            }
            has_moved |= self.poll_recording(context);
            has_moved |= self.poll_time(context);
            if !has_moved {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells the relay what happened, and does what it then wants done.
    fn give(&mut self, input: Input<Chunk>) {
        let now = self.worker.shared.clock.now();
        self.give_at(input, now);
    }

    fn give_at(&mut self, input: Input<Chunk>, now: Moment) {
        self.relay.handle(input, now.elapsed, &mut self.actions);
        self.perform(now);
    }

    fn perform(&mut self, now: Moment) {
        while let Some(action) = self.actions.pop_front() {
            if let Some(input) = self.perform_one(action, now) {
                self.relay.handle(input, now.elapsed, &mut self.actions);
            }
        }
    }

    /// Performs an action; what came of it, if that is known at once.
    fn perform_one(&mut self, action: Action<Chunk>, now: Moment) -> Option<Input<Chunk>> {
        match action {
            // Begun before this.
            Action::Connect => {}
            Action::GiveUpConnect => self.reaching = None,
            Action::Read { from } => {
                self.recording.idle(now.time, from.into());
                self.ports[from as usize].read = Operation::Due;
            }
            // Nothing passes once everything is to end, such as for a sink that has failed.
            Action::Write { .. } if self.worker.shared.phases.get() >= Phase::Ending => {
                return Some(Input::ShutdownAsked);
            }
            Action::Write { to, payload } => {
                self.ports[to as usize].write = Some(Write::new(&self.worker.io, payload));
            }
            Action::ShutDown { side } => {
                let result = self.socket(side)?.shutdown_write();
                return result.err().map(|error| write_failed(side, &error));
            }
            Action::Reset { side } => {
                let port = &mut self.ports[side as usize];
                (port.read, port.write, port.failure) = (Operation::None, None, None);
                self.recording.idle(now.time, Direction::from(!side));
                self.last_look(side, now);
                self.socket(side)?.abort();
            }
            Action::Watch { side } => {
                let (io, socket) = (self.worker.io.clone(), self.socket(side)?.clone());
                let port = &mut self.ports[side as usize];
                port.failure.get_or_insert_with(|| Box::pin(failure(io, socket)));
            }
            Action::Measure { side } => {
                let bytes = self.socket(side).map_or(0, Socket::unacknowledged);
                return Some(Input::Unacknowledged { side, bytes });
            }
            Action::Transform { direction, payload } => {
                return Some(self.transforms.run(direction, payload.as_ref()));
            }
            Action::Emit(Emit::Data { direction, leg, payload, .. }) => {
                return self.recording.data(now.time, direction, leg, &payload);
            }
            Action::Emit(event) => {
                if let Emit::Close { reason, .. } = &event {
                    for event in self.transforms.last_words(reason.by()) {
                        self.recording.lifecycle(now.time, Emit::Event(event));
                    }
                    // One of them may panic as it goes, which is no clean end.
                    self.transforms.clear();
                }
                // A sink that shows the last FIN has to know by then.
                let is_end = match event {
                    Emit::Shutdown { direction, .. } => self.recording.is_last(direction),
                    _ => matches!(event, Emit::Close { .. }),
                };
                if is_end {
                    SIDES.into_iter().for_each(|side| self.last_look(side, now));
                }
                self.recording.lifecycle(now.time, event);
            }
        }
        None
    }

    fn socket(&self, side: Side) -> Option<&Socket> {
        self.ports[side as usize].socket.as_ref()
    }

    /// Keeps what the kernel knows of a socket before that is gone.
    fn last_look(&mut self, side: Side, now: Moment) {
        let socket = self.ports[side as usize].socket.as_ref();
        self.recording.last_look(now.time, side, socket);
    }

    fn poll_reaching(&mut self, context: &mut Context<'_>) -> bool {
        let Some(reaching) = &mut self.reaching else { return false };
        let Poll::Ready(reached) = reaching.as_mut().poll(context) else { return false };
        self.reaching = None;
        match reached {
            Ok(reached) => self.connected(reached),
            Err(Unreached { reason, is_answered }) => {
                self.give(Input::ConnectFailed { reason, is_answered });
            }
        }
        true
    }

    fn connected(&mut self, reached: Reached) {
        let Reached { client, server, connected, before } = reached;
        server.set_nodelay();
        self.recording.set_connected(connected);
        // From now on its reads tell.
        self.ports[Side::Client as usize].failure = None;
        self.ports[Side::Client as usize].socket = Some(client);
        self.ports[Side::Server as usize].socket = Some(server);
        let [client, server] = self.ports.each_ref().map(|port| port.socket.clone());
        let made = self.transforms.make();
        for (side, before) in SIDES.into_iter().zip(before) {
            let direction = Direction::from(side);
            let is_unseen = !self.recording.sees_data() && !self.transforms.has(direction);
            let pipes = is_unseen.then(|| self.worker.pipes.clone());
            self.make_reader(side, before, pipes);
        }
        let transformed =
            [Direction::ClientToServer, Direction::ServerToClient].map(|d| self.transforms.has(d));
        let opening = self.transforms.opening();
        self.give(Input::Connected { transformed, opening });
        if let (Some(client), Some(server)) = (client, server) {
            self.recording.begin_sampling(&client, &server);
        }
        if let Err(broken) = made {
            self.give(broken);
        }
    }

    fn make_reader(&mut self, side: Side, before: Bytes, pipes: Option<PipePool>) {
        let port = &mut self.ports[side as usize];
        let memory = Rc::clone(&self.worker.memory);
        let reader = |socket| Reader::new(&self.worker.io, socket, memory, pipes).after(before);
        port.reader = port.socket.clone().map(reader);
    }

    fn poll_read(&mut self, from: Side, context: &mut Context<'_>) -> bool {
        let port = &mut self.ports[from as usize];
        let (Operation::Due, Some(reader)) = (port.read, &mut port.reader) else { return false };
        let Poll::Ready(result) = reader.poll_read(context) else {
            port.read = Operation::Waiting;
            return false;
        };
        port.read = Operation::None;
        if reader.is_lively() {
            let io = self.worker.io.clone();
            self.yielding = Some(Box::pin(async move { io.yield_turn().await }));
        }
        let input = match result {
            Ok(chunk) if chunk.len() == 0 => Input::Ended { from },
            Ok(payload) => Input::Read { from, payload },
            Err(error) => Input::Failed { side: from, fault: fault(&error) },
        };
        self.give(input);
        true
    }

    fn poll_write(&mut self, to: Side, context: &mut Context<'_>) -> bool {
        let port = &mut self.ports[to as usize];
        let (Some(write), Some(socket)) = (&mut port.write, &port.socket) else { return false };
        if port.write_waits {
            return false;
        }
        // What is left of a chunk does not pass either once everything is to end.
        if self.worker.shared.phases.get() >= Phase::Ending {
            return false;
        }
        let Poll::Ready(result) = write.poll_write(socket, context) else {
            port.write_waits = true;
            return false;
        };
        if result.is_err() || write.is_done() {
            port.write = None;
        }
        self.give(match result {
            Ok(len) => Input::Wrote { to, len },
            Err(error) => write_failed(to, &error),
        });
        true
    }

    fn poll_failure(&mut self, side: Side, context: &mut Context<'_>) -> bool {
        let port = &mut self.ports[side as usize];
        let Some(failure) = &mut port.failure else { return false };
        let Poll::Ready(fault) = failure.as_mut().poll(context) else { return false };
        port.failure = None;
        self.give(Input::Failed { side, fault });
        true
    }

    fn poll_recording(&mut self, context: &mut Context<'_>) -> bool {
        let Some(recorded) = self.recording.poll(context) else { return false };
        self.give(recorded);
        true
    }

    /// Comes back at the relay's deadline. The timer is only ever set anew when the deadline has
    /// come closer, since it is put off with every chunk.
    fn poll_time(&mut self, context: &mut Context<'_>) -> bool {
        let Some(deadline) = self.relay.deadline() else { return false };
        let clock = &self.worker.shared.clock;
        if self.due.is_none_or(|due| deadline < due) {
            let Some(at) = clock.instant(deadline) else { return false };
            let at = tokio::time::Instant::from_std(at);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(at),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
            self.due = Some(deadline);
        }
        let Some(timer) = &mut self.timer else { return false };
        if timer.as_mut().poll(context).is_pending() {
            return false;
        }
        self.due = None;
        if deadline <= clock.now().elapsed {
            self.give(Input::TimePassed);
        }
        true
    }
}

impl Drop for Driver<'_> {
    fn drop(&mut self) {
        // Left by a panic: no end that a peer may take for a clean one.
        if !self.recording.is_closed() {
            self.ports.iter().filter_map(|port| port.socket.as_ref()).for_each(Socket::abort);
        }
    }
}

fn write_failed(side: Side, error: &io::Error) -> Input<Chunk> {
    Input::WriteFailed { side, fault: fault(error) }
}

/// What an error of a socket means.
fn fault(error: &io::Error) -> Fault {
    use libc::{ECONNRESET, ENOTCONN, EPIPE};
    match error.raw_os_error() {
        Some(ECONNRESET | EPIPE | ENOTCONN) | None => Fault::Reset,
        Some(errno) => Fault::Errno(errno),
    }
}

/// How `socket` fails.
async fn failure(io: Io, socket: Socket) -> Fault {
    match net::failure(&io, &socket).await {
        Ok(error) => fault(&error),
        // It cannot be told: another operation on it will.
        Err(_) => std::future::pending().await,
    }
}
