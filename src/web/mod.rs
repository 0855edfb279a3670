//! The live page: connections and what they carry, in a browser, while it happens.
//!
//! [`WebSink`] takes events, holds the newest in memory that is bounded, and answers requests on a
//! thread of its own: the page, and the API that the page uses. Whoever has the token may ask, and
//! only under a name of this machine.

mod api;
mod assets;
mod connection;
mod download;
mod feed;
mod guard;
mod json;
mod limited;
mod query;
mod refusal;
mod rows;
mod search;
pub(crate) mod server;
mod shared;
mod store;

use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use rustix::io::retry_on_intr;
use rustix::rand::{GetRandomFlags, getrandom};

use self::server::Server;
use self::shared::App;
use self::store::Store;
use crate::capture::PcapngOptions;
use crate::event::{Event, EventKind, Leg, Views};
use crate::sink::{Interest, Sink};

/// [`WebOptions::buffer_bytes`] that make sense, with what waits for the sink.
pub const BUFFER_BYTES: RangeInclusive<u64> = 65_536..=u32::MAX as u64;

/// How long pages may take to fetch the rest at the end.
const LINGER: Duration = Duration::from_secs(1);

/// What the page holds, and to whom it is shown.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebOptions {
    /// How many bytes of connections and their data are held, 64 MiB by default. The oldest go
    /// first.
    pub buffer_bytes: usize,
    /// Names of this machine under which the page may be asked for, beside IP addresses and
    /// `localhost`. Others are refused, because a hostile page could have made them lead here.
    pub host_names: Vec<String>,
    /// How a capture is made that is downloaded; it has one stream a connection, whatever this
    /// says.
    pub capture: PcapngOptions,
}

impl Default for WebOptions {
    fn default() -> Self {
        let (host_names, capture) = (Vec::new(), PcapngOptions::default());
        Self { buffer_bytes: 64 << 20, host_names, capture }
    }
}

/// A sink that shows events in a browser.
///
/// Its thread only ever waits for memory to be copied. Give it a queue that drops
/// ([`OnSlow::Drop`](crate::sink::OnSlow::Drop)), and no page can slow the relay down; the page
/// says how much it missed.
pub struct WebSink {
    app: App,
    server: Server,
}

impl WebSink {
    /// Listens on `address`, of several on the first that can be, and answers requests from now
    /// on.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on, or there is no thread for it.
    pub fn bind(address: impl ToSocketAddrs, options: WebOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let (token, run) = (random(16)?, random(4)?);
        let WebOptions { buffer_bytes, host_names, capture } = options;
        let app = App::new(token, run, host_names, capture, Store::new(buffer_bytes));
        let server = Server::start("web", listener, api::router(app.clone()))?;
        Ok(Self { app, server })
    }

    /// The address that is listened on, with the real port where port 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The token that each request must have, as `?token=…` or `Authorization: Bearer …`. It is a
    /// new one for each sink, and nobody can guess it.
    pub fn token(&self) -> &str {
        &self.app.token
    }
}

impl Sink for WebSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        // The relay's own memory is for what is under way. That it was sent on has no bytes.
        let copy = match &event.kind {
            EventKind::Data { leg: Leg::Received, bytes, .. } => Bytes::copy_from_slice(bytes),
            _ => Bytes::new(),
        };
        self.app.store().record(event, copy);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.app.publish();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.app.store().end();
        self.app.publish();
        self.server.finish(LINGER);
        Ok(())
    }

    fn interest(&self) -> Interest {
        Interest::ALL.views(Views::Both).joining_legs().process().verdict()
    }
}

/// So many random bytes, in hexadecimal digits.
fn random(len: usize) -> io::Result<String> {
    let mut bytes = vec![0; len];
    let filled = retry_on_intr(|| getrandom(&mut bytes[..], GetRandomFlags::empty()))?;
    let mut text = String::new();
    for byte in &bytes[..filled] {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}
