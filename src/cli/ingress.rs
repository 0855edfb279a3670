//! How clients come in and how servers are reached.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tcp_tunn::ingress::{Credentials, Filter, Pattern, ProxyVersion, Via};
use tcp_tunn::tunnel::{Address, Builder, Outgoing};

use super::ranges::time;
use super::values::{address, pattern, via};

/// Listeners whose clients' destinations are found in another way than by `--to`.
#[derive(Debug, clap::Args)]
pub(super) struct IngressArgs {
    /// Listen here as a proxy (SOCKS and HTTP CONNECT)
    ///
    /// Listen here as a proxy. Each client names its server by SOCKS4, SOCKS4a, SOCKS5 or HTTP
    /// CONNECT. An address that is not loopback needs --proxy-user.
    #[arg(long, value_name = "ADDR", value_parser = address())]
    pub(super) proxy: Vec<Address>,

    /// Accept only clients of --proxy that log in with this user and password
    ///
    /// Accept only clients of --proxy that log in with this user and password: by RFC 1929 in
    /// SOCKS5, by Basic in HTTP. SOCKS4 has no password and is refused.
    #[arg(long, value_name = "USER:PASS", hide_short_help = true)]
    proxy_user: Option<Credentials>,

    /// Listen here for connections that the firewall redirects
    ///
    /// Listen here for connections that a rule of the firewall (REDIRECT or TPROXY) brings, and
    /// connect each to its original destination.
    #[arg(long, value_name = "ADDR", value_parser = address(), hide_short_help = true)]
    pub(super) transparent: Vec<Address>,

    /// Expect a PROXY protocol header from each client
    ///
    /// Expect a PROXY protocol header, version 1 or 2, from each client, as load balancers send
    /// it. Its source is shown as the client. A client without one is reset.
    #[arg(long, hide_short_help = true)]
    accept_proxy_protocol: bool,
}

/// How servers are reached.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Outgoing options")]
pub(super) struct OutgoingArgs {
    /// Reach every server through this proxy
    ///
    /// Reach every server through this proxy: socks5://[USER:PASS@]HOST:PORT or
    /// http://[USER:PASS@]HOST:PORT. The proxy resolves the servers' names.
    #[arg(long, value_name = "URL", value_parser = via(), hide_short_help = true)]
    via: Option<Via>,

    /// Connect to servers from this address
    ///
    /// Connect to servers from this address of this machine; port 0, the default, is any.
    #[arg(long, value_name = "IP[:PORT]", value_parser = source, hide_short_help = true)]
    bind: Option<SocketAddr>,

    /// Send each server a PROXY protocol header that names its client
    #[arg(long, value_name = "v1|v2", hide_short_help = true)]
    send_proxy_protocol: Option<ProxyVersion>,

    /// Check that a silent peer is still there [default: none]
    ///
    /// Check, on both sides, that a peer that is silent for this long is still there (TCP
    /// keep-alive).
    #[arg(long, value_name = "DUR", value_parser = time("keepalive"), hide_short_help = true)]
    keepalive: Option<Duration>,
}

/// Which destinations are recorded.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which destinations")]
pub(super) struct FilterArgs {
    /// Record only connections to this destination
    ///
    /// Record only connections to this destination: HOST, *.HOST, IP or CIDR, each with or without
    /// :PORT, or :PORT alone. Others are relayed unseen; run leaves them wholly alone.
    #[arg(long, value_name = "PATTERN", value_parser = pattern(), hide_short_help = true)]
    include: Vec<Pattern>,

    /// Do not record connections to this destination
    #[arg(long, value_name = "PATTERN", value_parser = pattern(), hide_short_help = true)]
    exclude: Vec<Pattern>,
}

fn source(input: &str) -> Result<SocketAddr, &'static str> {
    if let Ok(ip) = input.parse::<IpAddr>() {
        return Ok((ip, 0).into());
    }
    input.parse().map_err(|_| "not an address (expected IP or IP:PORT, such as 192.0.2.1)")
}

impl IngressArgs {
    /// Whether clients come in by a listener of these.
    pub(super) const fn is_any(&self) -> bool {
        !self.proxy.is_empty() || !self.transparent.is_empty()
    }

    /// What cannot work, if anything; `listens` says whether there is any listener.
    pub(super) fn check(&self, listens: bool) -> Result<(), String> {
        if self.proxy_user.is_some() && self.proxy.is_empty() {
            return Err("--proxy-user has no effect without --proxy (try '--proxy ADDR')".into());
        }
        if self.accept_proxy_protocol && !listens {
            let what = "--accept-proxy-protocol has no effect without a listener";
            return Err(format!("{what} (try '--from ADDR --to ADDR')"));
        }
        let is_open = |address: &&Address| !is_loopback(address);
        match self.proxy.iter().find(is_open) {
            Some(address) if self.proxy_user.is_none() => {
                let what = format!("--proxy {address} would let everybody use this proxy");
                Err(format!("{what} (give --proxy-user USER:PASS, or try '127.0.0.1:1080')"))
            }
            _ => Ok(()),
        }
    }

    /// Adds the listeners.
    pub(super) fn add_to(&self, mut builder: Builder) -> Builder {
        for address in &self.proxy {
            builder = builder.proxy(address, self.proxy_user.clone());
        }
        for address in &self.transparent {
            builder = builder.transparent(address);
        }
        if self.accept_proxy_protocol { builder.expect_proxy_header() } else { builder }
    }
}

/// Whether only this machine reaches the address.
fn is_loopback(address: &Address) -> bool {
    match address {
        Address::Ip(address) => address.ip().to_canonical().is_loopback(),
        Address::Name { host, .. } => host.eq_ignore_ascii_case("localhost"),
        Address::Unix(_) => true,
        _ => false,
    }
}

impl OutgoingArgs {
    pub(super) fn outgoing(&self) -> Outgoing {
        Outgoing::default()
            .via(self.via.clone())
            .bind(self.bind)
            .keepalive(self.keepalive)
            .send_proxy(self.send_proxy_protocol)
    }
}

impl FilterArgs {
    pub(super) fn filter(&self) -> Filter {
        Filter::new(self.include.clone(), self.exclude.clone())
    }
}

/// A word of a command line without the password in it, if there is one.
pub(super) fn without_password(word: &str, before: Option<&str>) -> String {
    let hide = |login: &str| {
        let user = login.split_once(':').map_or(login, |(user, _)| user);
        format!("{user}:...")
    };
    if before == Some("--proxy-user") {
        return hide(word);
    }
    if let Some(login) = word.strip_prefix("--proxy-user=") {
        return format!("--proxy-user={}", hide(login));
    }
    match word.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (_, host))) => format!("{scheme}://{host}"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::str::FromStr;

    use super::*;

    fn parsed<T: FromStr<Err: Debug>>(text: &str) -> T {
        text.parse().expect(text)
    }

    #[test]
    fn password_stays_out_of_what_is_shown() {
        for (before, word, shown) in [
            (Some("--proxy-user"), "me:secret", "me:..."),
            (None, "--proxy-user=me:secret", "--proxy-user=me:..."),
            (Some("--via"), "socks5://me:secret@h:1", "socks5://h:1"),
            (None, "--via=http://me:secret@h:1", "--via=http://h:1"),
            (Some("--to"), "postgres://me:secret@h/db", "postgres://h/db"),
            (Some("--to"), "http://h:1/", "http://h:1/"),
            (None, "--proxy", "--proxy"),
        ] {
            assert_eq!(without_password(word, before), shown);
        }
    }

    #[test]
    fn open_proxy_needs_a_password() {
        for address in ["127.0.0.1:0", "[::1]:1", "localhost:1", "unix:/x", "[::ffff:127.0.0.1]:1"]
        {
            assert!(is_loopback(&parsed(address)), "{address}");
        }
        for address in ["0.0.0.0:0", "[::]:1", "example.com:1", "192.0.2.1:1"] {
            assert!(!is_loopback(&parsed(address)), "{address}");
        }
    }

    #[test]
    fn source_is_an_address_with_or_without_a_port() {
        assert_eq!(source("192.0.2.1"), Ok(parsed("192.0.2.1:0")));
        assert_eq!(source("[::1]:5"), Ok(parsed("[::1]:5")));
        assert_eq!(source("::1"), Ok(parsed("[::1]:0")));
        assert!(source("eth0").is_err());
    }
}
