//! What a session does where TLS cannot be opened, or is broken off.

use rustls::Error;

use super::ender::Kind;
use super::failure::{alert_for_client, of_client, of_server, wants_client, wants_other_tls};
use super::leg::Leg;
use super::session::{Effects, Session, State};
use crate::event::{Side, TlsState};

impl Session {
    /// Reports that the connection ended before TLS was open, `by` one of both.
    pub(super) fn left(&mut self, by: Option<Side>, effects: &mut Effects) {
        let name = self.name();
        let is_open = |leg: &Leg| !leg.is_handshaking();
        let why = match &self.state {
            State::Open { client, server }
                if client.as_deref().is_none_or(is_open)
                    && server.as_deref().is_none_or(|server| is_open(&server.leg)) =>
            {
                return;
            }
            State::Open { client: Some(_), .. } if by == Some(Side::Client) => format!(
                "the client ended the connection when it saw our certificate: it may not trust \
                 it, or be pinned (try '--tls-pass {name}')"
            ),
            _ => match by {
                Some(side) => format!("the {side} ended the connection before TLS was open"),
                None => "the connection ended before TLS was open".to_owned(),
            },
        };
        effects.report(TlsState::Closed, self.sni.as_deref(), &why);
        self.state = State::Over;
    }

    /// The client's TLS has failed: the server sees that it was cut off, and no end of TLS.
    pub(super) fn client_failed(&mut self, error: &Error, effects: &mut Effects) {
        let why = of_client(error, &self.name());
        let is_clear = matches!(&self.state, State::Open { server: None, .. });
        if is_clear && self.has_passed {
            // FIN would be a clean end for it.
            effects.resets = true;
        } else {
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
            self.ender.note_closed(self.called());
        }
        let is_originate = !matches!(self.ender.kind, Kind::Intercept { .. });
        match &self.state {
            State::Open { client: Some(_), .. } => effects.ends[Side::Client as usize] = true,
            // Its client speaks plaintext, and a clean end would be a lie.
            _ if is_originate => effects.resets = true,
            _ => {
                let alert = u8::from(alert_for_client(error));
                effects.to(Side::Client).extend_from_slice(&alert_record(alert));
                effects.ends[Side::Client as usize] = true;
            }
        }
        self.fail(&why, effects);
    }

    /// Ends a connection that nobody can make sense of.
    pub(super) fn refuse(&mut self, why: &str, effects: &mut Effects) {
        effects.resets = true;
        self.fail(why, effects);
    }

    /// Lets all pass as it is from here on.
    pub(super) fn pass(&mut self, why: &str, effects: &mut Effects) {
        effects.report(TlsState::Passed, self.sni.as_deref(), why);
        self.state = State::Passing;
    }

    /// Says what is left to say to both sides, and is over.
    pub(super) fn fail(&mut self, why: &str, effects: &mut Effects) {
        self.write(effects);
        effects.report(TlsState::Closed, self.sni.as_deref(), why);
        self.state = State::Over;
    }
}

/// A fatal alert before TLS has keys (RFC 8446 section 6).
pub(super) const fn alert_record(alert: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert]
}
