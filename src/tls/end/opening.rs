//! How TLS of a session begins: the client's hello, the server's part, the answer to the client.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::AcceptedAlert;
use rustls::{Error, ServerConnection};

use super::ender::Kind;
use super::failure::of_client;
use super::hello::Hello;
use super::leg::Leg;
use super::server_leg::{Reach, ServerLeg};
use super::session::{Effects, Session, State};
use super::trouble::alert_record;
use crate::event::{Side, TlsState};

/// Protocols that are not chosen for plaintext, which nobody speaks them in.
const NOT_CHOSEN: [&[u8]; 2] = [b"h2", b"h3"];
const HTTP_1_1: &[u8] = b"http/1.1";
/// The alert for a fault of our own (RFC 8446 section 6.2).
const INTERNAL_ERROR: u8 = 80;

impl Session {
    /// The client wants TLS.
    pub(super) fn hello(&mut self, hello: Hello, effects: &mut Effects) {
        self.sni = hello.sni;
        let ender = Arc::clone(&self.ender);
        let why = if (self.wanted.passes)(self.sni.as_deref()) {
            Some("--tls-pass")
        } else if ender.is_closed(&self.called()) {
            Some("its server could not be opened before")
        } else {
            None
        };
        if let Some(why) = why {
            effects.to(Side::Server).extend_from_slice(&hello.raw);
            return self.pass(why, effects);
        }
        match &ender.kind {
            Kind::Intercept { reach, .. } => match self.reach(reach, hello.alpn) {
                Ok(server) => {
                    let (accepted, server) = (Box::new(hello.accepted), Box::new(server));
                    let early = hello.early;
                    self.state = State::Reaching { accepted, server, early };
                }
                Err(error) => self.server_failed(&error, effects),
            },
            Kind::Terminate(user) => {
                let alpn = choose(&hello.alpn);
                let secrets = Arc::clone(&self.secrets);
                let config = ender.answers.as_user(user, alpn, secrets);
                let accepted = config.map(|config| hello.accepted.into_connection(config));
                self.accepted(accepted, None, effects);
                let greeting = std::mem::take(&mut self.greeting);
                if let State::Open { client: Some(client), .. } = &mut self.state {
                    client.send(&greeting);
                }
                if !hello.early.is_empty() {
                    self.client_said(&hello.early, effects);
                }
            }
            // Its client speaks plaintext, and there is no search for a hello.
            Kind::Originate(_) => {}
        }
    }

    /// Begins TLS with the server.
    pub(super) fn reach(&self, reach: &Reach, alpn: Vec<Vec<u8>>) -> Result<ServerLeg, Error> {
        let tells_name = self.sni.is_some() || matches!(self.ender.kind, Kind::Originate(_));
        let name = ServerName::try_from(self.name())
            .map_err(|_| Error::General("the server has no name to look for".to_owned()))?;
        reach.begin(name, alpn, tells_name, Arc::clone(&self.secrets))
    }

    /// The server's part is done: the client is answered in its name.
    pub(super) fn answer(&mut self, before: &[u8], effects: &mut Effects) {
        let state = std::mem::replace(&mut self.state, State::Over);
        let State::Reaching { accepted, server, early } = state else { return };
        let ender = Arc::clone(&self.ender);
        let Kind::Intercept { authority, reach } = &ender.kind else { return };
        let name = self.name();
        let also = Some(name.as_str()).filter(|_| reach.takes_all);
        if server.has_asked_in_vain() {
            let why = format!(
                "the server asks for a client certificate, and none is given (try \
                 '--tls-client-cert FILE', or '--tls-pass {name}')"
            );
            effects.report(TlsState::Intercepted, self.sni.as_deref(), &why);
        }
        let config = server.leg.peer_certificate().and_then(|certificate| {
            let secrets = Arc::clone(&self.secrets);
            let alpn = server.leg.alpn();
            ender.answers.in_name_of(certificate, &name, also, alpn, authority, secrets)
        });
        let accepted = config.map(|config| accepted.into_connection(config));
        let has_server_ended = server.leg.has_peer_ended;
        self.accepted(accepted, Some(server), effects);
        if let State::Open { client: Some(client), .. } = &mut self.state {
            client.send(before);
            if has_server_ended {
                client.end();
            }
        }
        if !early.is_empty() {
            self.client_said(&early, effects);
        }
    }

    /// TLS with the client begins, if it can.
    pub(super) fn accepted(
        &mut self,
        accepted: Option<Result<ServerConnection, (Error, AcceptedAlert)>>,
        server: Option<Box<ServerLeg>>,
        effects: &mut Effects,
    ) {
        match accepted {
            Some(Ok(client)) => {
                self.state = State::Open { client: Some(Box::new(Leg::new(client))), server };
            }
            Some(Err((error, mut alert))) => {
                let mut bytes = Vec::new();
                // It writes to memory.
                let _ = alert.write_all(&mut bytes);
                effects.to(Side::Client).extend_from_slice(&bytes);
                let why = of_client(&error, &self.name());
                self.fail(&why, effects);
            }
            None => {
                let why = "no certificate could be made for the client";
                effects.to(Side::Client).extend_from_slice(&alert_record(INTERNAL_ERROR));
                self.fail(why, effects);
            }
        }
    }
}

/// The protocol that plaintext is likely spoken in.
fn choose(offered: &[Vec<u8>]) -> Option<&[u8]> {
    let offered = || offered.iter().map(Vec::as_slice);
    let not_excluded = |name: &&[u8]| !NOT_CHOSEN.contains(name);
    let http = offered().find(|name| *name == HTTP_1_1);
    http.or_else(|| offered().find(not_excluded)).or_else(|| offered().next())
}
