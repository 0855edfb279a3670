//! One reader of a capture over TCP, with a queue and a thread of its own.

use std::cell::Cell;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::SockRef;

use super::aligned_buffer::FILLER;
use crate::sink::OnSlow;

/// How often a reader that has closed its end is asked whether it still reads.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The shortest block of a type that readers skip.
pub(super) const NOTHING: [u8; 12] = {
    let [a, b, c, d] = FILLER.to_le_bytes();
    [a, b, c, d, 12, 0, 0, 0, 12, 0, 0, 0]
};

/// What waits for a reader.
#[derive(Default)]
struct Queue {
    /// Bytes that are queued or being sent.
    waiting: Mutex<usize>,
    less: Condvar,
}

/// A reader, with a thread that sends to it.
pub(super) struct Reader {
    blocks: Sender<Bytes>,
    queue: Arc<Queue>,
    stream: TcpStream,
    thread: JoinHandle<()>,
    /// Ends when the thread does.
    ended: Receiver<()>,
    /// When it was last seen, or asked for a sign of life.
    asked: Cell<Instant>,
}

impl Reader {
    /// Begins to send to a reader, first of all its `beginning`.
    pub(super) fn start(stream: TcpStream, beginning: Bytes) -> io::Result<Self> {
        let (blocks, incoming) = channel::<Bytes>();
        let queue = Arc::new(Queue::default());
        let (writer, shared) = (stream.try_clone()?, Arc::clone(&queue));
        queue.take(beginning.len(), usize::MAX, OnSlow::Block);
        let (ending, ended) = channel();
        let run = move || {
            let _ending = ending;
            send_all(&writer, std::iter::once(beginning).chain(incoming), &shared);
            let _ = writer.shutdown(Shutdown::Write);
            // Nobody shall wait for a reader that is gone.
            shared.release(usize::MAX);
        };
        let thread = std::thread::Builder::new().name("pcap-reader".to_owned()).spawn(run)?;
        Ok(Self { blocks, queue, stream, thread, ended, asked: Cell::new(Instant::now()) })
    }

    /// Whether the reader is still there. One that has closed its end may yet be reading, and
    /// only an answer to something that is sent to it can tell.
    pub(super) fn is_there(&self) -> bool {
        if self.thread.is_finished() {
            return false;
        }
        if self.asked.get().elapsed() >= ASK_AGAIN && self.has_closed_its_end() {
            self.asked.set(Instant::now());
            return self.send(&Bytes::from_static(&NOTHING), usize::MAX, OnSlow::Block);
        }
        true
    }

    fn has_closed_its_end(&self) -> bool {
        let socket = SockRef::from(&self.stream);
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        matches!(socket.recv_with_flags(&mut [MaybeUninit::uninit()], flags), Ok(0))
    }

    /// Queues blocks; false when the reader is gone, or was too slow.
    pub(super) fn send(&self, blocks: &Bytes, limit: usize, on_slow: OnSlow) -> bool {
        if !self.queue.take(blocks.len(), limit, on_slow) {
            let _ = self.stream.shutdown(Shutdown::Both);
            return false;
        }
        self.blocks.send(blocks.clone()).is_ok()
    }

    /// Lets the reader fetch the rest until `end`.
    pub(super) fn finish(self, end: Instant) {
        drop(self.blocks);
        // Nothing is ever sent: this is until the thread has ended, or time is up.
        let _ = self.ended.recv_timeout(end.saturating_duration_since(Instant::now()));
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Queue {
    fn take(&self, len: usize, limit: usize, on_slow: OnSlow) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while *waiting > 0 && waiting.saturating_add(len) > limit {
            if on_slow == OnSlow::Drop {
                return false;
            }
            waiting = self.less.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        *waiting += len;
        true
    }

    fn release(&self, len: usize) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = waiting.saturating_sub(len);
        self.less.notify_all();
    }
}

/// Sends until there is no more, or the reader is gone.
fn send_all(mut writer: &TcpStream, all: impl Iterator<Item = Bytes>, queue: &Queue) {
    for blocks in all {
        let written = writer.write_all(&blocks);
        queue.release(blocks.len());
        if written.is_err() {
            return;
        }
    }
}
