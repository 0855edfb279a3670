//! The NATS server: where it is, and how it knows us.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};

use crate::os_error::Sentence;

/// How long the server is silent before it is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// How a server knows who connects, unless its URL says it.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Credentials {
    /// It need not know.
    #[default]
    None,
    /// A user and a password.
    User(String, String),
    /// A token.
    Token(String),
    /// A file that `nsc` has made, with a signed permission and a key.
    File(PathBuf),
}

/// A NATS server.
#[derive(Clone)]
#[non_exhaustive]
pub struct Server {
    /// Its URL: `nats://[USER:PASS@]HOST[:PORT]`, or `tls://…`.
    pub url: String,
    /// How it knows us.
    pub credentials: Credentials,
}

/// The URL without user and password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("nats", &self.url));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        write!(f, "{scheme}://{host}")
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({self})")
    }
}

impl Server {
    /// A server at a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL.
    pub fn new(url: impl Into<String>, credentials: Credentials) -> Result<Self, String> {
        let url = url.into();
        let is_nats = url.starts_with("nats://") || url.starts_with("tls://");
        match url.parse::<ServerAddr>() {
            Ok(address) if is_nats && !address.host().is_empty() => Ok(Self { url, credentials }),
            _ => Err("not the URL of a NATS server (try 'nats://HOST:4222')".to_owned()),
        }
    }

    /// Connects, now or later: the client that comes back tries again for as long as it lives.
    pub(super) async fn connect(&self) -> Result<(Client, Context), String> {
        let name = self.to_string();
        let mut options = ConnectOptions::new()
            .name("tcp_tunn")
            .ping_interval(PING_INTERVAL)
            .retry_on_initial_connect()
            .reconnect_delay_callback(|attempts| {
                Duration::from_millis(50 << attempts.min(4)).min(Duration::from_millis(500))
            })
            .event_callback(move |event| {
                match event {
                    Event::Connected => tracing::info!("connected to {name}"),
                    Event::Disconnected => tracing::warn!("{name} is away; trying again"),
                    other => tracing::warn!("{name}: {other}"),
                }
                std::future::ready(())
            });
        options = match self.credentials.clone() {
            Credentials::None => options,
            Credentials::User(user, password) => options.user_and_password(user, password),
            Credentials::Token(token) => options.token(token),
            Credentials::File(path) => {
                let shown = path.display().to_string();
                options.credentials_file(path).await.map_err(|error| {
                    let error = Sentence(&error);
                    format!("cannot read the credentials in {shown}: {error}")
                })?
            }
        };
        let client = options.connect(self.url.as_str()).await.map_err(|error| error.to_string())?;
        let context = jetstream::new(client.clone());
        Ok((client, context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_not_shown() {
        let server = Server::new("nats://me:secret@host:4222", Credentials::None).unwrap();
        assert_eq!(server.to_string(), "nats://host:4222");
        assert_eq!(format!("{server:?}"), "Server(nats://host:4222)");
    }

    #[test]
    fn other_urls_are_refused() {
        for url in ["", "host", "http://host", "nats://", "nats://a b"] {
            assert!(Server::new(url, Credentials::None).is_err(), "{url}");
        }
    }
}
