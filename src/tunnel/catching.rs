//! Connects that something outside the tunnel has caught, on their way to the workers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::Relaxed};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::address::Address;
use super::answer::{Answer, Caught};
use super::arriving::Arrived;
use super::routing::Arrival;
use super::shared::Shared;
use crate::event::{Endpoint, Process};
use crate::net;

/// Brings connects that were caught elsewhere, such as those of a program, into a tunnel; from
/// [`Tunnel::catcher`](super::Tunnel::catcher). Clones belong to the same tunnel.
#[derive(Clone, Debug)]
pub struct Catcher {
    workers: Arc<[UnboundedSender<Connect>]>,
    next: Arc<AtomicUsize>,
}

/// One worker's end.
pub(super) type Catching = UnboundedReceiver<Connect>;

/// A connect that was caught.
pub(super) struct Connect {
    destination: SocketAddr,
    process: Option<Process>,
    caught: Box<dyn Caught>,
}

impl Catcher {
    /// A way to so many workers, and their ends.
    pub(super) fn new(workers: usize) -> (Self, Vec<Option<Catching>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| unbounded_channel()).unzip();
        let catcher = Self { workers: senders.into(), next: Arc::default() };
        (catcher, receivers.into_iter().map(Some).collect())
    }

    /// Has the tunnel reach `destination` and answer `caught`, which is dropped unanswered where
    /// the tunnel has stopped. Never waits.
    pub fn catch(&self, destination: SocketAddr, process: Option<Process>, caught: impl Caught) {
        let mut connect = Connect { destination, process, caught: Box::new(caught) };
        let first = self.next.fetch_add(1, Relaxed);
        for index in 0..self.workers.len() {
            let worker = &self.workers[(first.wrapping_add(index)) % self.workers.len()];
            match worker.send(connect) {
                Ok(()) => return,
                Err(back) => connect = back.0,
            }
        }
    }
}

impl Connect {
    /// The program's own socket will have an address of the loopback device. It is shown with the
    /// one that the connection to the server has, as it would have been without a tunnel.
    pub(super) fn arrive(self, shared: &Shared) -> Arrived {
        let Self { destination, process, caught } = self;
        let at = shared.clock.now().time;
        let bind = shared.outgoing.bind.map(|source| source.ip());
        let source = net::reserve_source(destination, bind).ok();
        let client = source.as_ref().map_or_else(|| no_source(destination), |(_, source)| *source);
        let client = Endpoint::Tcp(client);
        let listener = Endpoint::Tcp(destination);
        let wanted = Address::Ip(destination);
        Arrived {
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

impl Shared {
    /// What brings caught connects to a worker; nothing where nobody catches any.
    pub(super) fn catching_of(&self, index: usize) -> Option<Catching> {
        let mut all = self.catching.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.get_mut(index).and_then(Option::take)
    }
}
