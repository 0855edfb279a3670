//! Compressed captures, which Wireshark opens as they are.

use std::fs::File;
use std::io;

use super::output::Output;

/// A compressed file. A flush ends a block on a byte boundary, so that a file that was cut short
/// shows all up to its last flush.
#[cfg(feature = "compress")]
struct Compressed<E> {
    encoder: E,
    finish: fn(&mut E) -> io::Result<()>,
    /// Whether something was written since the last flush: each flush of nothing would make the
    /// file longer all the same.
    is_dirty: bool,
}

#[cfg(feature = "compress")]
impl<E: io::Write + Send> Output for Compressed<E> {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.is_dirty = true;
        self.encoder.write_all(blocks)
    }

    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_dirty) { self.encoder.flush() } else { Ok(()) }
    }

    fn finish(&mut self) -> io::Result<()> {
        (self.finish)(&mut self.encoder)
    }
}

/// A gzip file.
#[cfg(feature = "compress")]
pub(super) fn gzip(file: File) -> io::Result<Box<dyn Output>> {
    use flate2::{Compression, write::GzEncoder};

    // The fastest level: it keeps up with more traffic, and packets compress well anyway.
    let encoder = GzEncoder::new(file, Compression::fast());
    Ok(Box::new(Compressed { encoder, finish: GzEncoder::try_finish, is_dirty: false }))
}

/// A Zstandard file.
#[cfg(feature = "compress")]
pub(super) fn zstd(file: File) -> io::Result<Box<dyn Output>> {
    use zstd::stream::write::Encoder;

    let encoder = Encoder::new(file, 1)?;
    Ok(Box::new(Compressed { encoder, finish: Encoder::do_finish, is_dirty: false }))
}

#[cfg(not(feature = "compress"))]
pub(super) fn gzip(_: File) -> io::Result<Box<dyn Output>> {
    let what = "this build cannot compress (build it with the feature 'compress')";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

#[cfg(not(feature = "compress"))]
pub(super) use gzip as zstd;
