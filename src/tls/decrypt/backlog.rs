//! The bytes of one direction that wait to be understood.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::aead::HEADER_LEN;

/// A record may not be longer (RFC 5246 section 6.2.3; TLS 1.3 allows less).
const RECORD_MAX: usize = (1 << 14) + 2048;

/// Bytes in the order in which they came, of which the first may have been read already.
#[derive(Default)]
pub(super) struct Backlog {
    chunks: VecDeque<Piece>,
    /// The offset in the direction of the first byte that is kept.
    start: u64,
    /// How many bytes are kept.
    len: usize,
    /// How many of them have been read.
    read: usize,
}

/// A chunk, or what is left of it.
pub(super) struct Piece {
    /// Its place among the chunks of both directions.
    pub(super) order: u64,
    pub(super) bytes: Bytes,
}

/// What lies at the reading position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// No whole record yet.
    Incomplete,
    /// A record of this type and length, with its header.
    Record { kind: u8, len: usize },
    /// Something that is no record.
    NoRecord,
}

impl Backlog {
    /// A backlog that begins at an offset of the direction.
    pub(super) fn at(start: u64) -> Self {
        Self { start, ..Self::default() }
    }

    pub(super) fn push(&mut self, piece: Piece) {
        self.len += piece.bytes.len();
        self.chunks.push_back(piece);
    }

    /// How many bytes are kept.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// How many of them have not been read.
    pub(super) const fn unread(&self) -> usize {
        self.len - self.read
    }

    /// The offset of the first byte that is kept.
    pub(super) const fn start(&self) -> u64 {
        self.start
    }

    /// What can be read next.
    pub(super) fn next(&self) -> Next {
        let mut header = [0; HEADER_LEN];
        let mut have = 0;
        self.each_from(self.read, HEADER_LEN, |part| {
            header[have..have + part.len()].copy_from_slice(part);
            have += part.len();
        });
        // Types: 20 change_cipher_spec, 21 alert, 22 handshake, 23 application_data, 24 heartbeat.
        let fits = |at: usize, fits: bool| at >= have || fits;
        let len = HEADER_LEN + usize::from(u16::from_be_bytes([header[3], header[4]]));
        let is_record = fits(0, (20..=24).contains(&header[0]))
            && fits(1, header[1] == 3)
            && fits(2, header[2] <= 4)
            && fits(4, len <= HEADER_LEN + RECORD_MAX);
        match have {
            _ if !is_record => Next::NoRecord,
            HEADER_LEN if self.unread() >= len => Next::Record { kind: header[0], len },
            _ => Next::Incomplete,
        }
    }

    /// Copies the next bytes without reading them.
    pub(super) fn peek(&self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len);
        self.each_from(self.read, len, |part| bytes.extend_from_slice(part));
        bytes
    }

    /// Marks the next `len` bytes as read. They are kept until [`forget_read`](Self::forget_read).
    pub(super) fn skip(&mut self, len: usize) {
        self.read = (self.read + len).min(self.len);
    }

    /// Lets go of what has been read.
    pub(super) fn forget_read(&mut self) {
        let mut read = std::mem::take(&mut self.read);
        self.start += read as u64;
        self.len -= read;
        while let Some(front) = self.chunks.front_mut() {
            if front.bytes.len() > read {
                front.bytes.advance(read);
                return;
            }
            read -= front.bytes.len();
            self.chunks.pop_front();
        }
    }

    /// Gives up what has been read.
    pub(super) fn take_read(&mut self) -> Vec<Piece> {
        let mut left = self.read;
        let mut taken = Vec::new();
        for Piece { order, bytes } in &self.chunks {
            let len = bytes.len().min(left);
            if len > 0 {
                taken.push(Piece { order: *order, bytes: bytes.slice(..len) });
            }
            left -= len;
        }
        self.forget_read();
        taken
    }

    /// Gives up everything, read or not.
    pub(super) fn take(&mut self) -> Vec<Piece> {
        self.read = self.len;
        self.take_read()
    }

    /// Hands out at most `len` bytes, from a position on.
    fn each_from<'a>(&'a self, mut from: usize, mut len: usize, mut look: impl FnMut(&'a [u8])) {
        for piece in &self.chunks {
            let Some(bytes) = piece.bytes.get(from..) else {
                from -= piece.bytes.len();
                continue;
            };
            from = 0;
            let part = &bytes[..bytes.len().min(len)];
            look(part);
            len -= part.len();
            if len == 0 {
                return;
            }
        }
    }
}
