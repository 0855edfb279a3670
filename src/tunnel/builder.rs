//! Setting a tunnel up.

use std::fmt;
use std::os::fd::OwnedFd;
#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::address::{Address, AddressError};
use super::clock::WallClock;
use super::decryption::Decryption;
#[cfg(feature = "tls")]
use super::ending_tls::TlsEnding;
use super::error::BindError;
use super::handle::Handle;
use super::limits::Limits;
use super::listen::{Inherited, listen};
use super::listening::Listening;
use super::loops::Loops;
use super::outgoing::Outgoing;
use super::ranges::{KEEPALIVE, SAMPLE, WORKERS, clamp, clamp_time};
use super::routing::{Route, Target};
use super::running::Tunnel;
use super::worker_pool::WorkerPool;
use crate::ingress::{Credentials, Filter};
use crate::net::Backend;
use crate::sink::{Sink, SinkOptions};
#[cfg(feature = "tls")]
use crate::tls::TlsEnder;
use crate::transform::{Codec, Function, Plain};

/// Describes a tunnel; made by [`Tunnel::builder`], or as the default without a listener; ended by
/// [`bind`](Self::bind).
#[must_use]
pub struct Builder {
    listeners: Vec<Result<(Address, Target), AddressError>>,
    expects_proxy_header: bool,
    route: Option<Box<dyn Route>>,
    outgoing: Outgoing,
    filter: Filter,
    limits: Limits,
    workers: usize,
    codec: Plain,
    sinks: Vec<(SinkOptions, Box<dyn Sink>)>,
    wall_clock: WallClock,
    backend: Backend,
    decryption: Decryption,
    sample: Duration,
    passed: Vec<OwnedFd>,
}

impl Default for Builder {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listeners: Vec::new(),
            expects_proxy_header: false,
            route: None,
            outgoing: Outgoing::default(),
            filter: Filter::default(),
            limits: Limits::default(),
            workers: cores.min(4),
            codec: Plain::default(),
            sinks: Vec::new(),
            wall_clock: Arc::new(SystemTime::now),
            backend: Backend::Auto,
            decryption: Decryption::default(),
            sample: Duration::from_secs(1),
            passed: Vec::new(),
        }
    }
}

impl Builder {
    /// Listens on `from` too and connects its clients to `to`. Either is an [`Address`], or what
    /// becomes one, such as a text or a `SocketAddr`; what is wrong with it, [`bind`](Self::bind)
    /// says.
    pub fn route<F, T>(self, from: F, to: T) -> Self
    where
        F: TryInto<Address, Error: Into<AddressError>>,
        T: TryInto<Address, Error: Into<AddressError>>,
    {
        let to = to.try_into().map_err(Into::into).and_then(Address::into_target);
        self.listen(from, to.map(Target::Address))
    }

    fn listen<F>(mut self, from: F, target: Result<Target, AddressError>) -> Self
    where
        F: TryInto<Address, Error: Into<AddressError>>,
    {
        let from = from.try_into().map_err(Into::into);
        self.listeners.push(from.and_then(|from| Ok((from, target?))));
        self
    }

    /// Listens on `from` too, as a proxy: each client names its destination by SOCKS4, SOCKS4a,
    /// SOCKS5 or HTTP CONNECT, and, with `credentials`, logs in.
    ///
    /// Whoever can connect to `from` may reach what this machine reaches: without credentials
    /// listen on a loopback address only.
    pub fn proxy<F>(self, from: F, credentials: Option<Credentials>) -> Self
    where
        F: TryInto<Address, Error: Into<AddressError>>,
    {
        self.listen(from, Ok(Target::Proxy { credentials: credentials.map(Arc::new) }))
    }

    /// Listens on `from` too, and connects each client to where it was headed before a rule of
    /// the firewall (REDIRECT or TPROXY of netfilter) brought it here.
    pub fn transparent<F>(self, from: F) -> Self
    where
        F: TryInto<Address, Error: Into<AddressError>>,
    {
        self.listen(from, Ok(Target::Original))
    }

    /// Expects a header of the PROXY protocol, version 1 or 2, before each client's own bytes, on
    /// every listener: the client is then who the header says. Clients without one are reset.
    pub const fn expect_proxy_header(mut self) -> Self {
        self.expects_proxy_header = true;
        self
    }

    /// Has `route` decide where each client is connected to.
    pub fn route_by(mut self, route: impl Route) -> Self {
        self.route = Some(Box::new(route));
        self
    }

    /// Sets how servers are reached. By default directly.
    pub fn outgoing(mut self, outgoing: Outgoing) -> Self {
        let keepalive = outgoing.keepalive.map(|after| clamp_time(&KEEPALIVE, after));
        self.outgoing = Outgoing { keepalive, ..outgoing };
        self
    }

    /// Records only connections to destinations that `filter` lets through. The others are
    /// relayed, and no sink sees them.
    pub fn record_only(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Sets the bounds. By default those of [`Limits::default`]. What is outside of its
    /// [range](super::ranges) counts as the nearer end.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits.within_ranges();
        self
    }

    /// Sets the number of worker threads, from 1 to 1024; what is outside counts as the nearer
    /// end. By default one for each core, at most 4.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = clamp(&WORKERS, workers);
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

    /// Shows the plaintext of TLS to every sink that [wants](crate::sink::Interest::views) it, by
    /// the secrets in this key log, as programs write it where `SSLKEYLOGFILE` says. The file is
    /// followed while it grows; it need not exist yet. By default sinks see the wire.
    ///
    /// What passes is not changed and waits for nothing; see
    /// [`Decrypting`](crate::sink::Decrypting) for what waits on its way to a sink.
    #[cfg(feature = "tls")]
    pub fn decrypt_tls(mut self, key_log: impl Into<PathBuf>) -> Self {
        self.decryption.key_log = Some(key_log.into());
        self
    }

    /// Ends TLS in the tunnel as `ender` says, but for connections to the servers that `pass` lets
    /// through: those are left alone. A server is known by the name that the client asks for, by
    /// its address, and as the client named it to a proxy. By default TLS passes as it is.
    ///
    /// Sinks that [want](crate::sink::Interest::views) plaintext are given it. A
    /// [`codec`](Self::codec) has nothing to change then: [`bind`](Self::bind) refuses both.
    #[cfg(feature = "tls")]
    pub fn end_tls(mut self, ender: TlsEnder, pass: Filter) -> Self {
        let (ender, pass) = (Arc::new(ender), Arc::new(pass));
        self.decryption.ending = Some(TlsEnding { ender, pass });
        self
    }

    /// Listens by these sockets, which listen already, where one has the address of a listener;
    /// such as [those](super::inherited_sockets) that a service manager passed. Each has to be
    /// asked for by an address.
    pub fn listening_sockets(mut self, sockets: impl IntoIterator<Item = OwnedFd>) -> Self {
        self.passed.extend(sockets);
        self
    }

    /// Sets how often the sockets of open connections are looked at while a sink
    /// [asks](crate::sink::Interest::info) for it, from 10 ms up; by default every second.
    pub fn sample(mut self, interval: Duration) -> Self {
        self.sample = clamp_time(&SAMPLE, interval);
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
        #[cfg(feature = "tls")]
        if self.decryption.ending.is_some() && !self.codec.is_empty() {
            return Err(BindError::CodecAndTls);
        }
        let parsed = self.listeners.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (mut listening, mut passed) = (Vec::new(), Inherited(self.passed));
        for (from, target) in parsed {
            for socket in listen(&from, matches!(target, Target::Original), &mut passed)? {
                let (target, expects_proxy_header) = (target.clone(), self.expects_proxy_header);
                listening.push(Listening { socket, target, expects_proxy_header });
            }
        }
        passed.end()?;
        let loops = Loops::of(&listening).map_err(|circle| {
            let circle = circle.into_iter().map(|index| listening[index].to_string());
            BindError::Loop { routes: circle.collect::<Vec<_>>().join(", ") }
        })?;
        let listening = Arc::from(listening);
        let (pool, io) = WorkerPool::spawn(&listening, self.workers, self.backend)?;
        Ok(Tunnel {
            listening,
            route: self.route,
            outgoing: self.outgoing,
            filter: self.filter,
            catching: Vec::new(),
            pool,
            io,
            loops,
            limits: self.limits,
            workers: self.workers,
            codec: self.codec.into_codec(),
            sinks: self.sinks,
            handle: Handle::new(self.workers),
            wall_clock: self.wall_clock,
            decryption: self.decryption,
            sample: self.sample,
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Builder");
        debug
            .field("listeners", &self.listeners)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Describes a tunnel from an address to listen on to one to connect to, both written as
    /// [`Address`] says. They are looked at by [`Builder::bind`].
    pub fn builder<F, T>(from: F, to: T) -> Builder
    where
        F: TryInto<Address, Error: Into<AddressError>>,
        T: TryInto<Address, Error: Into<AddressError>>,
    {
        Builder::default().route(from, to)
    }
}
