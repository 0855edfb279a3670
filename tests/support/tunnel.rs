//! A tunnel that runs for as long as a test needs it.

use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;

use tcp_tunn::tunnel::{Backend, Builder, Catcher, ChosenIo, Handle, Listening, Summary, Tunnel};

use super::events::{Events, PATIENCE};

/// The way to the kernel that this run of the tests is for: the whole suite runs on each.
pub(crate) fn backend() -> Backend {
    match std::env::var("TCP_TUNN_IO").as_deref() {
        Err(_) | Ok("auto") => Backend::Auto,
        Ok("uring") => Backend::Uring,
        Ok("epoll") => Backend::Epoll,
        Ok(other) => panic!("TCP_TUNN_IO is '{other}' (expected auto, uring or epoll)"),
    }
}

/// Stands for the address of a tunnel that listens nowhere.
const NOWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

/// A running tunnel; stopped gracefully by `stop`, at once when dropped.
pub(crate) struct Running {
    /// Where the first route listens.
    pub(crate) address: SocketAddr,
    /// Where each route listens.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) handle: Handle,
    pub(crate) io: ChosenIo,
    thread: Option<JoinHandle<()>>,
    summary: Receiver<Summary>,
}

impl Running {
    pub(crate) fn start(builder: Builder) -> Self {
        Self::start_by(builder, backend())
    }

    /// As [`start`](Self::start), by this way to the kernel, whatever this run is for.
    pub(crate) fn start_by(builder: Builder, backend: Backend) -> Self {
        Self::run(builder.io(backend).bind().unwrap())
    }

    /// As [`start`](Self::start), with what brings caught connects into it.
    pub(crate) fn start_catching(builder: Builder) -> (Self, Catcher) {
        let mut tunnel = builder.io(backend()).bind().unwrap();
        let catcher = tunnel.catcher();
        (Self::run(tunnel), catcher)
    }

    fn run(tunnel: Tunnel) -> Self {
        let io = tunnel.io().clone();
        let listening = |one: &Listening| one.address().socket_addr().unwrap();
        let addresses: Vec<_> = tunnel.listening().iter().map(listening).collect();
        let handle = tunnel.handle();
        let (ended, summary) = mpsc::channel();
        let thread = std::thread::spawn(move || drop(ended.send(tunnel.run().unwrap())));
        let address = addresses.first().copied().unwrap_or(NOWHERE);
        Self { address, addresses, handle, io, thread: Some(thread), summary }
    }

    /// A tunnel to `to` from a free port, and what it records.
    pub(crate) fn recorded(to: impl ToString) -> (Self, Events) {
        Self::recorded_with(to, |builder| builder)
    }

    pub(crate) fn recorded_with(
        to: impl ToString,
        more: impl FnOnce(Builder) -> Builder,
    ) -> (Self, Events) {
        let events = Events::default();
        let builder = Tunnel::builder("127.0.0.1:0", to.to_string()).sink(events.sink());
        (Self::start(more(builder)), events)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Stops gracefully.
    pub(crate) fn stop(self) -> Summary {
        self.handle.stop();
        self.ended()
    }

    /// Stops at once.
    pub(crate) fn abort(self) -> Summary {
        self.handle.abort();
        self.ended()
    }

    /// Waits until it ends by itself.
    pub(crate) fn ended(mut self) -> Summary {
        let summary = self.summary.recv_timeout(PATIENCE).expect("it does not end");
        self.thread.take().unwrap().join().unwrap();
        summary
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.abort();
        // One that does not end is left behind, or the test would not end either.
        if let Some(thread) =
            self.thread.take().filter(|_| self.summary.recv_timeout(PATIENCE).is_ok())
        {
            let _ = thread.join();
        }
    }
}
