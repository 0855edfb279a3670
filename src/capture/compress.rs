//! Compressed captures, which Wireshark opens as they are.
//!
//! What is compressed reaches the file in portions that end on a byte boundary with a whole block,
//! so that a file that was cut short shows all up to its last flush. Where a portion does not fit,
//! as many of its blocks as do take its place, and the stream ends.

use std::fs::File;
use std::io;

use super::output::Output;
#[cfg(feature = "compress")]
use super::output::State;

/// A portion is written when so much has gathered, or at a flush.
#[cfg(feature = "compress")]
const PORTION: usize = 1 << 20;
/// Fewer bytes are not worth another try on a full disk.
#[cfg(feature = "compress")]
const TRIED_MIN: usize = 4096;

/// A format that streams are written in.
#[cfg(feature = "compress")]
trait Format: Send {
    /// Compresses more, up to a byte boundary.
    fn compress(&mut self, raw: &[u8]) -> io::Result<Vec<u8>>;

    /// Ends the stream.
    fn end(&mut self) -> io::Result<Vec<u8>>;

    /// What brings `raw` and ends the stream, where it was before it compressed the last portion.
    fn instead(&self, raw: &[u8]) -> io::Result<Vec<u8>>;
}

#[cfg(feature = "compress")]
struct Compressed<F> {
    file: File,
    /// The length of the file, where its last portion ends.
    len: u64,
    format: F,
    /// Blocks that the file does not have yet.
    raw: Vec<u8>,
    /// The last portion, where it could not be written.
    state: State,
}

#[cfg(feature = "compress")]
impl<F: Format> Compressed<F> {
    const fn new(file: File, format: F) -> Self {
        Self { file, len: 0, format, raw: Vec::new(), state: State::Intact }
    }

    /// Writes at the end of the file, all or nothing.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;

        if let Err(error) = self.file.write_all_at(bytes, self.len) {
            let _ = self.file.set_len(self.len);
            return Err(error);
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn write_portion(&mut self) -> io::Result<()> {
        let compressed = self.format.compress(&self.raw)?;
        let appended = self.append(&compressed);
        if appended.is_err() {
            self.state.fail(&self.raw);
        }
        self.raw.clear();
        appended
    }

    /// Writes as many blocks as fit instead of the last portion, and ends the stream; how many
    /// bytes of blocks those are.
    fn write_what_fits(&mut self, raw: &[u8]) -> usize {
        let (mut fits, mut too_many) = (0, raw.len());
        while too_many - fits > TRIED_MIN {
            let middle = usize::midpoint(fits, too_many);
            let len = super::blocks::whole(raw, middle);
            if len > fits && self.append_instead(&raw[..len]) {
                fits = len;
            } else {
                too_many = middle;
            }
        }
        if self.append_instead(&raw[..fits]) { fits } else { 0 }
    }

    /// Writes these blocks in place of what was tried before; whether they fit.
    fn append_instead(&mut self, raw: &[u8]) -> bool {
        let instead = self.format.instead(raw);
        let start = self.len;
        let fits = instead.and_then(|instead| self.append(&instead)).is_ok();
        self.len = start;
        fits
    }
}

#[cfg(feature = "compress")]
impl<F: Format> Output for Compressed<F> {
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        self.raw.extend_from_slice(blocks);
        if self.raw.len() >= PORTION { self.write_portion() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        // Each flush of nothing would make the file longer all the same.
        if self.raw.is_empty() { Ok(()) } else { self.write_portion() }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        let end = self.format.end()?;
        self.append(&end)
    }

    fn salvage(&mut self) -> Vec<u8> {
        if self.state == State::Intact && self.write_portion().is_ok() {
            let end = self.format.end().unwrap_or_default();
            let _ = self.append(&end);
            return Vec::new();
        }
        let mut raw = self.state.take_lost();
        raw.append(&mut self.raw);
        let kept = self.write_what_fits(&raw);
        raw[kept..].to_vec()
    }
}

/// A gzip file (RFC 1952).
#[cfg(feature = "compress")]
struct Gzip {
    encoder: flate2::write::GzEncoder<Vec<u8>>,
    /// Checksum and length of what was compressed, before the last portion and with it.
    sums: [flate2::Crc; 2],
}

#[cfg(feature = "compress")]
impl Gzip {
    fn new() -> Self {
        // The fastest level: it keeps up with more traffic, and packets compress well anyway.
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        Self { encoder, sums: [flate2::Crc::new(), flate2::Crc::new()] }
    }
}

#[cfg(feature = "compress")]
impl Format for Gzip {
    fn compress(&mut self, raw: &[u8]) -> io::Result<Vec<u8>> {
        use std::io::Write;

        let mut with = flate2::Crc::new();
        with.combine(&self.sums[1]);
        self.sums.swap(0, 1);
        with.update(raw);
        self.sums[1] = with;
        self.encoder.write_all(raw)?;
        // A flush ends with an empty stored block (RFC 1951, 3.2.4). One that finds much to write
        // leaves its end to the next.
        loop {
            let before = self.encoder.get_ref().len();
            self.encoder.flush()?;
            let compressed = self.encoder.get_mut();
            if compressed.ends_with(&[0, 0, 0xff, 0xff]) {
                return Ok(std::mem::take(compressed));
            }
            if compressed.len() == before {
                return Err(io::Error::other("the compressor does not end its block"));
            }
        }
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        self.encoder.try_finish()?;
        Ok(std::mem::take(self.encoder.get_mut()))
    }

    fn instead(&self, raw: &[u8]) -> io::Result<Vec<u8>> {
        // The last block of a stream, with fixed codes and nothing in it (RFC 1951, 3.2.3).
        const LAST_BLOCK: [u8; 2] = [3, 0];
        let before = &self.sums[0];
        let end = [&LAST_BLOCK[..], &before.sum().to_le_bytes(), &before.amount().to_le_bytes()];
        let mut instead = if before.amount() == 0 { Vec::new() } else { end.concat() };
        // What follows is a member of its own (RFC 1952, 2.2).
        let mut member = Self::new();
        if !raw.is_empty() {
            instead.extend(member.compress(raw)?);
            instead.extend(member.end()?);
        }
        Ok(instead)
    }
}

/// A Zstandard file (RFC 8878).
#[cfg(feature = "compress")]
struct Zstandard {
    encoder: zstd::stream::write::Encoder<'static, Vec<u8>>,
    /// How many portions were compressed.
    portions: u64,
}

#[cfg(feature = "compress")]
impl Zstandard {
    fn new() -> io::Result<Self> {
        Ok(Self { encoder: zstd::stream::write::Encoder::new(Vec::new(), 1)?, portions: 0 })
    }
}

#[cfg(feature = "compress")]
impl Format for Zstandard {
    fn compress(&mut self, raw: &[u8]) -> io::Result<Vec<u8>> {
        use std::io::Write;

        self.portions += 1;
        self.encoder.write_all(raw)?;
        self.encoder.flush()?;
        Ok(std::mem::take(self.encoder.get_mut()))
    }

    fn end(&mut self) -> io::Result<Vec<u8>> {
        self.encoder.do_finish()?;
        Ok(std::mem::take(self.encoder.get_mut()))
    }

    /// Readers such as Wireshark expect one frame: what takes the portion's place are blocks that
    /// are not compressed (RFC 8878, 3.1.1.2).
    fn instead(&self, raw: &[u8]) -> io::Result<Vec<u8>> {
        const BLOCK_MAX: usize = 128 << 10;
        if self.portions <= 1 {
            return zstd::stream::encode_all(raw, 1);
        }
        let mut blocks: Vec<_> = raw.chunks(BLOCK_MAX).collect();
        if blocks.is_empty() {
            blocks.push(raw);
        }
        let last = blocks.len() - 1;
        let mut instead = Vec::new();
        for (index, block) in blocks.into_iter().enumerate() {
            let header = (block.len() as u32) << 3 | u32::from(index == last);
            instead.extend_from_slice(&header.to_le_bytes()[..3]);
            instead.extend_from_slice(block);
        }
        Ok(instead)
    }
}

#[cfg(feature = "compress")]
pub(super) fn gzip(file: File) -> io::Result<Box<dyn Output>> {
    Ok(Box::new(Compressed::new(file, Gzip::new())))
}

#[cfg(feature = "compress")]
pub(super) fn zstd(file: File) -> io::Result<Box<dyn Output>> {
    Ok(Box::new(Compressed::new(file, Zstandard::new()?)))
}

#[cfg(not(feature = "compress"))]
pub(super) fn gzip(_: File) -> io::Result<Box<dyn Output>> {
    let what = "this build cannot compress (build it with the feature 'compress')";
    Err(io::Error::new(io::ErrorKind::Unsupported, what))
}

#[cfg(not(feature = "compress"))]
pub(super) use gzip as zstd;
