//! A client, a session and a server in one place, without sockets.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
};

use crate::event::{EventKind, Side};
use crate::tls::end::pem::certificates_from_pem;
use crate::tls::end::{Authority, Effects, Identity, ServerTrust, Session, TlsEnder, Wanted};

/// The server's name.
pub(super) const NAME: &str = "srv.test";

/// Keys and certificates of all who take part.
pub(super) struct Keys {
    authority: (String, String),
    server: (String, String),
}

impl Keys {
    pub(super) fn new() -> Self {
        Self::for_name(NAME)
    }

    /// With a certificate of the server that is for this name.
    pub(super) fn for_name(name: &str) -> Self {
        Self::of(CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    /// With a certificate of the server that is not valid any longer.
    pub(super) fn expired() -> Self {
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        Self::of(params)
    }

    fn of(certificate: CertificateParams) -> Self {
        let made = Authority::generate("tcp_tunn test", SystemTime::now()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        Self {
            authority: (made.certificate, made.key.to_string()),
            server: (certificate.pem(), key.serialize_pem()),
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity::from_pem(self.server.0.as_bytes(), self.server.1.as_bytes()).unwrap()
    }

    /// A tunnel that trusts the server.
    pub(super) fn trust(&self) -> ServerTrust {
        ServerTrust::default().trust_pem(self.server.0.as_bytes()).unwrap()
    }

    pub(super) fn authority(&self) -> Authority {
        let (certificate, key) = &self.authority;
        Authority::from_pem(certificate, key, SystemTime::now()).unwrap()
    }

    /// A client that trusts this certificate, in PEM.
    fn client(pem: &str, alpn: &[&str]) -> Connection {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates_from_pem(pem.as_bytes()).unwrap());
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(NAME).unwrap();
        ClientConnection::new(Arc::new(config), name).unwrap().into()
    }

    /// A client that trusts the authority.
    pub(super) fn trusting_client(&self, alpn: &[&str]) -> Connection {
        Self::client(&self.authority.0, alpn)
    }

    /// A client that trusts the server alone.
    pub(super) fn pinning_client(&self) -> Connection {
        Self::client(&self.server.0, &[])
    }

    pub(super) fn server(&self, alpn: &[&str]) -> Connection {
        let Identity { chain, key } = self.identity();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap();
        let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        ServerConnection::new(Arc::new(config)).unwrap().into()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// One peer of the tunnel.
pub(super) enum Peer {
    Tls(Box<Connection>),
    Clear,
}

impl From<Connection> for Peer {
    fn from(tls: Connection) -> Self {
        Self::Tls(Box::new(tls))
    }
}

/// A connection through a session.
pub(super) struct Scene {
    session: Session,
    /// By side.
    pub(super) peers: [Peer; 2],
    /// What each side has read so far.
    pub(super) read: [Vec<u8>; 2],
    /// Which sides have seen the end of the other: by TLS, and by FIN.
    pub(super) is_closed: [bool; 2],
    pub(super) is_shut: [bool; 2],
    pub(super) events: Vec<EventKind>,
    pub(super) is_reset: bool,
    pub(super) is_held: bool,
    /// How many bytes are handed on at once.
    cut: usize,
    /// How many bytes pass until one is damaged.
    damaged_in: Option<usize>,
}

impl Scene {
    pub(super) fn new(ender: TlsEnder, client: impl Into<Peer>, server: impl Into<Peer>) -> Self {
        Self::with(Arc::new(ender), client, server)
    }

    pub(super) fn with(
        ender: Arc<TlsEnder>,
        client: impl Into<Peer>,
        server: impl Into<Peer>,
    ) -> Self {
        let wanted = Wanted {
            name: Some(NAME.to_owned()),
            ip: None,
            port: None,
            passes: Box::new(|sni| sni == Some("left.alone")),
        };
        let mut scene = Self {
            session: Session::new(ender, wanted),
            peers: [client.into(), server.into()],
            read: Default::default(),
            is_closed: [false; 2],
            is_shut: [false; 2],
            events: Vec::new(),
            is_reset: false,
            is_held: false,
            cut: 1 << 16,
            damaged_in: None,
        };
        let effects = scene.session.start();
        scene.perform(effects);
        scene
    }

    /// Hands on this many bytes at once from now on.
    pub(super) fn in_pieces_of(mut self, cut: usize) -> Self {
        self.cut = cut;
        self
    }

    /// Damages the byte that comes after this many.
    pub(super) fn damaged_after(mut self, bytes: usize) -> Self {
        self.damaged_in = Some(bytes);
        self
    }

    /// A side says something, in TLS if it speaks that.
    pub(super) fn say(&mut self, side: Side, bytes: &[u8]) {
        match &mut self.peers[side as usize] {
            // Whoever was sent an alert says nothing more.
            Peer::Tls(tls) => drop(tls.writer().write_all(bytes)),
            Peer::Clear => self.hand_on(side, bytes),
        }
        self.run();
    }

    /// A side ends its TLS (`close_notify`).
    pub(super) fn close(&mut self, side: Side) {
        if let Peer::Tls(tls) = &mut self.peers[side as usize] {
            tls.send_close_notify();
        }
        self.run();
    }

    /// A side sends FIN.
    pub(super) fn shut(&mut self, side: Side) {
        self.shut_alone(side);
        self.run();
    }

    /// The same, and nobody says anything more.
    pub(super) fn shut_alone(&mut self, side: Side) {
        let effects = self.session.end(side);
        self.perform(effects);
    }

    /// Its end.
    pub(super) fn end(&mut self) {
        self.events.extend(self.session.close(None));
    }

    /// What a side has to write to its wire now.
    pub(super) fn written(&mut self, side: Side) -> Vec<u8> {
        let mut wire = Vec::new();
        if let Peer::Tls(tls) = &mut self.peers[side as usize] {
            while tls.wants_write() {
                tls.write_tls(&mut wire).unwrap();
            }
        }
        wire
    }

    /// Lets one side speak once.
    pub(super) fn speak(&mut self, side: Side) {
        let wire = self.written(side);
        self.hand_on(side, &wire);
    }

    /// A side writes plaintext, which stays with it until it speaks.
    pub(super) fn write(&mut self, side: Side, bytes: &[u8]) {
        if let Peer::Tls(tls) = &mut self.peers[side as usize] {
            tls.writer().write_all(bytes).unwrap();
        }
    }

    /// Lets both sides speak until they have nothing more to say.
    pub(super) fn run(&mut self) {
        for side in [Side::Client, Side::Server].into_iter().cycle().take(40) {
            self.speak(side);
        }
    }

    /// Gives bytes of a side's wire to the session, in pieces.
    pub(super) fn hand_on(&mut self, side: Side, wire: &[u8]) {
        let mut wire = wire.to_vec();
        if let Some(left) = self.damaged_in {
            if let Some(byte) = wire.get_mut(left) {
                *byte ^= 0x55;
            }
            self.damaged_in = left.checked_sub(wire.len());
        }
        for piece in wire.chunks(self.cut) {
            let effects = self.session.receive(side, piece);
            self.perform(effects);
        }
    }

    fn perform(&mut self, effects: Effects) {
        self.events.extend(effects.events);
        self.is_reset |= effects.resets;
        self.is_held = effects.holds;
        for side in [Side::Client, Side::Server] {
            self.take(side, &effects.to[side as usize]);
            self.is_shut[side as usize] |= effects.ends[side as usize];
        }
    }

    /// A side takes bytes from its wire.
    fn take(&mut self, side: Side, mut wire: &[u8]) {
        let read = &mut self.read[side as usize];
        let Peer::Tls(tls) = &mut self.peers[side as usize] else {
            return read.extend_from_slice(wire);
        };
        while !wire.is_empty() {
            if !matches!(tls.read_tls(&mut wire), Ok(1..)) {
                break;
            }
            match tls.process_new_packets() {
                Ok(state) => self.is_closed[side as usize] |= state.peer_has_closed(),
                // Its alert is among what it writes next.
                Err(_) => break,
            }
            let _ = tls.reader().read_to_end(read);
        }
    }

    /// What was reported of TLS: the state and the reason.
    pub(super) fn reasons(&self) -> Vec<(&'static str, String)> {
        let reason = |kind: &EventKind| match kind {
            EventKind::Tls(tls) => {
                Some((tls.state.name(), tls.why.as_deref().unwrap_or("").to_owned()))
            }
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    /// How many lines of secrets were events.
    pub(super) fn secrets(&self) -> usize {
        let lines = |kind: &EventKind| match kind {
            EventKind::Secrets(lines) => lines.len(),
            _ => 0,
        };
        self.events.iter().map(lines).sum()
    }

    pub(super) fn tls(&self, side: Side) -> &Connection {
        match &self.peers[side as usize] {
            Peer::Tls(tls) => tls,
            Peer::Clear => panic!("the {side} speaks no TLS"),
        }
    }
}
