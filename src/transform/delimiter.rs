//! Messages that end with certain bytes.

use std::borrow::Cow;

use bytes::BytesMut;
use memchr::memmem;

use super::TransformError;
use super::framer::{Found, Framer};

/// Messages that end with certain bytes, which their handler does not see. What is unfinished at
/// the end of the stream is a message too.
#[derive(Clone, Debug)]
pub struct Delimiter {
    delimiter: memmem::Finder<'static>,
    /// How many bytes of the message are known not to begin a delimiter.
    searched: usize,
}

impl Delimiter {
    /// Messages that end with `delimiter`. An empty one never comes: then the whole stream is
    /// one message.
    pub fn new(delimiter: impl AsRef<[u8]>) -> Self {
        let delimiter = memmem::Finder::new(delimiter.as_ref()).into_owned();
        Self { delimiter, searched: 0 }
    }
}

impl Framer for Delimiter {
    fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError> {
        let len = self.delimiter.needle().len();
        // Each byte is looked at once however small the reads are.
        let found = self.delimiter.find(&bytes[self.searched..]).filter(|_| len > 0);
        if let Some(at) = found {
            return Ok(Found::Message(std::mem::take(&mut self.searched) + at + len));
        }
        self.searched = (bytes.len() + 1).saturating_sub(len.max(1));
        Ok(Found::Need(bytes.len() + 1))
    }

    fn unframe<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        message.strip_suffix(self.delimiter.needle()).unwrap_or(message).into()
    }

    fn frame(&self, payload: &[u8], stream: &mut BytesMut) -> Result<(), TransformError> {
        stream.extend_from_slice(payload);
        stream.extend_from_slice(self.delimiter.needle());
        Ok(())
    }
}

/// Lines: messages that end with `\n`, which their handler does not see. A `\r` before it is part
/// of the message. A last line without its end is a message too.
#[derive(Clone, Debug)]
pub struct Lines(Delimiter);

impl Lines {
    /// Lines that end with `\n`.
    pub fn new() -> Self {
        Self(Delimiter::new("\n"))
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new()
    }
}

impl Framer for Lines {
    fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError> {
        self.0.find(bytes)
    }

    fn unframe<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        self.0.unframe(message)
    }

    fn frame(&self, payload: &[u8], stream: &mut BytesMut) -> Result<(), TransformError> {
        self.0.frame(payload, stream)
    }
}
