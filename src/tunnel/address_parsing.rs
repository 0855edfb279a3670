//! Reads addresses as people type them.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use super::address::{Address, AddressError, AddressProblem, MAX_PATH};
use crate::net;

/// The ports of schemes that people copy from elsewhere (IANA's registry of service names).
const PORTS: [(&str, u16); 24] = [
    ("amqp", 5672),
    ("amqps", 5671),
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imaps", 993),
    ("ldap", 389),
    ("ldaps", 636),
    ("memcached", 11211),
    ("mongodb", 27017),
    ("mqtt", 1883),
    ("mqtts", 8883),
    ("mysql", 3306),
    ("nats", 4222),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("redis", 6379),
    ("rediss", 6379),
    ("smtp", 25),
    ("ssh", 22),
    ("telnet", 23),
    ("ws", 80),
    ("wss", 443),
];

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(input: &str) -> Result<Self, AddressError> {
        parse(input).map_err(|problem| AddressError::new(without_login(input), problem))
    }
}

fn parse(input: &str) -> Result<Address, AddressProblem> {
    if let Some(path) = input.strip_prefix("unix:") {
        return unix(path.as_ref());
    }
    if input.contains(char::is_whitespace) {
        return Err(AddressProblem::Space);
    }
    match input.split_once("://") {
        Some((scheme, rest)) => url(scheme, rest),
        None => plain(input),
    }
}

/// The address without the user and the password that a URL may have, for messages.
fn without_login(input: &str) -> String {
    match input.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let login = authority.rfind('@').map_or(0, |at| at + 1);
            format!("{scheme}://{}", &rest[login..])
        }
        None => input.to_owned(),
    }
}

/// The path of a unix socket.
fn unix(path: &OsStr) -> Result<Address, AddressProblem> {
    match path.len() {
        0 => Err(AddressProblem::MissingPath),
        len if len > MAX_PATH => Err(AddressProblem::LongPath { len }),
        _ => Ok(Address::Unix(path.into())),
    }
}

/// A URL, of which the host and the port count.
fn url(scheme: &str, rest: &str) -> Result<Address, AddressProblem> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match plain(host) {
        Err(AddressProblem::MissingPort { .. }) => {
            let scheme = scheme.to_ascii_lowercase();
            let known = PORTS.iter().find(|(name, _)| *name == scheme);
            let Some((_, port)) = known else {
                return Err(AddressProblem::UnknownScheme { scheme });
            };
            plain(&format!("{}:{port}", host.trim_end_matches(':')))
        }
        // A number alone is a host's, not a port.
        Ok(_) | Err(AddressProblem::LargePort)
            if host.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Err(AddressProblem::BadHost { host: host.to_owned() })
        }
        found => found,
    }
}

/// Anything but a URL and a path.
fn plain(input: &str) -> Result<Address, AddressProblem> {
    if let Ok(address) = input.parse::<SocketAddr>() {
        return Ok(Address::Ip(address));
    }
    if !input.is_empty() && input.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = port(input).map_err(|_| AddressProblem::LargePort)?;
        return Ok(Address::Ip((Ipv4Addr::LOCALHOST, port).into()));
    }
    if let Some(scoped) = scoped(input) {
        return scoped;
    }
    if let Some(error) = unbracketed_ipv6(input) {
        return Err(error);
    }
    if matches!(input, "" | ":") {
        return Err(AddressProblem::MissingHost);
    }
    let Some((host, number)) = input.rsplit_once(':') else {
        return Err(AddressProblem::MissingPort { host: input.to_owned() });
    };
    if number.is_empty() || host.ends_with(':') && !host.starts_with('[') {
        return Err(AddressProblem::MissingPort { host: host.trim_end_matches(':').to_owned() });
    }
    let port = port(number)?;
    match host {
        "" | "*" => Ok(Address::Any { port }),
        host if is_host_name(host) => Ok(Address::Name { host: host.to_owned(), port }),
        _ => Err(AddressProblem::BadHost { host: host.to_owned() }),
    }
}

fn port(port: &str) -> Result<u16, AddressProblem> {
    // `u16::from_str` takes a sign.
    let number = port.parse().ok().filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()));
    number.ok_or_else(|| AddressProblem::BadPort { port: port.to_owned() })
}

/// `[fe80::1%eth0]:80`, and the same without brackets or a port, which says what is missing.
fn scoped(input: &str) -> Option<Result<Address, AddressProblem>> {
    let (ip, rest) = input.split_once('%')?;
    let ip: Ipv6Addr = ip.strip_prefix('[').unwrap_or(ip).parse().ok()?;
    let Some((name, number)) = rest.split_once("]:") else {
        let name = rest.trim_end_matches(']');
        let (name, port) = name.rsplit_once(':').unwrap_or((name, "80"));
        let port = port.parse().unwrap_or(80);
        let suggested = format!("{ip}%{name}");
        return Some(Err(AddressProblem::MissingBrackets { suggested, port }));
    };
    let Some(scope) = net::interface_number(name) else {
        return Some(Err(AddressProblem::UnknownInterface { name: name.to_owned() }));
    };
    Some(port(number).map(|port| Address::Scoped {
        address: SocketAddrV6::new(ip, port, 0, scope),
        interface: name.to_owned(),
    }))
}

/// `::1:80` and `[::1]`: what is meant is clear, what is missing too.
fn unbracketed_ipv6(input: &str) -> Option<AddressProblem> {
    let bare = input.trim_matches(|c| matches!(c, '[' | ']'));
    if bare.len() < input.len() && bare.parse::<IpAddr>().is_ok() {
        return Some(AddressProblem::MissingPort { host: input.to_owned() });
    }
    let (host, port) = input.rsplit_once(':')?;
    if let (Ok(suggested), Ok(port)) = (host.parse::<Ipv6Addr>(), port.parse()) {
        return Some(AddressProblem::MissingBrackets { suggested: suggested.to_string(), port });
    }
    let suggested = input.parse::<Ipv6Addr>().ok()?.to_string();
    Some(AddressProblem::MissingBrackets { suggested, port: 80 })
}

/// Whether a resolver could know it: letters, digits, `-`, `_` and dots (RFC 952, 1123; the
/// underscore is there in practice), or anything beyond ASCII.
fn is_host_name(host: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c) || !c.is_ascii();
    // All digits and dots is an IP address gone wrong, which some resolvers would take.
    let numeric = host.chars().all(|c| c.is_ascii_digit() || c == '.');
    !host.is_empty() && host.len() <= 253 && host.chars().all(fits) && !numeric
}

impl TryFrom<&OsStr> for Address {
    type Error = AddressError;

    fn try_from(input: &OsStr) -> Result<Self, AddressError> {
        let wrong = |problem| AddressError::new(input.display().to_string(), problem);
        if let Some(path) = input.as_bytes().strip_prefix(b"unix:") {
            return unix(OsStr::from_bytes(path)).map_err(wrong);
        }
        input.to_str().ok_or_else(|| wrong(AddressProblem::NotUtf8))?.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(input: &str) -> String {
        input.parse::<Address>().expect_err(input).to_string()
    }

    #[test]
    fn parsed_address_prints_as_read() {
        for good in ["127.0.0.1:80", "[::1]:0", "example.com:65535", "a_b-c:1", "unix:/run/x y"] {
            assert_eq!(good.parse::<Address>().expect(good).to_string(), good);
        }
    }

    #[test]
    fn typed_addresses_are_parsed() {
        for (typed, meant) in [
            (":8080", "*:8080"),
            ("*:8080", "*:8080"),
            ("8080", "127.0.0.1:8080"),
            ("localhost:8080", "localhost:8080"),
            ("[fe80::1%1]:80", "[fe80::1%1]:80"),
            ("[fe80::1%lo]:80", "[fe80::1%lo]:80"),
            ("http://example.com", "example.com:80"),
            ("http://example.com:8000/a/b?c#d", "example.com:8000"),
            ("HTTPS://example.com/", "example.com:443"),
            ("https://[::1]", "[::1]:443"),
            ("tcp://h:1234", "h:1234"),
            ("redis://:secret@cache", "cache:6379"),
            ("postgres://me:se:cr@et@db/name", "db:5432"),
            ("postgresql://me@127.0.0.1:5433/name", "127.0.0.1:5433"),
        ] {
            assert_eq!(typed.parse::<Address>().expect(typed).to_string(), meant, "{typed}");
        }
    }

    #[test]
    fn bad_addresses_say_what_to_try() {
        for (input, words) in [
            ("example.com", "'example.com': missing port (try 'example.com:80')"),
            ("127.0.0.1", "missing port (try '127.0.0.1:80')"),
            ("[::1]", "missing port (try '[::1]:80')"),
            ("example.com:", "missing port (try 'example.com:80')"),
            ("example.com:http", "invalid port 'http' (expected 1 to 65535)"),
            ("example.com:65536", "invalid port '65536' (expected"),
            ("65536", "'65536': the port is too large (expected 1 to 65535)"),
            ("h:+1", "invalid port '+1' (expected"),
            ("::1:8080", "(try '[::1]:8080')"),
            ("fe80::1", "missing brackets"),
            ("fe80::1%eth0", "(try '[fe80::1%eth0]:80')"),
            ("[fe80::1%no-such]:80", "unknown interface 'no-such'"),
            ("foo://h", "'foo://h': missing port (try 'foo://HOST:PORT')"),
            ("tcp://h", "missing port (try 'tcp://HOST:PORT')"),
            ("http://", "'http://': missing host"),
            ("http://70000/", "invalid host '70000'"),
            ("127.0.0:80", "invalid host '127.0.0' (expected"),
            ("unix:", "missing path (try 'unix:/run/name.sock')"),
            ("a b:80", "no space is allowed (remove it)"),
            ("", "'': missing host"),
            (":", "':': missing host"),
        ] {
            assert!(error(input).contains(words), "{input}: {}", error(input));
        }
        for login in ["http://me:secret@", "foo://me:secret@h", "http://me:secret@h/x y"] {
            assert!(!error(login).contains("secret"), "{}", error(login));
        }
    }

    #[test]
    fn path_keeps_its_bytes() {
        let typed = OsStr::from_bytes(b"unix:/tmp/\xff");
        let address = Address::try_from(typed).unwrap();
        assert_eq!(address, Address::Unix(OsStr::from_bytes(b"/tmp/\xff").into()));
        assert!(Address::try_from(OsStr::from_bytes(b"\xff:80")).is_err());
    }
}
