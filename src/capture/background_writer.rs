//! Writes in the background: one chunk goes to the disk while the next one fills.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::aligned_buffer::AlignedBuffer;
use super::output::write_at;

/// A buffer and its place in the file.
pub(super) struct Chunk {
    pub(super) buffer: AlignedBuffer,
    pub(super) start: u64,
}

/// Writes chunks on a thread of its own.
///
/// At most one chunk is under way: who has two to write waits for the first.
pub(super) struct BackgroundWriter {
    /// `None` when there will be no more, which ends the thread.
    chunks: Option<SyncSender<Chunk>>,
    written: Receiver<Result<AlignedBuffer, Failed>>,
    thread: Option<JoinHandle<()>>,
    state: State,
}

/// What became of the chunk that was handed over last.
enum State {
    /// It was written, if there was one; its buffer can be filled again.
    Idle { spare: Option<AlignedBuffer> },
    /// It is being written.
    Writing,
    /// It could not be written, and these blocks of it are lost.
    Failed { lost: Vec<u8> },
}

/// Why a chunk was not written, and its blocks that the file does not have.
struct Failed {
    error: io::Error,
    lost: Vec<u8>,
}

struct Files {
    /// `None` once the file system has refused.
    direct: Option<File>,
    ordinary: File,
}

impl BackgroundWriter {
    /// Writes through `direct`; through `ordinary`, the same file, where that is refused.
    pub(super) fn new(direct: File, ordinary: File) -> io::Result<Self> {
        let (chunks, to_write) = sync_channel::<Chunk>(1);
        let (done, written) = sync_channel(1);
        let mut files = Files { direct: Some(direct), ordinary };
        let run = move || {
            for chunk in to_write {
                if done.send(files.write(chunk)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("capture file".to_owned()).spawn(run)?;
        let (chunks, thread) = (Some(chunks), Some(thread));
        Ok(Self { chunks, written, thread, state: State::Idle { spare: None } })
    }

    /// Begins to write a chunk. None may be under way.
    pub(super) fn write(&mut self, chunk: Chunk) -> io::Result<()> {
        let sent = self.chunks.as_ref().is_some_and(|chunks| chunks.send(chunk).is_ok());
        self.state = if sent { State::Writing } else { State::Failed { lost: Vec::new() } };
        if sent { Ok(()) } else { Err(gone()) }
    }

    /// Waits until no chunk is under way.
    ///
    /// # Errors
    ///
    /// That chunk could not be written.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let State::Writing = self.state else { return Ok(()) };
        let (state, waited) = match self.written.recv() {
            Ok(Ok(buffer)) => (State::Idle { spare: Some(buffer) }, Ok(())),
            Ok(Err(Failed { error, lost })) => (State::Failed { lost }, Err(error)),
            Err(_) => (State::Failed { lost: Vec::new() }, Err(gone())),
        };
        self.state = state;
        waited
    }

    /// The blocks of a chunk that could not be written; `None` where all were.
    pub(super) fn take_lost(&mut self) -> Option<Vec<u8>> {
        match &mut self.state {
            State::Failed { lost } => Some(std::mem::take(lost)),
            State::Idle { .. } | State::Writing => None,
        }
    }

    /// The buffer of a chunk that was written, to fill again.
    pub(super) const fn take_spare(&mut self) -> Option<AlignedBuffer> {
        match &mut self.state {
            State::Idle { spare } => spare.take(),
            State::Writing | State::Failed { .. } => None,
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that writes the file is gone")
}

impl Drop for BackgroundWriter {
    /// What was handed over is in the file when this returns.
    fn drop(&mut self) {
        drop(self.chunks.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Files {
    fn write(&mut self, Chunk { buffer, start }: Chunk) -> Result<AlignedBuffer, Failed> {
        let (head, rest) = buffer.split();
        let middle = start + head.len() as u64;
        let written = self.ordinary.write_all_at(head, start);
        let written = written.and_then(|()| self.write_direct(rest, middle));
        let Err(error) = written else { return Ok(buffer) };
        // All or nothing by a direct write, but part of it may fit.
        match write_at(&self.ordinary, buffer.filled(), start) {
            Ok(()) => Ok(buffer),
            Err((kept, _)) => Err(Failed { error, lost: buffer.filled()[kept..].to_vec() }),
        }
    }

    fn write_direct(&mut self, bytes: &[u8], start: u64) -> io::Result<()> {
        if let Some(direct) = &self.direct {
            match direct.write_all_at(bytes, start) {
                // Some file systems refuse only now.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.direct = None,
                written => return written,
            }
        }
        self.ordinary.write_all_at(bytes, start)
    }
}
