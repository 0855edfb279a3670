//! Connects that something outside the tunnel has caught, on their way to the workers.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::event::Process;

/// A connect that something outside the tunnel has caught, and answers.
pub trait Caught: Send + 'static {
    /// The server was reached. `take` is to be called once with the client's socket, which is in
    /// blocking mode, or with an error where the client is gone.
    fn connected(self: Box<Self>, take: Box<dyn FnOnce(io::Result<TcpStream>) + Send>);

    /// The server was not reached, with an error number of the operating system.
    fn failed(self: Box<Self>, errno: i32);
}

/// Brings connects that were caught elsewhere, such as those of a program, into a tunnel; from
/// [`Tunnel::catcher`](super::Tunnel::catcher). Clones belong to the same tunnel.
#[derive(Clone, Debug)]
pub struct Catcher {
    workers: Arc<[UnboundedSender<Connect>]>,
    next: Arc<AtomicUsize>,
}

/// One worker's end.
pub(super) struct Catching {
    /// What came for workers that will not be; first in line.
    inherited: VecDeque<Connect>,
    receiver: UnboundedReceiver<Connect>,
}

impl Catching {
    /// The next connect; `None` where no catcher is left. Nothing is lost if it is not awaited to
    /// its end.
    pub(super) async fn recv(&mut self) -> Option<Connect> {
        match self.inherited.pop_front() {
            Some(connect) => Some(connect),
            None => self.receiver.recv().await,
        }
    }

    /// Closes another worker's end, so that its connects come here from now on, and takes over
    /// those that it has already.
    pub(super) async fn take_over(&mut self, mut other: Self) {
        other.receiver.close();
        while let Some(connect) = other.recv().await {
            self.inherited.push_back(connect);
        }
    }
}

/// A connect that was caught.
pub(super) struct Connect {
    pub(super) destination: SocketAddr,
    pub(super) process: Option<Process>,
    pub(super) caught: Box<dyn Caught>,
}

impl Catcher {
    /// A way to so many workers, and their ends.
    pub(super) fn new(workers: usize) -> (Self, Vec<Option<Catching>>) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..workers).map(|_| unbounded_channel()).unzip();
        let catcher = Self { workers: senders.into(), next: Arc::default() };
        let end = |receiver| Some(Catching { inherited: VecDeque::new(), receiver });
        (catcher, receivers.into_iter().map(end).collect())
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
