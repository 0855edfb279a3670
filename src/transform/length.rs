//! Messages that begin with their length.

use std::borrow::Cow;

use bytes::BytesMut;

use super::TransformError;
use super::framer::{Found, Framer, FramingError, Rest};

/// Messages that carry their length in a field at, or near, their beginning.
///
/// A handler sees the message without the length field; what it forwards is given the length
/// that it then has. An unfinished message at the end of the stream passes as it is.
///
/// ```
/// use tcp_tunn::transform::LengthPrefix;
///
/// // Four bytes, big endian, of which none counts.
/// let simple = LengthPrefix::new(4);
/// // PostgreSQL after its start-up: a type byte, then a length that counts itself.
/// let postgresql = LengthPrefix::new(4).offset(1).adjust(-4);
/// // HTTP/2 (RFC 9113, 4.1): 3 bytes of length, then 6 of header that it does not count.
/// let http2 = LengthPrefix::new(3).adjust(6);
/// // A length that counts the whole header: 2 bytes of magic and the field.
/// let counted = LengthPrefix::new(2).little_endian().offset(2).counts_header();
/// ```
#[derive(Clone, Debug)]
pub struct LengthPrefix {
    width: usize,
    offset: usize,
    little_endian: bool,
    /// What is added to the length to get how many bytes follow the field.
    adjust: i64,
}

impl LengthPrefix {
    /// A big-endian length of `width` bytes, 1 to 8 (others are taken for the nearest), at the
    /// very beginning, which counts the bytes after it.
    pub fn new(width: usize) -> Self {
        Self { width: width.clamp(1, 8), offset: 0, little_endian: false, adjust: 0 }
    }

    /// The length's least significant byte comes first.
    #[must_use]
    pub const fn little_endian(mut self) -> Self {
        self.little_endian = true;
        self
    }

    /// The length comes after `offset` other bytes of the message.
    #[must_use]
    pub const fn offset(mut self, offset: usize) -> Self {
        self.offset = offset;
        self
    }

    /// The length plus `adjust` is how many bytes follow the length field; by default 0.
    #[must_use]
    pub const fn adjust(mut self, adjust: i64) -> Self {
        self.adjust = adjust;
        self
    }

    /// The length counts itself and what is before it, too. To be called after
    /// [`offset`](Self::offset).
    #[must_use]
    pub const fn counts_header(self) -> Self {
        let header = self.header() as i64;
        self.adjust(-header)
    }

    /// The bytes up to the end of the length field.
    const fn header(&self) -> usize {
        self.offset.saturating_add(self.width)
    }

    fn read(&self, field: &[u8]) -> u64 {
        let push = |number, byte: &u8| (number << 8) | u64::from(*byte);
        if self.little_endian {
            field.iter().rev().fold(0, push)
        } else {
            field.iter().fold(0, push)
        }
    }

    fn write(&self, length: u64, stream: &mut BytesMut) {
        let width = self.width;
        if self.little_endian {
            stream.extend_from_slice(&length.to_le_bytes()[..width]);
        } else {
            stream.extend_from_slice(&length.to_be_bytes()[8 - width..]);
        }
    }

    /// The length to be written when `following` bytes come after the field.
    fn length_of(&self, following: usize) -> Option<u64> {
        let length = u64::try_from(following).ok()?.checked_sub_signed(self.adjust)?;
        let bits = 8 * self.width as u32;
        (bits == u64::BITS || length < 1 << bits).then_some(length)
    }
}

impl Framer for LengthPrefix {
    fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError> {
        let header = self.header();
        let Some(field) = bytes.get(self.offset..header) else {
            return Ok(Found::Need(header));
        };
        let length = self.read(field);
        let following =
            length.checked_add_signed(self.adjust).ok_or(FramingError::BadLength { length })?;
        // What no memory could hold is more than anybody allows.
        let following = usize::try_from(following).unwrap_or(usize::MAX);
        let total = header.saturating_add(following);
        Ok(if total > bytes.len() { Found::Need(total) } else { Found::Message(total) })
    }

    fn unframe<'a>(&self, message: &'a [u8]) -> Cow<'a, [u8]> {
        let after = message.get(self.header()..).unwrap_or_default();
        match message.get(..self.offset) {
            Some(before) if !before.is_empty() => [before, after].concat().into(),
            _ => after.into(),
        }
    }

    fn frame(&self, payload: &[u8], stream: &mut BytesMut) -> Result<(), TransformError> {
        let unframable = || FramingError::Unframable { len: payload.len(), width: self.width };
        let (before, after) = payload.split_at_checked(self.offset).ok_or_else(unframable)?;
        let length = self.length_of(after.len()).ok_or_else(unframable)?;
        stream.extend_from_slice(before);
        self.write(length, stream);
        stream.extend_from_slice(after);
        Ok(())
    }

    fn rest(&self) -> Rest {
        Rest::Pass
    }
}
