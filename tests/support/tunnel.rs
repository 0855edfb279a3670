//! A tunnel that runs for as long as a test needs it.

use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

use tcp_tunn::tunnel::{Builder, Handle, Summary, Tunnel};

use super::events::Events;

/// A running tunnel; stopped gracefully by `stop`, at once when dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    thread: Option<JoinHandle<Summary>>,
}

impl Running {
    pub(crate) fn start(builder: Builder) -> Self {
        let tunnel = builder.bind().unwrap();
        let address = tunnel.routes()[0].listening().socket_addr().unwrap();
        let handle = tunnel.handle();
        let thread = std::thread::spawn(move || tunnel.run().unwrap());
        Self { address, handle, thread: Some(thread) }
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
        let builder = Tunnel::builder("127.0.0.1:0", to).sink(events.sink());
        (Self::start(more(builder)), events)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    pub(crate) fn stop(mut self) -> Summary {
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.abort();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
