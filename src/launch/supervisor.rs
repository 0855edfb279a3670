//! The thread that answers a program's calls.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use super::gate::{Entrance, Gate};
use super::inspect::{Call, Known, Unseen, inspect};
use super::pending::{Outcome, Pending, Stage, Then, gone, reset};
use super::redirect::{Mechanism, Target};
use super::request::{Answers, Attempt, Decision, Deliver, Handler, Request, RequestId};
use super::sockaddr::canonical;
use super::sys::{Answer, Notifications};
use crate::os_error::Sentence;

/// How long a program with a non-blocking socket waits for its server to answer. Its other work
/// stands still meanwhile.
const BUDGET: Duration = Duration::from_millis(200);
/// How long a socket may take to arrive over the loopback device.
const ARRIVAL: Duration = Duration::from_secs(10);
/// When the kernel has certainly copied an address that leads nowhere. Nothing tells that it has.
/// If it has not, the program asks its server itself, which has just refused.
const COPIED: Duration = Duration::from_millis(10);

/// What the thread waits for.
const NOTIFICATIONS: u64 = 0;
const WAKE: u64 = 1;
const IPV4: u64 = 2;
const FIRST_IPV6: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A program with a non-blocking socket has waited long enough.
    Budget,
    /// A socket that has not arrived never will.
    Arrival,
    /// An address that leads nowhere can be written back.
    Copied,
}

/// What the first connect, which the launcher makes itself, has shown.
pub(super) type Probed = io::Result<Mechanism>;

/// The thread that answers a program's calls.
pub(super) struct Supervisor<H> {
    notifications: Notifications,
    epoll: OwnedFd,
    gate: Gate,
    handler: H,
    answers: Answers,
    decisions: Receiver<(RequestId, Decision)>,
    pending: HashMap<RequestId, Pending>,
    /// Addresses that lead nowhere and have to be written back.
    refused: HashMap<RequestId, (Target, SocketAddr)>,
    timers: BinaryHeap<Reverse<(Instant, RequestId, Timer)>>,
    known: Known,
    mechanism: Mechanism,
    /// Until the first connect, who wants to know how it went.
    probe: Option<Sender<Probed>>,
    last_id: u64,
    /// What has been logged, so that it is logged once.
    logged: HashSet<&'static str>,
}

/// What a supervisor needs from the process, opened before there is a program.
pub(super) struct Resources {
    gate: Gate,
    epoll: OwnedFd,
    wake: OwnedFd,
}

impl Resources {
    pub(super) fn open() -> io::Result<Self> {
        let gate = Gate::open()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        watch(&epoll, gate.ipv4(), IPV4)?;
        watch(&epoll, &wake, WAKE)?;
        Ok(Self { gate, epoll, wake })
    }
}

fn watch(epoll: &OwnedFd, source: impl AsFd, data: u64) -> io::Result<()> {
    let data = epoll::EventData::new_u64(data);
    Ok(epoll::add(epoll, source, data, epoll::EventFlags::IN)?)
}

impl<H: Handler> Supervisor<H> {
    pub(super) fn new(
        notifications: OwnedFd,
        resources: Resources,
        handler: H,
        mechanism: Option<Mechanism>,
        probe: Sender<Probed>,
    ) -> io::Result<Self> {
        let Resources { gate, epoll, wake } = resources;
        let notifications = Notifications::new(notifications)?;
        watch(&epoll, &notifications, NOTIFICATIONS)?;
        let (sender, decisions) = channel();
        Ok(Self {
            notifications,
            epoll,
            gate,
            handler,
            answers: Answers { sender, wake: Arc::new(wake) },
            decisions,
            pending: HashMap::new(),
            refused: HashMap::new(),
            timers: BinaryHeap::new(),
            known: Known::new()?,
            mechanism: mechanism.unwrap_or(Mechanism::CopyDescriptor),
            probe: Some(probe),
            last_id: 0,
            logged: HashSet::new(),
        })
    }

    /// Answers until no program is left that could ask.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(64);
        loop {
            let next = self.timers.peek().map(|Reverse((due, ..))| *due);
            let timeout = next.map(|due| due.saturating_duration_since(Instant::now()));
            let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
            let buffer = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                let (data, flags) = (event.data.u64(), event.flags);
                match data {
                    NOTIFICATIONS if flags.contains(epoll::EventFlags::IN) => self.notified(),
                    // The last process under the filter has ended.
                    NOTIFICATIONS => return Ok(()),
                    WAKE => self.decided(),
                    IPV4 => self.arrived(Entrance::Ipv4),
                    data => self.arrived(Entrance::Ipv6((data - FIRST_IPV6) as usize)),
                }
            }
            self.run_timers();
        }
    }

    fn notified(&mut self) {
        // It fails where the caller has just died.
        let Ok(notification) = self.notifications.receive() else { return };
        let id = notification.id;
        match inspect(&notification, &self.notifications, &mut self.known) {
            Call::Connect(target, attempt) => self.connect(id, target, attempt),
            Call::Answer(answer) => self.answer(id, answer),
            Call::Unseen(unseen) => self.leave_alone(id, unseen),
        }
    }

    fn answer(&mut self, notification: u64, answer: Answer) {
        // It fails where the caller has died, which then needs no answer.
        let _ = self.notifications.answer(notification, answer);
    }

    fn leave_alone(&mut self, notification: u64, Unseen { what, error, answer }: Unseen) {
        if let Some(probe) = self.probe.take() {
            let error = error.unwrap_or_else(|| io::Error::other(what));
            self.answer(notification, Answer::Fail(libc::EPERM));
            let _ = probe.send(Err(error));
            return;
        }
        if self.logged.insert(what) {
            match error {
                Some(error) => tracing::warn!("{what}: {} (said once)", Sentence(&error)),
                None => tracing::warn!("{what} (said once)"),
            }
        }
        self.answer(notification, answer);
    }

    fn connect(&mut self, notification: u64, target: Target, attempt: Attempt) {
        if let Some(probe) = self.probe.take() {
            return self.probe(notification, target, probe);
        }
        if !self.handler.wants(&attempt) {
            return self.answer(notification, Answer::Continue);
        }
        let id = self.next_id();
        if !target.is_blocking {
            self.set_timer(BUDGET, id, Timer::Budget);
        }
        self.pending.insert(id, Pending { notification, target, stage: Stage::Waiting });
        self.handler.connect(Request::new(attempt, id, self.answers.clone()));
    }

    /// The launcher's own connect: it succeeds, and shows what is permitted here.
    fn probe(&mut self, notification: u64, target: Target, probe: Sender<Probed>) {
        let copy = target.caller.copy_socket(target.pid, target.socket);
        if copy.is_err() {
            self.mechanism = Mechanism::RewriteAddress;
        }
        let mechanism = self.mechanism;
        let report = move |arrived: io::Result<TcpStream>| {
            let _ = probe.send(arrived.map(|_| mechanism));
        };
        let id = self.next_id();
        let pending = Pending { notification, target, stage: Stage::Waiting };
        self.send_on(id, pending, Then::Deliver(Box::new(report)));
    }

    fn next_id(&mut self) -> RequestId {
        self.last_id += 1;
        RequestId(self.last_id)
    }

    fn set_timer(&mut self, after: Duration, id: RequestId, timer: Timer) {
        self.timers.push(Reverse((Instant::now() + after, id, timer)));
    }

    /// Sends a waiting program's socket here.
    fn send_on(&mut self, id: RequestId, pending: Pending, then: Then) {
        let Pending { notification, target, .. } = pending;
        let own = match self.address_for(id, &target) {
            Ok(own) => own,
            Err(error) => return self.give_up(notification, then, error),
        };
        // Before the program can ask for its peer.
        self.known.peers.set(target.socket.inode, target.wanted);
        self.known.wanted.set(own, target.wanted);
        let (answer, is_rewritten) = match target.redirect(self.mechanism, own) {
            Ok(redirected) => (redirected.answer, redirected.is_rewritten),
            Err(error) => {
                self.forget(id, &target, own);
                return self.give_up(notification, then, error);
            }
        };
        let answered = self.notifications.answer(notification, answer);
        let will_arrive = match answer {
            Answer::Continue | Answer::Succeed | Answer::Fail(libc::EINPROGRESS) => true,
            Answer::Fail(_) => false,
        };
        let stage = Stage::Sent { own, is_rewritten, then };
        if will_arrive && answered.is_ok() {
            self.set_timer(ARRIVAL, id, Timer::Arrival);
            self.pending.insert(id, Pending { notification, target, stage });
            return;
        }
        if is_rewritten {
            target.restore(own);
        }
        self.forget(id, &target, own);
        stage.abandon();
    }

    /// The address to which a program's socket is sent.
    fn address_for(&mut self, id: RequestId, target: &Target) -> io::Result<SocketAddr> {
        // Another thread may be on its way with the same memory: it must not be sent elsewhere.
        if self.mechanism == Mechanism::RewriteAddress
            && let Some(current) = target.current().map(canonical)
            && self.gate.join(current, id)
        {
            return Ok(current);
        }
        let epoll = &self.epoll;
        let opened = |listener: &TcpListener, entrance| match entrance {
            Entrance::Ipv6(index) => watch(epoll, listener, FIRST_IPV6 + index as u64),
            Entrance::Ipv4 => Ok(()),
        };
        self.gate.issue(target.wanted, id, opened)
    }

    /// Takes back what was noted for a socket that does not come.
    fn forget(&mut self, id: RequestId, target: &Target, own: SocketAddr) {
        self.gate.withdraw(own, id);
        self.known.peers.remove(&target.socket.inode);
    }

    /// Lets a program connect by itself, where it cannot be sent elsewhere.
    fn give_up(&mut self, notification: u64, then: Then, error: io::Error) {
        if let Then::Deliver(deliver) = then {
            deliver(Err(gone()));
        }
        let what = "a connect cannot be caught and is left alone";
        let unseen = Unseen { what, error: Some(error), answer: Answer::Continue };
        self.leave_alone(notification, unseen);
    }

    fn decided(&mut self) {
        let mut count = [0; 8];
        let _ = rustix::io::read(&*self.answers.wake, &mut count);
        while let Ok((id, decision)) = self.decisions.try_recv() {
            match (self.pending.remove(&id), decision) {
                (Some(pending), Decision::Connected(deliver)) => self.reached(id, pending, deliver),
                (Some(pending), Decision::Failed(errno)) => self.not_reached(id, pending, errno),
                (None, Decision::Connected(deliver)) => deliver(Err(gone())),
                (None, Decision::Failed(_)) => {}
            }
        }
    }

    fn reached(&mut self, id: RequestId, pending: Pending, deliver: Deliver) {
        if let Stage::Waiting = pending.stage {
            return self.send_on(id, pending, Then::Deliver(deliver));
        }
        self.go_on(id, pending, |stage| stage.deliver(deliver));
    }

    fn not_reached(&mut self, id: RequestId, pending: Pending, errno: i32) {
        let Pending { notification, target, stage: Stage::Waiting } = pending else {
            return self.go_on(id, pending, Stage::fail);
        };
        let errno = if (1..4096).contains(&errno) { errno } else { libc::ECONNABORTED };
        // A non-blocking connect is refused later, as `SO_ERROR`: so that it is here, too, it is
        // sent to an address that refuses.
        if errno == libc::ECONNREFUSED
            && !target.is_blocking
            && let Ok(closed) = self.gate.closed(target.wanted)
        {
            self.known.wanted.set(closed, target.wanted);
            if let Ok(redirected) = target.redirect(self.mechanism, closed) {
                self.answer(notification, redirected.answer);
                if redirected.is_rewritten {
                    self.set_timer(COPIED, id, Timer::Copied);
                    self.refused.insert(id, (target, closed));
                }
                return;
            }
        }
        self.answer(notification, Answer::Fail(errno));
    }

    /// Moves a connect that was sent on to its next stage.
    fn go_on(&mut self, id: RequestId, pending: Pending, step: impl FnOnce(Stage) -> Outcome) {
        let Pending { notification, target, stage } = pending;
        if let Outcome::Wait(stage) = step(stage) {
            self.pending.insert(id, Pending { notification, target, stage });
        }
    }

    fn arrived(&mut self, entrance: Entrance) {
        loop {
            let (stream, own, id) = match self.gate.accept(entrance) {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return,
                Err(error) => {
                    if self.logged.insert("accept") {
                        let error = Sentence(&error);
                        tracing::warn!("cannot accept a program's socket: {error} (said once)");
                    }
                    return;
                }
            };
            let Some((id, pending)) = id.and_then(|id| Some((id, self.pending.remove(&id)?)))
            else {
                // Nobody was sent there: a stranger.
                reset(stream);
                continue;
            };
            if let Stage::Sent { is_rewritten: true, .. } = pending.stage
                && !self.gate.is_expected(own)
            {
                pending.target.restore(own);
            }
            self.go_on(id, pending, |stage| stage.arrive(stream));
        }
    }

    fn run_timers(&mut self) {
        while let Some(Reverse((due, id, timer))) = self.timers.peek().copied() {
            if due > Instant::now() {
                return;
            }
            self.timers.pop();
            match timer {
                Timer::Budget => self.out_of_budget(id),
                Timer::Arrival => self.lost(id),
                Timer::Copied => {
                    if let Some((target, closed)) = self.refused.remove(&id) {
                        target.restore(closed);
                    }
                }
            }
        }
    }

    fn out_of_budget(&mut self, id: RequestId) {
        match self.pending.remove(&id) {
            Some(pending @ Pending { stage: Stage::Waiting, .. }) => {
                self.send_on(id, pending, Then::Keep);
            }
            Some(pending) => drop(self.pending.insert(id, pending)),
            None => {}
        }
    }

    fn lost(&mut self, id: RequestId) {
        match self.pending.remove(&id) {
            Some(Pending { target, stage: stage @ Stage::Sent { .. }, .. }) => {
                if let Stage::Sent { own, is_rewritten, .. } = stage {
                    if is_rewritten {
                        target.restore(own);
                    }
                    self.forget(id, &target, own);
                }
                stage.abandon();
            }
            Some(pending) => drop(self.pending.insert(id, pending)),
            None => {}
        }
    }
}

impl<H> Drop for Supervisor<H> {
    fn drop(&mut self) {
        self.pending.drain().for_each(|(_, pending)| pending.stage.abandon());
    }
}
