//! What happens between the accept of a client and the opening of its connection: what a load
//! balancer says of it, and what it says of its destination.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use bytes::Bytes;

use super::address::Address;
use super::answer::Answer;
use super::catching::Connect;
use super::handshaking::{Failed, dismiss, shake_hands};
use super::phases::Phase;
use super::routing::{Arrival, Decision, Target};
use super::shared::{Shared, Worker};
use crate::event::{Endpoint, Timestamp};
use crate::ingress::{
    ConnectFailure, ConnectReply, Handshake, Progress, ProxyHandshake, ProxyHeader,
    ProxyHeaderReader, Rejection,
};
use crate::net::{self, Socket};
use crate::os_error::Sentence;
use crate::sink::words_of;

/// A client that was accepted.
pub(super) struct Accepted {
    pub(super) socket: Socket,
    pub(super) peer: Option<SocketAddr>,
    pub(super) at: Timestamp,
    /// The tunnel's address that the client connected to.
    pub(super) listener: Endpoint,
    /// The number of its listening socket.
    pub(super) listening: usize,
}

/// A client whose destination is known.
pub(super) struct Arrived {
    pub(super) arrival: Arrival,
    pub(super) at: Timestamp,
    /// How the client learns whether its server was reached.
    pub(super) answer: Answer,
    /// The number of the listening socket, if it came by one.
    pub(super) listening: Option<usize>,
    /// The other end of its socket.
    pub(super) peer: Option<SocketAddr>,
    /// The address that is held for the connection to the server.
    pub(super) source: Option<(OwnedFd, SocketAddr)>,
}

impl Arrived {
    /// A connect that was caught.
    ///
    /// The program's own socket will have an address of the loopback device. It is shown with the
    /// one that the connection to the server has, as it would have been without a tunnel.
    pub(super) fn of_caught(connect: Connect, shared: &Shared) -> Self {
        let Connect { destination, process, caught } = connect;
        let at = shared.clock.now().time;
        let source = net::reserve_source(destination, shared.outgoing.bind).ok();
        let client = source.as_ref().map_or_else(|| no_source(destination), |(_, source)| *source);
        let client = Endpoint::Tcp(client);
        let listener = Endpoint::Tcp(destination);
        let wanted = Address::Ip(destination);
        Self {
            arrival: Arrival { client, listener, wanted, process },
            at,
            answer: Answer::caught(caught),
            listening: None,
            peer: None,
            source,
        }
    }
}

/// Stands for the source of a connection that no route leads to; the port tells one from another.
fn no_source(destination: SocketAddr) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let ip = match destination {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(ip, NEXT.fetch_add(1, Relaxed) | 0x8000)
}

/// Brings a client to its destination's name; `None` where it was rejected, which is counted and
/// logged.
pub(super) async fn arrive(worker: &Rc<Worker>, accepted: Accepted) -> Option<Arrived> {
    let shared = &worker.shared;
    let listening = &shared.listening[accepted.listening];
    let (peer, socket) = (accepted.peer, accepted.socket.clone());
    let client = peer.map_or(Endpoint::Unix(None), Endpoint::Tcp);
    if let (Target::Address(wanted), false) = (&listening.target, listening.expects_proxy_header) {
        let wanted = wanted.clone();
        let arrival = Arrival { client, listener: accepted.listener, wanted, process: None };
        let answer = Answer::none(accepted.socket, Bytes::new());
        let listening = Some(accepted.listening);
        return Some(Arrived { arrival, at: accepted.at, answer, listening, peer, source: None });
    }
    let shown = client.clone();
    let mut greeting = Greeting { worker, accepted, client, before: Bytes::new() };
    let outcome = tokio::select! {
        outcome = Box::pin(greeting.run()) => outcome,
        () = shared.phases.reached(Phase::Draining) => {
            socket.abort();
            return None;
        }
    };
    match outcome {
        Ok(arrived) => Some(arrived),
        Err(Failed::Rejected { reply, reason }) => {
            reject(worker, &shown, &reason);
            dismiss(worker, &socket, reply).await;
            None
        }
        Err(Failed::Io(error)) => {
            worker.counters().rejected();
            tracing::info!("rejected {shown}: {}", Sentence(&error));
            None
        }
    }
}

fn reject(worker: &Worker, client: &Endpoint, reason: &Rejection) {
    worker.counters().rejected();
    if reason.is_silent() {
        // A load balancer's probe comes every few seconds.
        tracing::info!("rejected {client}: {reason}");
    } else {
        tracing::warn!("rejected {client}: {reason}");
    }
}

/// A client that has to say something before its destination is known.
struct Greeting<'a> {
    worker: &'a Rc<Worker>,
    accepted: Accepted,
    client: Endpoint,
    /// What it has sent after its handshakes.
    before: Bytes,
}

impl Greeting<'_> {
    async fn run(&mut self) -> Result<Arrived, Failed> {
        let shared = &self.worker.shared;
        let listening = &shared.listening[self.accepted.listening];
        if listening.expects_proxy_header {
            self.read_proxy_header().await?;
        }
        let (wanted, request) = match &listening.target {
            Target::Address(address) => (address.clone(), None),
            Target::Proxy { credentials } => {
                let handshake = ProxyHandshake::new(credentials.clone());
                let mut handshake = Resumed { handshake, before: self.before.split_off(0) };
                let socket = &self.accepted.socket;
                let (request, leftover) = shake_hands(self.worker, socket, &mut handshake).await?;
                self.before = leftover;
                (request.destination.clone().into(), Some(request))
            }
            Target::Original => {
                let original = self.accepted.socket.original_destination();
                let original = original.map_err(Failed::Io)?.ok_or_else(no_destination)?;
                self.accepted.listener = Endpoint::Tcp(original);
                (Address::Ip(original), None)
            }
        };
        let socket = self.accepted.socket.clone();
        let before = std::mem::take(&mut self.before);
        let answer = match request {
            Some(request) => Answer::proxy(socket, before, request),
            None => Answer::none(socket, before),
        };
        Ok(Arrived {
            arrival: Arrival {
                client: self.client.clone(),
                listener: self.accepted.listener.clone(),
                wanted,
                process: None,
            },
            at: shared.clock.now().time,
            answer,
            listening: Some(self.accepted.listening),
            peer: self.accepted.peer,
            source: None,
        })
    }

    async fn read_proxy_header(&mut self) -> Result<(), Failed> {
        let (worker, socket) = (self.worker, self.accepted.socket.clone());
        let mut reader = ProxyHeaderReader::new();
        let (header, leftover) = shake_hands(worker, &socket, &mut reader).await?;
        if let ProxyHeader::Proxied { source, destination } = header {
            (self.client, self.accepted.listener) = (source, destination);
        }
        self.before = leftover;
        Ok(())
    }
}

fn no_destination() -> Failed {
    let what = "the connection has no original destination";
    Failed::Rejected {
        reply: Vec::new(),
        reason: Rejection::Malformed { protocol: "redirection", what },
    }
}

/// A handshake that begins with bytes which were read before.
struct Resumed<H> {
    handshake: H,
    before: Bytes,
}

impl<H: Handshake> Handshake for Resumed<H> {
    type Output = H::Output;

    fn feed(&mut self, bytes: &[u8]) -> Progress<H::Output> {
        if self.before.is_empty() {
            return self.handshake.feed(bytes);
        }
        let before = std::mem::take(&mut self.before);
        self.handshake.feed(&[&before, bytes].concat())
    }

    fn unfinished(&self) -> Rejection {
        self.handshake.unfinished()
    }
}

/// Where a client is connected to; `None` where the tunnel's [`Route`](super::Route) rejects it,
/// which is answered, counted and logged.
pub(super) async fn decide(worker: &Rc<Worker>, arrived: &mut Arrived) -> Option<()> {
    let Some(route) = &worker.shared.route else { return Some(()) };
    let decided = catch_unwind(AssertUnwindSafe(|| route.route(&arrived.arrival)));
    let decision = decided.unwrap_or_else(|panic| {
        let reason = format!("the route panicked: {}", words_of(&*panic));
        Decision::Reject { reason }
    });
    match decision {
        Decision::Connect(address) => {
            arrived.arrival.wanted = address;
            Some(())
        }
        Decision::Reject { reason } => {
            worker.counters().rejected();
            tracing::warn!("rejected {}: {reason}", arrived.arrival.client);
            let failed = ConnectReply::Failed(ConnectFailure::Forbidden);
            arrived.answer.refuse(worker, failed).await;
            None
        }
    }
}
