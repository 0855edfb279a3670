//! Setting a tunnel up.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::address::Address;
use super::clock::WallClock;
use super::error::BindError;
use super::handle::Handle;
use super::limits::Limits;
use super::listen::listen;
use super::loops::Loops;
use super::route::Route;
use super::running::Tunnel;
use super::worker_pool::WorkerPool;
use crate::net::Backend;
use crate::sink::{Sink, SinkOptions};
use crate::transform::{Codec, Function, Plain};

/// Describes a tunnel; made by [`Tunnel::builder`], ended by [`bind`](Self::bind).
#[must_use]
pub struct Builder {
    routes: Vec<(String, String)>,
    limits: Limits,
    workers: usize,
    codec: Plain,
    sinks: Vec<(SinkOptions, Box<dyn Sink>)>,
    wall_clock: WallClock,
    backend: Backend,
}

/// More threads than any machine has cores for; each has a ring of its own.
const WORKERS_MAX: usize = 1024;

impl Builder {
    /// Listens on `from` too and connects its clients to `to`.
    pub fn route(mut self, from: impl ToString, to: impl ToString) -> Self {
        self.routes.push((from.to_string(), to.to_string()));
        self
    }

    /// Sets the bounds. By default those of [`Limits::default`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the number of worker threads, from 1 to 1024; what is outside counts as the nearer
    /// end. By default one for each core, at most 4.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.clamp(1, WORKERS_MAX);
        self
    }

    /// Lets `codec` make transforms for every connection, which may change its bytes. By default
    /// they pass as they are.
    pub fn codec(mut self, codec: impl Codec + 'static) -> Self {
        self.codec.codec = Some(Box::new(codec));
        self
    }

    /// Lets `encoder` change what clients say: it is given the bytes of each read, and what it
    /// returns goes to the server. Where reads begin and end means nothing; what needs messages,
    /// state, or more than to forward is a [`codec`](Self::codec)'s, whose encoder this replaces.
    ///
    /// ```
    /// use tcp_tunn::tunnel::Tunnel;
    ///
    /// let builder = Tunnel::builder("127.0.0.1:0", "example.com:80")
    ///     .encoder(|bytes| bytes.to_ascii_uppercase())
    ///     .decoder(|bytes| bytes.to_ascii_lowercase());
    /// ```
    pub fn encoder<F, B>(mut self, encoder: F) -> Self
    where
        F: Fn(&[u8]) -> B + Send + Sync + 'static,
        B: AsRef<[u8]>,
    {
        self.codec.encoder = Some(Function::new(encoder));
        self
    }

    /// Lets `decoder` change what servers say, as [`encoder`](Self::encoder) does what clients
    /// say.
    pub fn decoder<F, B>(mut self, decoder: F) -> Self
    where
        F: Fn(&[u8]) -> B + Send + Sync + 'static,
        B: AsRef<[u8]>,
    {
        self.codec.decoder = Some(Function::new(decoder));
        self
    }

    /// Gives every event to `sink` too, under the default [`SinkOptions`].
    pub fn sink(self, sink: impl Sink + 'static) -> Self {
        self.sink_with(SinkOptions::default(), sink)
    }

    /// Gives every event to `sink` too.
    pub fn sink_with(mut self, options: SinkOptions, sink: impl Sink + 'static) -> Self {
        self.sinks.push((options, Box::new(sink)));
        self
    }

    /// Sets the way to the kernel. By default io_uring, and epoll where io_uring is not permitted.
    pub const fn io(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Takes the time of day from `clock` instead of the system's. It is asked for each event; a
    /// step back is ignored, one ahead by more than a second is followed.
    pub fn wall_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.wall_clock = Arc::new(clock);
        self
    }

    /// Starts to listen. Each worker has its thread, its ring and its listeners when this returns,
    /// so that [`Tunnel::run`] does not fail for want of them once somebody was told the address.
    ///
    /// # Errors
    ///
    /// An address makes no sense or cannot be listened on, there is no io_uring, or too few
    /// descriptors, memory or threads for all workers. Nothing is left open then.
    pub fn bind(self) -> Result<Tunnel, BindError> {
        let mut parsed = Vec::new();
        for (from, to) in &self.routes {
            parsed.push((from.parse::<Address>()?, to.parse::<Address>()?));
        }
        let mut routes = Vec::new();
        for (from, target) in parsed {
            for listening in listen(&from)? {
                routes.push(Route { listening, target: target.clone() });
            }
        }
        let loops = Loops::of(&routes).map_err(|circle| {
            let circle = circle.into_iter().map(|index| format!("{:?}", routes[index]));
            BindError::Loop { routes: circle.collect::<Vec<_>>().join(", ") }
        })?;
        let routes = Arc::from(routes);
        let (pool, io) = WorkerPool::spawn(&routes, self.workers, self.backend)?;
        Ok(Tunnel {
            routes,
            pool,
            io,
            loops,
            limits: self.limits,
            workers: self.workers,
            codec: self.codec.into_codec(),
            sinks: self.sinks,
            handle: Handle::new(self.workers),
            wall_clock: self.wall_clock,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Builder");
        debug.field("routes", &self.routes).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Describes a tunnel from an address to listen on to one to connect to, both written as
    /// [`Address`] says. They are looked at by [`Builder::bind`].
    pub fn builder(from: impl ToString, to: impl ToString) -> Builder {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Builder {
            routes: vec![(from.to_string(), to.to_string())],
            limits: Limits::default(),
            workers: cores.min(4),
            codec: Plain::default(),
            sinks: Vec::new(),
            wall_clock: Arc::new(SystemTime::now),
            backend: Backend::Auto,
        }
    }
}
