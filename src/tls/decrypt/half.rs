//! One direction of a connection that speaks TLS.

use bytes::Bytes;

use super::aead::{HEADER_LEN, Opener};
use super::backlog::{Backlog, Next};
use super::certificates;
use super::closed::Closed;
use super::handshake::{Chosen, Early, Handshake, TLS12, TLS13};
use super::hello::{ClientHello, EncryptedExtensions, ServerHello};
use super::messages::{
    CERTIFICATE, CLIENT_HELLO, ENCRYPTED_EXTENSIONS, END_OF_EARLY_DATA, FINISHED, KEY_UPDATE,
    Message, Messages, SERVER_HELLO,
};
use super::schedule::{next_secret, tls12_opener, tls13_opener};
use super::suite;
use crate::event::Side;
use crate::tls::keylog::KeyLog;

/// Types of records (RFC 8446 section 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Which secret a direction's records are encrypted under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Epoch {
    /// TLS 1.3, ahead of the server's answer.
    Early,
    /// TLS 1.3, up to Finished.
    Handshake,
    /// TLS 1.3, from Finished on.
    Application,
    /// TLS 1.2, from ChangeCipherSpec on.
    Master,
}

impl Epoch {
    /// What a key log calls the secret of a side.
    const fn label(self, side: Side) -> &'static str {
        match (self, side) {
            (Self::Early, _) => "CLIENT_EARLY_TRAFFIC_SECRET",
            (Self::Handshake, Side::Client) => "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            (Self::Handshake, Side::Server) => "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            (Self::Application, Side::Client) => "CLIENT_TRAFFIC_SECRET_0",
            (Self::Application, Side::Server) => "SERVER_TRAFFIC_SECRET_0",
            (Self::Master, _) => "CLIENT_RANDOM",
        }
    }
}

/// How the records of a direction can be read now.
enum Phase {
    /// As they are.
    Clear,
    /// Under a secret that was not found yet.
    Locked(Epoch),
    Open {
        epoch: Epoch,
        opener: Box<Opener>,
        secret: Vec<u8>,
    },
    /// The sender said that it has no more to say (`close_notify`).
    Ended,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A record was read; there may be more.
    Done,
    NeedsBytes,
    /// The secret of the next record; whether there are some that do not fit.
    NeedsKeys {
        has_wrong: bool,
    },
    /// What the other direction says first.
    NeedsPeer,
}

/// What a record held that others want to know.
pub(super) enum Content {
    Nothing,
    Plain(Bytes),
    End,
    /// The sender's last word, which is not `close_notify`.
    Cut(Closed),
}

pub(super) struct Half {
    side: Side,
    pub(super) backlog: Backlog,
    phase: Phase,
    messages: Messages,
}

impl Half {
    pub(super) fn new(side: Side, backlog: Backlog) -> Self {
        Self { side, backlog, phase: Phase::Clear, messages: Messages::default() }
    }

    /// Whether the sender ended its TLS.
    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Nothing more will be read.
    pub(super) fn cut(&mut self) {
        self.phase = Phase::Ended;
    }

    /// Reads the next record, if it can be read now.
    pub(super) fn step(
        &mut self,
        handshake: &mut Handshake,
        keys: &KeyLog,
    ) -> Result<(Step, Content), Closed> {
        if self.has_ended() {
            return Ok((Step::NeedsBytes, Content::Nothing));
        }
        let (kind, len) = match self.backlog.next() {
            Next::Record { kind, len } => (kind, len),
            Next::Incomplete => return Ok((Step::NeedsBytes, Content::Nothing)),
            Next::NoRecord => return Err(self.damaged(handshake)),
        };
        // TLS 1.3 encrypts records of this type only, from wherever it begins to.
        let is_clear = handshake.is_tls13() && kind != APPLICATION_DATA;
        match self.phase {
            Phase::Clear | Phase::Ended => self.clear_record(kind, len, handshake),
            _ if is_clear => self.clear_record(kind, len, handshake),
            Phase::Locked(epoch) => self.unlock(epoch, kind, len, handshake, keys),
            Phase::Open { .. } => self.open(kind, len, handshake),
        }
    }

    /// What nonsense means: before the server has answered, that this is not TLS.
    fn damaged(&self, handshake: &Handshake) -> Closed {
        match handshake.chosen {
            Some(_) => Closed::Damaged { sender: self.side },
            None => Closed::NoTls,
        }
    }

    fn clear_record(
        &mut self,
        kind: u8,
        len: usize,
        handshake: &mut Handshake,
    ) -> Result<(Step, Content), Closed> {
        let is_tls12 = handshake.chosen.is_some() && !handshake.is_tls13();
        let mut content = Content::Nothing;
        match kind {
            HANDSHAKE => {
                let record = self.read(len);
                self.handshake(&record[HEADER_LEN..], handshake)?;
            }
            // TLS 1.3 sends one for the sake of old middleboxes, which means nothing.
            CHANGE_CIPHER_SPEC => {
                self.backlog.skip(len);
                if is_tls12 {
                    self.phase = Phase::Locked(Epoch::Master);
                }
            }
            ALERT => {
                let record = self.read(len);
                content = self.alert(&record[HEADER_LEN..], handshake)?;
            }
            APPLICATION_DATA => match self.first_encrypted(handshake)? {
                Some(epoch) => self.phase = Phase::Locked(epoch),
                None if handshake.awaits_second_hello => self.backlog.skip(len),
                None => return Ok((Step::NeedsPeer, Content::Nothing)),
            },
            _ => self.backlog.skip(len),
        }
        Ok((Step::Done, content))
    }

    /// Under which secret TLS 1.3 begins to encrypt; `None` while that is not clear.
    fn first_encrypted(&self, handshake: &Handshake) -> Result<Option<Epoch>, Closed> {
        let is_client = self.side == Side::Client;
        let is_early = is_client && handshake.early == Early::Offered;
        let was_early = is_client && handshake.early == Early::Accepted;
        match handshake.chosen {
            None if is_early || handshake.awaits_second_hello => Ok(None),
            Some(Chosen { version: TLS13, .. }) if is_early => Ok(Some(Epoch::Early)),
            Some(Chosen { version: TLS13, .. }) if was_early => Ok(Some(Epoch::Early)),
            Some(Chosen { version: TLS13, .. }) => Ok(Some(Epoch::Handshake)),
            _ => Err(self.damaged(handshake)),
        }
    }

    /// Looks for the secret of the next record among the keys.
    fn unlock(
        &mut self,
        epoch: Epoch,
        kind: u8,
        len: usize,
        handshake: &mut Handshake,
        keys: &KeyLog,
    ) -> Result<(Step, Content), Closed> {
        if epoch == Epoch::Early {
            match handshake.early {
                Early::Offered => return Ok((Step::NeedsPeer, Content::Nothing)),
                Early::Accepted => {}
                Early::Rejected | Early::None => {
                    self.phase = Phase::Locked(Epoch::Handshake);
                    return Ok((Step::Done, Content::Nothing));
                }
            }
        }
        let Some(chosen) = handshake.chosen else { return Err(self.damaged(handshake)) };
        let mut has_wrong = false;
        let client_random = handshake.hello.random;
        for secret in keys.secrets(&client_random, epoch.label(self.side)) {
            let randoms = [&client_random, &chosen.random];
            let opener = match epoch {
                Epoch::Master => tls12_opener(chosen.suite, &secret, randoms, self.side),
                _ => tls13_opener(chosen.suite, &secret),
            };
            let mut record = self.backlog.peek(len);
            let opened = opener.and_then(|mut opener| Some((opener.open(&mut record)?, opener)));
            if let Some((inside, opener)) = opened {
                self.phase = Phase::Open { epoch, opener: Box::new(opener), secret };
                handshake.is_known |= epoch == Epoch::Master;
                self.forget(len);
                return self.content(kind, Bytes::from(record).slice(inside), handshake);
            }
            has_wrong = true;
        }
        let is_skipped = self.side == Side::Client && handshake.early == Early::Rejected;
        if has_wrong && is_skipped && epoch == Epoch::Handshake {
            // The server skips the data that it has rejected, too (RFC 8446 section 4.2.10).
            self.backlog.skip(len);
            return Ok((Step::Done, Content::Nothing));
        }
        Ok((Step::NeedsKeys { has_wrong }, Content::Nothing))
    }

    fn open(
        &mut self,
        kind: u8,
        len: usize,
        handshake: &mut Handshake,
    ) -> Result<(Step, Content), Closed> {
        let mut record = self.backlog.peek(len);
        let Phase::Open { opener, .. } = &mut self.phase else {
            return Err(self.damaged(handshake));
        };
        let Some(inside) = opener.open(&mut record) else { return Err(self.damaged(handshake)) };
        self.forget(len);
        self.content(kind, Bytes::from(record).slice(inside), handshake)
    }

    /// Looks at what was inside a record.
    fn content(
        &mut self,
        mut kind: u8,
        mut inside: Bytes,
        handshake: &mut Handshake,
    ) -> Result<(Step, Content), Closed> {
        if handshake.is_tls13() {
            // The type is the last byte that is not zero; zeros pad (RFC 8446 section 5.4).
            let end = inside.iter().rposition(|byte| *byte != 0);
            let end = end.ok_or(Closed::Damaged { sender: self.side })?;
            kind = inside[end];
            inside.truncate(end);
        }
        let content = match kind {
            APPLICATION_DATA if !inside.is_empty() => Content::Plain(inside),
            HANDSHAKE => {
                self.handshake(&inside, handshake)?;
                Content::Nothing
            }
            ALERT => self.alert(&inside, handshake)?,
            // TLS 1.2 negotiates again.
            CHANGE_CIPHER_SPEC => {
                self.phase = Phase::Locked(Epoch::Master);
                Content::Nothing
            }
            _ => Content::Nothing,
        };
        Ok((Step::Done, content))
    }

    fn alert(&mut self, inside: &[u8], handshake: &Handshake) -> Result<Content, Closed> {
        const CLOSE_NOTIFY: u8 = 0;
        const USER_CANCELED: u8 = 90;
        const FATAL: u8 = 2;
        match *inside {
            [_, CLOSE_NOTIFY] if handshake.is_known => {
                self.phase = Phase::Ended;
                Ok(Content::End)
            }
            [_, CLOSE_NOTIFY] => {
                Err(Closed::Alert { sender: self.side, description: CLOSE_NOTIFY })
            }
            [_, USER_CANCELED] => Ok(Content::Nothing),
            [level, description] if level == FATAL || handshake.is_tls13() => {
                let alert = Closed::Alert { sender: self.side, description };
                if !handshake.is_known {
                    return Err(alert);
                }
                self.phase = Phase::Ended;
                Ok(Content::Cut(alert))
            }
            _ => Ok(Content::Nothing),
        }
    }

    fn handshake(&mut self, content: &[u8], handshake: &mut Handshake) -> Result<(), Closed> {
        self.messages.push(content).ok_or(Closed::Damaged { sender: self.side })?;
        while let Some(message) = self.messages.next() {
            let understood = match self.side {
                Side::Client => self.client_message(&message, handshake),
                Side::Server => self.server_message(&message, handshake)?,
            };
            understood.ok_or_else(|| self.damaged(handshake))?;
        }
        Ok(())
    }

    fn client_message(&mut self, message: &Message, handshake: &mut Handshake) -> Option<()> {
        match message.kind {
            CLIENT_HELLO => {
                handshake.hello = ClientHello::parse(&message.body)?;
                handshake.awaits_second_hello = false;
            }
            END_OF_EARLY_DATA => self.phase = Phase::Locked(Epoch::Handshake),
            _ => self.any_message(message, handshake)?,
        }
        Some(())
    }

    fn server_message(
        &mut self,
        message: &Message,
        handshake: &mut Handshake,
    ) -> Result<Option<()>, Closed> {
        match message.kind {
            SERVER_HELLO => {
                let Some(hello) = ServerHello::parse(&message.body) else { return Ok(None) };
                self.server_hello(hello, handshake)?;
            }
            ENCRYPTED_EXTENSIONS if handshake.is_tls13() => {
                let extensions = EncryptedExtensions::parse(&message.body);
                let Some(extensions) = extensions else { return Ok(None) };
                handshake.alpn = extensions.alpn;
                handshake.early = match (handshake.early, extensions.accepts_early_data) {
                    (Early::Offered, true) => Early::Accepted,
                    (Early::Offered, false) => Early::Rejected,
                    (early, _) => early,
                };
                handshake.is_known = true;
            }
            CERTIFICATE => {
                // One that is not understood is no reason to give up: it is only shown.
                let chain = certificates::parse(&message.body, handshake.is_tls13());
                handshake.certificates = chain.unwrap_or_default();
            }
            _ => {
                handshake.has_server_finished |= message.kind == FINISHED;
                return Ok(self.any_message(message, handshake));
            }
        }
        Ok(Some(()))
    }

    fn server_hello(&self, hello: ServerHello, handshake: &mut Handshake) -> Result<(), Closed> {
        if hello.is_retry() {
            handshake.awaits_second_hello = true;
            handshake.early = Early::None;
            return Ok(());
        }
        if !matches!(hello.version, TLS12 | TLS13) {
            return Err(Closed::Version(hello.version));
        }
        if hello.is_compressed {
            return Err(Closed::Compressed);
        }
        let suite = suite::find(hello.suite).ok_or(Closed::Suite(hello.suite))?;
        let (version, random) = (hello.version, hello.random);
        handshake.chosen = Some(Chosen { version, suite, random });
        if version == TLS12 {
            handshake.alpn = hello.alpn;
        }
        Ok(())
    }

    /// A message that either side may send.
    fn any_message(&mut self, message: &Message, handshake: &Handshake) -> Option<()> {
        let is_tls13 = handshake.is_tls13();
        match message.kind {
            // A later one ends the authentication of a client (RFC 8446 section 4.6.2).
            FINISHED if matches!(self.phase, Phase::Open { epoch: Epoch::Handshake, .. }) => {
                self.phase = Phase::Locked(Epoch::Application);
            }
            KEY_UPDATE if is_tls13 => {
                let Phase::Open { epoch, secret, .. } = &self.phase else { return None };
                let epoch = *epoch;
                let suite = handshake.chosen?.suite;
                let secret = next_secret(suite, secret)?;
                let opener = Box::new(tls13_opener(suite, &secret)?);
                self.phase = Phase::Open { epoch, opener, secret };
            }
            _ => {}
        }
        Some(())
    }

    /// Reads a record that is kept until one was opened.
    fn read(&mut self, len: usize) -> Vec<u8> {
        let record = self.backlog.peek(len);
        self.backlog.skip(len);
        record
    }

    /// Lets go of a record that was opened.
    fn forget(&mut self, len: usize) {
        self.backlog.skip(len);
        self.backlog.forget_read();
    }
}
