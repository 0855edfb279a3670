//! Carries a handshake's bytes over a socket.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::shared::Worker;
use crate::ingress::{Handshake, Progress, Rejection};
use crate::net::{Chunk, Reader, Socket, Write};

/// How long a peer that was rejected may take to close before its connection is closed.
const LINGER: Duration = Duration::from_secs(1);

/// Why a handshake came to nothing.
pub(super) enum Failed {
    /// The peer broke its rules, or left; it gets this reply.
    Rejected { reply: Vec<u8>, reason: Rejection },
    /// The socket failed.
    Io(io::Error),
}

/// Brings a handshake to its end, before the connect time-out has passed: what it yields, and the
/// bytes after it that were read.
pub(super) async fn shake_hands<H: Handshake>(
    worker: &Worker,
    socket: &Socket,
    handshake: &mut H,
) -> Result<(H::Output, Bytes), Failed> {
    let memory = Rc::clone(&worker.memory);
    let mut reader = Reader::new(&worker.io, socket.clone(), memory, None);
    let deadline = Instant::now() + worker.shared.limits.connect_timeout;
    let mut progress = handshake.feed(b"");
    loop {
        progress = match progress {
            Progress::NeedMore => {
                let reading = poll_fn(|context| reader.poll_read(context));
                let read = timeout_at(deadline, reading).await;
                let chunk = read.ok().transpose().map_err(Failed::Io)?;
                match chunk.as_ref().and_then(Chunk::bytes) {
                    Some(bytes) if !bytes.is_empty() => handshake.feed(bytes),
                    // The end of the stream, or of the time.
                    _ => {
                        let reason = handshake.unfinished();
                        return Err(Failed::Rejected { reply: Vec::new(), reason });
                    }
                }
            }
            Progress::Send(bytes) => {
                write(worker, socket, bytes.into()).await.map_err(Failed::Io)?;
                handshake.feed(b"")
            }
            Progress::Done { output, leftover } => return Ok((output, leftover.into())),
            Progress::Rejected { reply, reason } => {
                return Err(Failed::Rejected { reply, reason });
            }
        }
    }
}

/// Writes all of it.
pub(super) async fn write(worker: &Worker, socket: &Socket, bytes: Bytes) -> io::Result<()> {
    let mut write = Write::new(&worker.io, Chunk::Bytes(bytes));
    while !write.is_done() {
        poll_fn(|context| write.poll_write(socket, context)).await?;
    }
    Ok(())
}

/// Gives a peer its last reply, and closes when the peer has, or has had time for it. Without a
/// reply it is reset.
pub(super) async fn dismiss(worker: &Worker, socket: &Socket, reply: Vec<u8>) {
    if reply.is_empty() || write(worker, socket, reply.into()).await.is_err() {
        return socket.abort();
    }
    // With unread bytes a close would be a reset, which could overtake the reply.
    let _ = socket.shutdown_write();
    let memory = Rc::clone(&worker.memory);
    let mut reader = Reader::new(&worker.io, socket.clone(), memory, None);
    let reading = async {
        while poll_fn(|context| reader.poll_read(context)).await.is_ok_and(|c| c.len() > 0) {}
    };
    let _ = tokio::time::timeout(LINGER, reading).await;
}
