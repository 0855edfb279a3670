//! What a session does where TLS cannot be opened, or is broken off.

use rustls::Error;

use super::failure::{alert_for_client, of_client, of_server, wants_client, wants_other_tls};
use super::session::{Effects, Session, State};
use crate::event::{Side, TlsState};

impl Session {
    /// Tells of a side that has left before TLS was open.
    pub(super) fn left(&mut self, side: Side, effects: &mut Effects) {
        let name = self.name();
        let why = match &self.state {
            State::Reaching { .. } if side == Side::Server => {
                "the server ended the connection before TLS was open".to_owned()
            }
            State::Reaching { .. } => {
                "the client ended the connection before the server had answered".to_owned()
            }
            State::Open { client: Some(client), .. }
                if side == Side::Client && client.is_handshaking() =>
            {
                format!(
                    "the client ended the connection when it saw our certificate: it may not \
                     trust it, or be pinned (try '--tls-pass {name}')"
                )
            }
            State::Open { server: Some(server), .. } if server.leg.is_handshaking() => {
                format!("the {side} ended the connection before TLS was open")
            }
            _ => return,
        };
        effects.tell(TlsState::Closed, self.sni.as_deref(), &why);
        self.state = State::Over;
    }

    /// The client's TLS has failed; the server is told that nothing more comes.
    pub(super) fn client_failed(&mut self, error: &Error, effects: &mut Effects) {
        let why = of_client(error, &self.name());
        if let State::Open { server, .. } = &mut self.state {
            if let Some(server) = server {
                server.leg.end();
            }
            effects.ends[Side::Server as usize] = true;
        }
        self.fail(&why, effects);
    }

    /// The server's TLS has failed: so does the client's.
    pub(super) fn server_failed(&mut self, error: &Error, effects: &mut Effects) {
        let name = self.name();
        let mut why = of_server(error, &name);
        let has_asked = match &self.state {
            State::Reaching { server, .. } | State::Open { server: Some(server), .. } => {
                server.has_asked_in_vain()
            }
            _ => false,
        };
        if has_asked && wants_client(error) {
            why = format!("{name} wants a client certificate (try '--tls-client-cert FILE')");
        }
        if has_asked && wants_client(error) || wants_other_tls(error) {
            why += "; its next connections pass as they are";
            self.ender.note_closed(&name);
        }
        match &self.state {
            State::Open { client: Some(_), .. } => effects.ends[Side::Client as usize] = true,
            // Its client speaks plaintext, and a clean end would be a lie.
            State::Open { .. } => effects.resets = true,
            _ => {
                let alert = u8::from(alert_for_client(error));
                effects.to(Side::Client).extend_from_slice(&alert_record(alert));
                effects.ends[Side::Client as usize] = true;
            }
        }
        self.fail(&why, effects);
    }

    /// Lets all pass as it is from here on.
    pub(super) fn pass(&mut self, why: &str, effects: &mut Effects) {
        effects.tell(TlsState::Passed, self.sni.as_deref(), why);
        self.state = State::Passing;
    }

    /// Says what is left to say to both sides, and is over.
    pub(super) fn fail(&mut self, why: &str, effects: &mut Effects) {
        self.write(effects);
        effects.tell(TlsState::Closed, self.sni.as_deref(), why);
        self.state = State::Over;
    }
}

/// A fatal alert before TLS has keys (RFC 8446 section 6).
pub(super) const fn alert_record(alert: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert]
}
