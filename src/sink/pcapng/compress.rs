//! Compressed captures, which Wireshark opens as they are.

use std::fs::File;
use std::io;

use super::output::Output;

/// A gzip file. A flush ends a deflate block on a byte boundary, so that a file that was cut
/// short shows all up to its last flush.
#[cfg(feature = "compress")]
pub(super) fn gzip(file: File) -> io::Result<Box<dyn Output>> {
    struct Gzip(flate2::write::GzEncoder<File>);

    impl Output for Gzip {
        fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
            io::Write::write_all(&mut self.0, blocks)
        }

        fn flush(&mut self) -> io::Result<()> {
            io::Write::flush(&mut self.0)
        }

        fn finish(&mut self) -> io::Result<()> {
            self.0.try_finish()
        }
    }

    // The fastest level: it keeps up with more traffic, and packets compress well anyway.
    Ok(Box::new(Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::fast()))))
}

/// A Zstandard file. A flush ends a block.
#[cfg(feature = "compress")]
pub(super) fn zstd(file: File) -> io::Result<Box<dyn Output>> {
    struct Zstd(zstd::stream::write::Encoder<'static, File>);

    impl Output for Zstd {
        fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
            io::Write::write_all(&mut self.0, blocks)
        }

        fn flush(&mut self) -> io::Result<()> {
            io::Write::flush(&mut self.0)
        }

        fn finish(&mut self) -> io::Result<()> {
            self.0.do_finish()
        }
    }

    Ok(Box::new(Zstd(zstd::stream::write::Encoder::new(file, 1)?)))
}

#[cfg(not(feature = "compress"))]
pub(super) fn gzip(_: File) -> io::Result<Box<dyn Output>> {
    let what = "this build cannot compress (build it with the feature 'compress')";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

#[cfg(not(feature = "compress"))]
pub(super) use gzip as zstd;
