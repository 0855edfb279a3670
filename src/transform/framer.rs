//! Where messages begin and end in a stream.

use std::borrow::Cow;

use bytes::BytesMut;
use thiserror::Error;

use super::TransformError;

/// Finds the messages in a stream of bytes, for [`Messages`](super::Messages).
///
/// A framer serves one direction of one connection and may hold state. Only [`find`](Self::find)
/// must be written. Unless [`unframe`](Self::unframe) and [`frame`](Self::frame) are, too, a
/// message is handled with all that surrounds it.
///
/// ```
/// use tcp_tunn::transform::{Found, Framer, TransformError};
///
/// /// Messages end where the next one begins: with `{`.
/// struct Braces;
///
/// impl Framer for Braces {
///     fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError> {
///         let next = bytes.iter().skip(1).position(|&byte| byte == b'{');
///         Ok(next.map_or(Found::Need(bytes.len() + 1), |before| Found::Message(before + 1)))
///     }
/// }
///
/// assert_eq!(Braces.find(b"{1}{2").unwrap(), Found::Message(3));
/// ```
pub trait Framer {
    /// Looks for the end of the first message in `bytes`, which are never none and begin where
    /// the message before ended.
    ///
    /// After [`Found::Need`] the next call gets the same bytes and more after them, so that a
    /// framer may remember how far it has looked. An error closes the connection.
    fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError>;

    /// What a handler gets to see of a whole message: by default all of it.
    fn unframe<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        Cow::Borrowed(message)
    }

    /// Appends to `stream` the message that a handler put in place of another: by default as it
    /// is. Undoes [`unframe`](Self::unframe). An error closes the connection.
    fn frame(&self, payload: &[u8], stream: &mut BytesMut) -> Result<(), TransformError> {
        stream.extend_from_slice(payload);
        Ok(())
    }

    /// What becomes of bytes after the last whole message, when the stream ends. By default
    /// they are a message.
    fn rest(&self) -> Rest {
        Rest::Message
    }
}

/// What a [`Framer`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message of this many bytes, more than 0, and no more than there are.
    Message(usize),
    /// The message has at least this many bytes, more than there are.
    Need(usize),
}

/// What becomes of an unfinished message at the end of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rest {
    /// It is handled like the others, but neither unframed nor, unless more is forwarded after
    /// it, framed again: a last line without an end stays one.
    Message,
    /// It passes as it is; nobody handles it.
    Pass,
    /// It is dropped.
    Drop,
    /// It is an error: the connection is reset.
    Error,
}

/// Why a stream cannot be cut into messages, or a message not be put back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FramingError {
    /// A message is longer than [`Messages::max`](super::Messages::max) allows.
    #[error("a message is longer than the {max} bytes that are allowed")]
    TooLong {
        /// The most that is allowed.
        max: usize,
    },
    /// The stream ended amid a message, and [`Rest::Error`] was asked for.
    #[error("the stream ended amid a message, after {len} bytes of it")]
    Unfinished {
        /// How much of the message there was.
        len: usize,
    },
    /// A length cannot be: the message would end before its length does.
    #[error("a message cannot have the length {length} that it claims")]
    BadLength {
        /// What the length field says.
        length: u64,
    },
    /// A message has no length that the field could hold.
    #[error("a message of {len} bytes does not fit a length field of {width} bytes")]
    Unframable {
        /// The message's bytes, without the length field.
        len: usize,
        /// The field's size in bytes.
        width: usize,
    },
    /// A [`Framer`] found a message of no bytes, or of more than there are: a mistake in it.
    #[error("the framer found a message of {found} bytes in {available}")]
    BadFramer {
        /// What it found.
        found: usize,
        /// How many bytes it was given.
        available: usize,
    },
}

impl<F: Framer + ?Sized> Framer for Box<F> {
    fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError> {
        (**self).find(bytes)
    }

    fn unframe<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        (**self).unframe(message)
    }

    fn frame(&self, payload: &[u8], stream: &mut BytesMut) -> Result<(), TransformError> {
        (**self).frame(payload, stream)
    }

    fn rest(&self) -> Rest {
        (**self).rest()
    }
}

/// Cuts as another framer does, but leaves the framing on: the handler sees lengths and
/// delimiters, and answers for those of what it forwards.
#[derive(Clone, Debug)]
pub struct Whole<F>(pub F);

impl<F: Framer> Framer for Whole<F> {
    fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError> {
        self.0.find(bytes)
    }

    fn rest(&self) -> Rest {
        self.0.rest()
    }
}
