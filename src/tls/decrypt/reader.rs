//! Reads the numbers and vectors that TLS messages are made of (RFC 8446 section 3).

/// What is left of a message. Each method is `None` where too little is left.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.number(1).map(|number| number as u8)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.number(2).map(|number| number as u16)
    }

    /// A big-endian number of at most 4 bytes.
    fn number(&mut self, len: usize) -> Option<u32> {
        let bytes = self.take(len)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// A vector behind its length, which takes `length_bytes`.
    pub(super) fn vector(&mut self, length_bytes: usize) -> Option<Self> {
        let len = self.number(length_bytes)?;
        self.take(usize::try_from(len).ok()?).map(Self)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
