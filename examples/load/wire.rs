//! What client and server say to each other: a header that names the work, then pattern bytes.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::pattern::{MAX_CHUNK, Stream};

/// Length of an encoded [`Header`].
pub(crate) const HEADER: usize = 24;

/// What the server does with the bytes that follow the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Verify `length` bytes, then answer with that number.
    Sink,
    /// Verify each byte and answer it with one of the reply stream, until the client ends.
    Echo,
    /// Verify `length` bytes, then reset the connection.
    Reset,
}

/// The first bytes of every connection: seed and length, so that a capture verifies itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) task: Task,
    pub(crate) seed: u64,
    pub(crate) length: u64,
    /// How much the server reads at once.
    pub(crate) chunk: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = *b"LOAD....................";
        bytes[3] = match self.task {
            Task::Sink => b's',
            Task::Echo => b'e',
            Task::Reset => b'r',
        };
        bytes[4..8].copy_from_slice(&self.chunk.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.seed.to_be_bytes());
        bytes[16..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    /// Reads a header back, or says that these bytes are none.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> io::Result<Self> {
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
        };
        let task = match &bytes[..4] {
            b"LOAs" => Task::Sink,
            b"LOAe" => Task::Echo,
            b"LOAr" => Task::Reset,
            other => return Err(invalid(format!("{other:02x?} begins no header"))),
        };
        let chunk = (number(4..8) as u32).clamp(1, MAX_CHUNK as u32);
        Ok(Self { task, chunk, seed: number(8..16), length: number(16..24) })
    }
}

/// Writes the next `length` bytes of `stream`, in pieces of at most `chunk`.
pub(crate) async fn send(
    socket: &mut (impl AsyncWriteExt + Unpin),
    stream: &mut Stream,
    mut length: u64,
    chunk: usize,
) -> io::Result<()> {
    while length > 0 {
        let piece = stream.peek(length.min(chunk as u64) as usize);
        socket.write_all(piece).await?;
        stream.advance(piece.len());
        length -= piece.len() as u64;
    }
    Ok(())
}

/// Reads exactly `length` bytes and verifies that they are the next ones of `stream`.
pub(crate) async fn receive(
    socket: &mut (impl AsyncReadExt + Unpin),
    stream: &mut Stream,
    mut length: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    while length > 0 {
        // Asks for more than is missing: a short read tells the runtime that the socket is empty,
        // and saves a read that would only say so.
        let n = socket.read(buffer).await?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        stream.verify(&buffer[..n]).map_err(invalid)?;
        length = length
            .checked_sub(n as u64)
            .ok_or_else(|| invalid("more bytes came than were sent"))?;
    }
    Ok(())
}

/// Ends the connection with a reset instead of a FIN.
pub(crate) fn reset(socket: TcpStream) {
    // Where the peer was faster, the option has nothing left to act on.
    let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
}

pub(crate) fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
