//! What is read in one go, and written to the other side.

use std::rc::Rc;

use bytes::Bytes;

use super::splice::Pipe;

/// Bytes on their way from one socket to another. Clones share them.
#[derive(Clone)]
pub(crate) enum Chunk {
    /// Bytes in memory, which sinks may share.
    Bytes(Bytes),
    /// Bytes that stay in the kernel, since nobody asked to see them.
    Piped(Rc<Pipe>),
}

impl Chunk {
    /// How many bytes it had when it was read.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Piped(pipe) => pipe.filled(),
        }
    }

    /// The bytes, where they are in memory.
    pub(crate) const fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Piped(_) => None,
        }
    }
}
