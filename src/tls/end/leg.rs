//! One TLS connection of the tunnel's own: with the client or with the server.

use std::io::{self, BufRead, Write};

use bytes::{BufMut, BytesMut};
use rustls::{Connection, Error};

/// One end of TLS.
pub(super) struct Leg {
    tls: Connection,
    /// Whether the peer has said that it is done (`close_notify`).
    pub(super) has_peer_ended: bool,
    /// Whether the peer is to be sent the same, and whether it was.
    ends: bool,
    has_ended: bool,
}

impl Leg {
    pub(super) fn new(tls: impl Into<Connection>) -> Self {
        let mut tls = tls.into();
        // All that is taken is written at once: the relay bounds it.
        tls.set_buffer_limit(None);
        Self { tls, has_peer_ended: false, ends: false, has_ended: false }
    }

    /// Takes bytes of the wire; `plain` is given what they carry, piece by piece. An alert that
    /// tells the peer of an error is among what [`wire`](Self::wire) has next.
    pub(super) fn receive(
        &mut self,
        mut wire: &[u8],
        mut plain: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        while !wire.is_empty() {
            let taken = self.tls.read_tls(&mut wire).map_err(|error| general(&error))?;
            let processed = self.tls.process_new_packets();
            // What came before a record that is damaged is good.
            let mut reader = self.tls.reader();
            while let Ok(piece @ [_, ..]) = reader.fill_buf() {
                let len = piece.len();
                plain(piece);
                reader.consume(len);
            }
            self.has_peer_ended |= processed?.peer_has_closed();
            if taken == 0 {
                // Whatever comes after the peer has ended its TLS is of no meaning in it.
                break;
            }
        }
        Ok(())
    }

    /// Sends plaintext; before the handshake's end it is kept until then.
    pub(super) fn send(&mut self, plain: &[u8]) {
        // It writes to memory, without a limit.
        let _ = self.tls.writer().write_all(plain);
    }

    /// Tells the peer that nothing more comes (`close_notify`), behind all that was sent: not
    /// before the handshake's end.
    pub(super) const fn end(&mut self) {
        self.ends = true;
    }

    /// Appends what is to be written to the wire now.
    pub(super) fn wire(&mut self, out: &mut BytesMut) {
        let is_end_due = self.ends && !self.is_handshaking();
        if is_end_due && !std::mem::replace(&mut self.has_ended, true) {
            self.tls.send_close_notify();
        }
        let mut out = out.writer();
        while self.tls.wants_write() {
            if self.tls.write_tls(&mut out).is_err() {
                break;
            }
        }
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// The protocol inside that both agreed on.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// The peer's own certificate, in DER.
    pub(super) fn peer_certificate(&self) -> Option<&[u8]> {
        self.tls.peer_certificates()?.first().map(AsRef::as_ref)
    }
}

fn general(error: &io::Error) -> Error {
    Error::General(error.to_string())
}
