//! Opens what a capture goes to: a FIFO as a pipe, anything else as a new file.

use std::io;
use std::path::Path;

use super::compress;
use super::direct_file::DirectFile;
use super::fifo::Fifo;
use super::output::{Output, PlainFile, Stream};
use crate::sink::file::{create_file, is_fifo};

/// Opens `path` for a capture: a FIFO as a pipe, anything else as a new file, compressed where
/// its name ends in `.gz` or `.zst`.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Output>> {
    if is_fifo(path)? {
        return Ok(Box::new(Fifo::new(path.to_owned())));
    }
    let file = create_file(path)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => compress::gzip(file),
        Some("zst") => compress::zstd(file),
        _ if !file.metadata()?.is_file() => Ok(Box::new(Stream::new(file))),
        _ => match DirectFile::new(&file) {
            Ok(direct) => Ok(Box::new(direct)),
            // In memory, over a network: many a file system knows no direct writes.
            Err(_) => Ok(Box::new(PlainFile::new(file))),
        },
    }
}
