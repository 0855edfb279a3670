//! Writing behind: one chunk goes to the disk while the next one fills.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::aligned::Aligned;

/// A buffer and its place in the file.
pub(super) struct Chunk {
    pub(super) buffer: Aligned,
    pub(super) start: u64,
    /// How much of it the file has already.
    pub(super) flushed: usize,
}

/// Writes chunks on a thread of its own, which it has from the first chunk on.
///
/// At most one chunk is under way: who has two to write waits for the first.
pub(super) struct Behind {
    files: Option<Files>,
    thread: Option<Thread>,
    is_under_way: bool,
    spare: Option<Aligned>,
}

struct Files {
    /// `None` once the file system has refused.
    direct: Option<File>,
    ordinary: File,
}

struct Thread {
    /// `None` when there will be no more, which ends the thread.
    chunks: Option<SyncSender<Chunk>>,
    written: Receiver<io::Result<Aligned>>,
    thread: Option<JoinHandle<()>>,
}

impl Behind {
    /// Writes through `direct`; through `ordinary`, the same file, where that is refused.
    pub(super) const fn new(direct: File, ordinary: File) -> Self {
        let files = Some(Files { direct: Some(direct), ordinary });
        Self { files, thread: None, is_under_way: false, spare: None }
    }

    /// Begins to write a chunk. None may be under way.
    pub(super) fn write(&mut self, chunk: Chunk) -> io::Result<()> {
        if let Some(files) = self.files.take() {
            self.thread = Some(Thread::start(files)?);
        }
        let chunks = self.thread.as_ref().and_then(|thread| thread.chunks.as_ref());
        let sent = chunks.is_some_and(|chunks| chunks.send(chunk).is_ok());
        self.is_under_way = sent;
        if sent { Ok(()) } else { Err(gone()) }
    }

    /// Waits until no chunk is under way, and says what became of it.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_under_way) {
            let thread = self.thread.as_ref().ok_or_else(gone)?;
            self.spare = Some(thread.written.recv().map_err(|_| gone())??);
        }
        Ok(())
    }

    /// The empty buffer of a chunk that was written, to fill again.
    pub(super) const fn take_spare(&mut self) -> Option<Aligned> {
        self.spare.take()
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that writes the file is gone")
}

impl Thread {
    fn start(mut files: Files) -> io::Result<Self> {
        let (chunks, to_write) = sync_channel::<Chunk>(1);
        let (done, written) = sync_channel(1);
        let run = move || {
            for chunk in to_write {
                if done.send(files.write(chunk)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("capture file".to_owned()).spawn(run)?;
        Ok(Self { chunks: Some(chunks), written, thread: Some(thread) })
    }
}

impl Drop for Thread {
    /// What was handed over is in the file when this returns.
    fn drop(&mut self) {
        drop(self.chunks.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Files {
    fn write(&mut self, Chunk { mut buffer, start, flushed }: Chunk) -> io::Result<Aligned> {
        let bytes = buffer.filled();
        let mut written = match &self.direct {
            Some(direct) => direct.write_all_at(bytes, start),
            None => self.ordinary.write_all_at(bytes, start),
        };
        // Some file systems refuse only now.
        if self.direct.is_some() && is_refusal(&written) {
            self.direct = None;
            written = self.ordinary.write_all_at(bytes, start);
        }
        if let Err(error) = written {
            // A full disk shall not leave half a block behind.
            let _ = self.ordinary.set_len(start + flushed as u64);
            return Err(error);
        }
        buffer.clear();
        Ok(buffer)
    }
}

fn is_refusal(written: &io::Result<()>) -> bool {
    written.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}
