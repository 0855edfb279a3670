//! How servers are reached.

use std::net::SocketAddr;
use std::time::Duration;

use crate::ingress::{ProxyVersion, Via};

/// How servers are reached: directly and from any address, unless set otherwise.
///
/// ```
/// use std::time::Duration;
/// use tcp_tunn::ingress::Via;
/// use tcp_tunn::tunnel::Outgoing;
///
/// let outgoing = Outgoing::default()
///     .via("socks5://127.0.0.1:1080".parse::<Via>().unwrap())
///     .keepalive(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing {
    /// The proxy through which every server is reached. A name is then resolved by the proxy.
    pub via: Option<Via>,
    /// The address that connections come from; port 0 is any. Servers of another address family
    /// are not reached.
    pub bind: Option<SocketAddr>,
    /// Has the kernel ask a peer that is silent for this long whether it is still there, on both
    /// sides: from 1 to 32,767 seconds. By default peers are not asked.
    pub keepalive: Option<Duration>,
    /// Tells each server who its client is, by a header of the PROXY protocol before the client's
    /// bytes.
    pub send_proxy: Option<ProxyVersion>,
}

impl Outgoing {
    /// The same with another [`via`](field@Self::via).
    #[must_use]
    pub fn via(mut self, via: impl Into<Option<Via>>) -> Self {
        self.via = via.into();
        self
    }

    /// The same with another [`bind`](field@Self::bind).
    #[must_use]
    pub fn bind(mut self, source: impl Into<Option<SocketAddr>>) -> Self {
        self.bind = source.into();
        self
    }

    /// The same with another [`keepalive`](field@Self::keepalive).
    #[must_use]
    pub fn keepalive(mut self, after: impl Into<Option<Duration>>) -> Self {
        self.keepalive = after.into();
        self
    }

    /// The same with another [`send_proxy`](field@Self::send_proxy).
    #[must_use]
    pub fn send_proxy(mut self, version: impl Into<Option<ProxyVersion>>) -> Self {
        self.send_proxy = version.into();
        self
    }
}
