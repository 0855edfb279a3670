//! Setting a tunnel up.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::address::Address;
use super::crew::Crew;
use super::error::BindError;
use super::limits::Limits;
use super::listen::{Listening, listen};
use super::run::Handle;
use crate::event::Endpoint;
use crate::net::Socket;
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
        let routes = Arc::from(routes);
        let crew = Crew::muster(&routes, self.workers)?;
        Ok(Tunnel {
            routes,
            crew,
            limits: self.limits,
            workers: self.workers,
            codec: self.codec.into_codec(),
            sinks: self.sinks,
            handle: Handle::new(self.workers),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Builder");
        debug.field("routes", &self.routes).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// A listening socket and where its clients are connected to.
pub struct Route {
    pub(super) listening: Listening,
    pub(super) target: Address,
}

impl Route {
    /// The address listened on, with the real port where port 0 was asked for.
    pub const fn listening(&self) -> &Endpoint {
        &self.listening.endpoint
    }

    /// The address that `client` connected to, which a wildcard address leaves open.
    pub(super) fn listening_towards(&self, client: &Socket) -> Endpoint {
        let wildcard = |address: SocketAddr| address.ip().is_unspecified();
        let own = || client.local_address().ok().flatten().map(Endpoint::Tcp);
        match &self.listening.endpoint {
            endpoint if !endpoint.socket_addr().is_some_and(wildcard) => endpoint.clone(),
            endpoint => own().unwrap_or_else(|| endpoint.clone()),
        }
    }

    /// Where clients are connected to.
    pub const fn target(&self) -> &Address {
        &self.target
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.listening(), self.target)
    }
}

/// A tunnel that listens: clients may connect, and wait until it runs.
///
/// ```no_run
/// use tcp_tunn::tunnel::Tunnel;
///
/// let tunnel = Tunnel::builder("127.0.0.1:0", "example.com:80").bind()?;
/// println!("listening on {}", tunnel.routes()[0].listening());
/// let summary = tunnel.run()?;
/// println!("{} connections", summary.counts.connections);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Tunnel {
    pub(super) routes: Arc<[Route]>,
    pub(super) crew: Crew,
    pub(super) limits: Limits,
    pub(super) workers: usize,
    pub(super) codec: Option<Arc<dyn Codec>>,
    pub(super) sinks: Vec<(SinkOptions, Box<dyn Sink>)>,
    pub(super) handle: Handle,
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
        }
    }

    /// Where it listens, in the order given; a name may stand for more than one address.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Gives every event to `sink` too. For sinks that must not exist before the listening
    /// sockets do, such as a file that a failed bind should not leave behind.
    pub fn add_sink(&mut self, options: SinkOptions, sink: impl Sink + 'static) {
        self.sinks.push((options, Box::new(sink)));
    }

    /// What stops the tunnel and tells how it does, from any thread.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Tunnel");
        debug.field("routes", &self.routes).field("limits", &self.limits).finish_non_exhaustive()
    }
}
