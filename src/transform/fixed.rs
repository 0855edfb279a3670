//! Messages of one size.

use super::TransformError;
use super::framer::{Found, Framer, Rest};

/// Messages that all have the same number of bytes. An unfinished one at the end of the stream
/// passes as it is.
///
/// What a handler forwards may have any size: nobody but the receiver minds.
#[derive(Clone, Debug)]
pub struct FixedSize(usize);

impl FixedSize {
    /// Messages of `size` bytes, at least 1.
    pub const fn new(size: usize) -> Self {
        Self(if size == 0 { 1 } else { size })
    }
}

impl Framer for FixedSize {
    fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError> {
        let Self(size) = *self;
        Ok(if bytes.len() < size { Found::Need(size) } else { Found::Message(size) })
    }

    fn rest(&self) -> Rest {
        Rest::Pass
    }
}
