//! One connection whose TLS ends in the tunnel.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::server::Accepted;

use super::ender::{Called, Kind, TlsEnder};
use super::hello::{Said, Search};
use super::leg::Leg;
use super::secrets::Secrets;
use super::server_leg::ServerLeg;
use crate::event::{EventKind, Side, Tls, TlsState};

/// What a client sends behind its hello, before it is answered, is kept up to this size.
const EARLY_MAX: usize = 64 << 10;
/// What is to be done, by side.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Bytes for each side's wire.
    pub(crate) to: [BytesMut; 2],
    /// Whether each side is to be sent FIN, behind its bytes.
    pub(crate) ends: [bool; 2],
    /// What is to be events, before the bytes.
    pub(crate) events: Vec<EventKind>,
    /// Whether both sides are to be reset, behind all of that.
    pub(crate) resets: bool,
    /// Whether nothing more is to be read from the side that has just spoken until the other has
    /// spoken, too: what it says would have to be kept.
    pub(crate) holds: bool,
    /// Whether the other side may go on, if it is held.
    pub(crate) releases: bool,
}

impl Effects {
    /// Reports what becomes of TLS with the server that is called `sni`, and why.
    pub(super) fn report(&mut self, state: TlsState, sni: Option<&str>, why: &str) {
        let mut tls = Tls::new(state);
        (tls.sni, tls.why) = (sni.map(Into::into), Some(why.into()));
        self.events.push(EventKind::Tls(Arc::new(tls)));
    }

    pub(super) fn to(&mut self, side: Side) -> &mut BytesMut {
        &mut self.to[side as usize]
    }
}

/// Tells whether the user wants a server to be left alone that the client calls by this name.
pub(crate) type Passes = Box<dyn Fn(Option<&str>) -> bool>;

/// What is known of the server before TLS begins.
pub(crate) struct Wanted {
    pub(crate) name: Option<String>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) passes: Passes,
}

/// One connection. Nothing here waits or fails: what cannot be opened passes, or ends.
pub(crate) struct Session {
    pub(super) ender: Arc<TlsEnder>,
    pub(super) wanted: Wanted,
    pub(super) secrets: Arc<Secrets>,
    /// The name that the client asks for.
    pub(super) sni: Option<String>,
    /// What a server said before its client had said anything, which TLS is to end for.
    pub(super) greeting: Vec<u8>,
    /// Whether plaintext has passed from the client to the server.
    pub(super) has_passed: bool,
    pub(super) state: State,
}

pub(super) enum State {
    /// No TLS so far.
    Searching(Search),
    /// The client's hello waits for the server's part.
    Reaching { accepted: Box<Accepted>, server: Box<ServerLeg>, early: Vec<u8> },
    /// TLS at one leg or at both.
    Open { client: Option<Box<Leg>>, server: Option<Box<ServerLeg>> },
    /// All passes as it is.
    Passing,
    /// It has failed: nothing passes any more.
    Over,
}

impl Session {
    pub(crate) fn new(ender: Arc<TlsEnder>, wanted: Wanted) -> Self {
        let state = State::Searching(Search::default());
        let secrets = Arc::default();
        Self { ender, wanted, secrets, sni: None, greeting: Vec::new(), has_passed: false, state }
    }

    /// What is done before a peer says anything: where the client speaks plaintext, TLS with the
    /// server begins at once.
    pub(crate) fn start(&mut self) -> Effects {
        let mut effects = Effects::default();
        let ender = Arc::clone(&self.ender);
        let Kind::Originate(reach) = &ender.kind else { return effects };
        if (self.wanted.passes)(None) {
            self.pass("--tls-pass", &mut effects);
            return effects;
        }
        match self.reach(reach, Vec::new()) {
            Ok(server) => {
                self.state = State::Open { client: None, server: Some(Box::new(server)) };
            }
            Err(error) => self.server_failed(&error, &mut effects),
        }
        self.settle(effects)
    }

    /// Takes bytes of one side.
    pub(crate) fn receive(&mut self, from: Side, bytes: &[u8]) -> Effects {
        let mut effects = Effects::default();
        match from {
            Side::Client => self.client_said(bytes, &mut effects),
            Side::Server => self.server_said(bytes, &mut effects),
        }
        self.settle_after(from, effects)
    }

    /// Whether what a side says now would have to be kept, since the other is not ready for it.
    fn is_early(&self, from: Side) -> bool {
        match (&self.state, from) {
            // Whoever ends TLS that begins with the connection cannot greet in clear.
            (State::Searching(_), Side::Server) => self.is_terminating(),
            (State::Open { client: Some(client), .. }, Side::Server) => client.is_handshaking(),
            (State::Open { server: Some(server), .. }, Side::Client) => server.leg.is_handshaking(),
            _ => false,
        }
    }

    fn is_terminating(&self) -> bool {
        matches!(self.ender.kind, Kind::Terminate(_))
    }

    fn settle_after(&mut self, from: Side, mut effects: Effects) -> Effects {
        effects.holds = self.is_early(from);
        effects.releases = !self.is_early(!from);
        self.settle(effects)
    }

    /// One side has ended its stream (FIN), which the tunnel passes on behind what is done here.
    pub(crate) fn end(&mut self, from: Side) -> Effects {
        let mut effects = Effects::default();
        match &mut self.state {
            State::Searching(search) => {
                let held = search.release();
                effects.to(Side::Server).extend_from_slice(&held);
                if from == Side::Client && search.has_spoken() {
                    self.pass("not TLS", &mut effects);
                }
            }
            State::Open { client, server } => {
                let is_open = match (from, &client, &server) {
                    (Side::Client, Some(client), _) => !client.is_handshaking(),
                    (Side::Server, _, Some(server)) => !server.leg.is_handshaking(),
                    _ => true,
                };
                match (from, client, server) {
                    _ if !is_open => self.left(Some(from), &mut effects),
                    (Side::Client, None, Some(server)) => server.leg.end(),
                    (Side::Server, Some(client), None) => client.end(),
                    _ => {}
                }
            }
            State::Reaching { .. } => self.left(Some(from), &mut effects),
            State::Passing | State::Over => {}
        }
        self.settle_after(from, effects)
    }

    /// The last events of a connection that has ended, `by` one of both.
    pub(crate) fn close(&mut self, by: Option<Side>) -> Vec<EventKind> {
        let mut effects = Effects::default();
        match &self.state {
            State::Searching(search) if search.has_spoken() => {
                effects.report(TlsState::Passed, None, "not TLS");
            }
            State::Reaching { .. } | State::Open { .. } => self.left(by, &mut effects),
            _ => {}
        }
        self.state = State::Over;
        effects.events
    }

    pub(super) fn client_said(&mut self, bytes: &[u8], effects: &mut Effects) {
        match &mut self.state {
            State::Searching(search) => {
                let clear = effects.to(Side::Server);
                let said = search.push(bytes, &self.ender.provider, clear);
                match said {
                    Said::Nothing if !clear.is_empty() && self.is_terminating() => {
                        clear.clear();
                        self.refuse("the client does not speak TLS", effects);
                    }
                    Said::Nothing => {}
                    Said::Hello(hello) => self.hello(*hello, effects),
                    Said::Closed(_, why) if self.is_terminating() => self.refuse(&why, effects),
                    Said::Closed(raw, why) => {
                        clear.extend_from_slice(&raw);
                        self.pass(&why, effects);
                    }
                }
            }
            State::Reaching { early, .. } if early.len() + bytes.len() <= EARLY_MAX => {
                early.extend_from_slice(bytes);
            }
            State::Reaching { .. } => {
                self.refuse("the client sent too much before it was answered", effects);
            }
            State::Open { client: Some(client), server } => {
                let to_server = &mut effects.to[Side::Server as usize];
                let received = client.receive(bytes, |plain| {
                    self.has_passed = true;
                    match server {
                        Some(server) => server.leg.send(plain),
                        None => to_server.extend_from_slice(plain),
                    }
                });
                if client.has_peer_ended {
                    match server {
                        Some(server) => server.leg.end(),
                        None => effects.ends[Side::Server as usize] = true,
                    }
                }
                if let Err(error) = received {
                    self.client_failed(&error, effects);
                }
            }
            State::Open { client: None, server: Some(server) } => {
                server.leg.send(bytes);
            }
            State::Open { client: None, server: None } | State::Passing => {
                effects.to(Side::Server).extend_from_slice(bytes);
            }
            State::Over => {}
        }
    }

    fn server_said(&mut self, bytes: &[u8], effects: &mut Effects) {
        match &mut self.state {
            State::Searching(_) if matches!(self.ender.kind, Kind::Terminate(_)) => {
                self.greeting.extend_from_slice(bytes);
            }
            State::Searching(search) => {
                let held = search.answered();
                effects.to(Side::Server).extend_from_slice(&held);
                effects.to(Side::Client).extend_from_slice(bytes);
            }
            State::Passing => effects.to(Side::Client).extend_from_slice(bytes),
            State::Reaching { server, .. } => {
                let mut before = Vec::new();
                let received = server.leg.receive(bytes, |plain| before.extend_from_slice(plain));
                match received {
                    Err(error) => self.server_failed(&error, effects),
                    Ok(()) if server.leg.is_handshaking() => {}
                    Ok(()) => self.answer(&before, effects),
                }
            }
            State::Open { client, server: Some(server) } => {
                let to_client = &mut effects.to[Side::Client as usize];
                let received = server.leg.receive(bytes, |plain| match client {
                    Some(client) => client.send(plain),
                    None => to_client.extend_from_slice(plain),
                });
                if server.leg.has_peer_ended {
                    match client {
                        Some(client) => client.end(),
                        None => effects.ends[Side::Client as usize] = true,
                    }
                }
                if let Err(error) = received {
                    self.server_failed(&error, effects);
                }
            }
            State::Open { client: Some(client), server: None } => client.send(bytes),
            State::Open { client: None, server: None } | State::Over => {}
        }
    }

    /// Collects what both legs have to write, and the secrets that it takes to read it.
    fn settle(&mut self, mut effects: Effects) -> Effects {
        self.write(&mut effects);
        if let Some(lines) = self.secrets.take() {
            effects.events.insert(0, EventKind::Secrets(lines));
        }
        effects
    }

    pub(super) fn write(&mut self, effects: &mut Effects) {
        match &mut self.state {
            State::Reaching { server, .. } => server.leg.wire(effects.to(Side::Server)),
            State::Open { client, server } => {
                if let Some(client) = client {
                    client.wire(effects.to(Side::Client));
                }
                if let Some(server) = server {
                    server.leg.wire(effects.to(Side::Server));
                }
            }
            _ => {}
        }
    }

    /// Who the server is.
    pub(super) fn called(&self) -> Called {
        (self.name(), self.wanted.ip, self.wanted.port)
    }

    /// How the server is called: by the client, or else by its address. A server on a unix socket
    /// is on this machine.
    pub(super) fn name(&self) -> String {
        let wanted = self.wanted.name.as_deref();
        let name = self.sni.as_deref().or(wanted).map(str::to_owned);
        name.or_else(|| self.wanted.ip.map(|ip| ip.to_string()))
            .unwrap_or_else(|| "localhost".to_owned())
    }
}
