//! A thread that answers HTTP requests.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::limited::Limited;

/// Threads for what takes long, such as a download.
const BLOCKING_THREADS: usize = 4;

/// A server on a thread of its own. It ends when this is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    /// Disconnected when it has ended.
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on `listener`, by a thread of that name.
    pub(crate) fn start(name: &str, listener: TcpListener, router: Router) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let stopped = async { drop(stopped.await) };
                axum::serve(Limited::new(listener), router).with_graceful_shutdown(stopped).await
            });
            if let Err(error) = served {
                let name = std::thread::current().name().unwrap_or_default().to_owned();
                tracing::warn!("the {name} server has ended: {error}");
            }
            // Nobody waits for a download whose reader has stopped.
            runtime.shutdown_background();
            drop(ending);
        })?;
        Ok(Self { address, stop: Some(stop), ended, thread: Some(thread) })
    }

    /// The address that it listens on.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, and waits this long at most until those under way are answered.
    pub(crate) fn finish(&mut self, patience: Duration) {
        drop(self.stop.take());
        if self.ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Disconnected)
            && let Some(thread) = self.thread.take()
        {
            // It has ended.
            let _ = thread.join();
        }
    }
}
