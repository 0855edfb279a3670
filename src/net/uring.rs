//! Receiving and sending through the data ring.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use io_uring::{opcode, squeue, types};

use super::chunk::Chunk;
use super::memory::{Buffer, SMALL};
use super::provided::GROUP;
use super::ring::{Completion, Keep, Operation, Ring};
use super::socket::Socket;
use super::source::Source;

/// Do not try first: nothing has come yet, as far as is known (`IORING_RECVSEND_POLL_FIRST`).
const POLL_FIRST: u16 = 1;

/// Reads one direction: one operation at a time.
pub(super) struct RingRead {
    ring: Rc<Ring>,
    under_way: Option<UnderWay>,
    /// Whether the last read filled what it had, so that the next may be a large one.
    bulk: bool,
    /// Whether more had come when the last read was done.
    has_more: bool,
}

enum UnderWay {
    /// Waits for bytes in order to see how many come.
    Poll(Operation),
    /// Receives into a provided buffer.
    Small(Operation),
    /// Receives into memory of its own.
    Own(Operation),
}

impl UnderWay {
    const fn operation(&mut self) -> &mut Operation {
        match self {
            Self::Poll(operation) | Self::Small(operation) | Self::Own(operation) => operation,
        }
    }
}

impl RingRead {
    pub(super) const fn new(ring: Rc<Ring>) -> Self {
        Self { ring, under_way: None, bulk: false, has_more: false }
    }

    pub(super) fn poll_read(
        &mut self,
        source: &mut Source,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Chunk>> {
        loop {
            let Some(under_way) = &mut self.under_way else {
                if let Some(chunk) = self.begin(source)? {
                    return Poll::Ready(Ok(chunk));
                }
                continue;
            };
            let done = ready!(under_way.operation().poll(context));
            let under_way = self.under_way.take();
            let read = match under_way {
                Some(UnderWay::Poll(_)) => {
                    done.result()?;
                    self.has_more = true;
                    continue;
                }
                Some(UnderWay::Small(_)) => self.take_small(source, &done),
                _ => self.take_own(source, done),
            };
            match read {
                // The socket does not wait by itself, or there was no provided buffer left.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(source),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    self.receive_into(source, source.memory.buffer_for(SMALL));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result.map(Chunk::Bytes)),
            }
        }
    }

    /// Begins the next operation, unless something is there for a pipe.
    fn begin(&mut self, source: &mut Source) -> io::Result<Option<Chunk>> {
        if !self.bulk {
            self.receive_small(source);
        } else if !self.has_more {
            self.wait(source);
        } else {
            self.has_more = false;
            let waiting = source.socket.bytes_waiting()?;
            if waiting <= SMALL {
                self.bulk = false;
                self.receive_small(source);
            } else if let Some(pipe) = source.fill_pipe()? {
                return Ok(Some(pipe));
            } else {
                self.receive_into(source, source.memory.buffer_for(waiting));
            }
        }
        Ok(None)
    }

    fn wait(&mut self, source: &Source) {
        let operation = poll_add(&self.ring, &source.socket, libc::POLLIN as u32);
        self.under_way = Some(UnderWay::Poll(operation));
    }

    fn receive_small(&mut self, source: &Source) {
        let entry = opcode::Recv::new(descriptor(&source.socket), std::ptr::null_mut(), 0)
            .buf_group(GROUP)
            .ioprio(if self.has_more { 0 } else { POLL_FIRST })
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        // SAFETY: the kernel writes to a provided buffer, which the ring keeps.
        let operation = unsafe { self.ring.submit(entry, &source.socket, Keep::Nothing) };
        self.under_way = Some(UnderWay::Small(operation));
    }

    fn receive_into(&mut self, source: &Source, mut buffer: Buffer) {
        let room = buffer.memory.spare_capacity_mut();
        let (start, len) = (room.as_mut_ptr().cast(), room.len() as u32);
        let entry = opcode::Recv::new(descriptor(&source.socket), start, len).build();
        // SAFETY: the memory stays in its place on the heap wherever the vector goes, and the
        // operation keeps the vector.
        let operation = unsafe { self.ring.submit(entry, &source.socket, Keep::Buffer(buffer)) };
        self.under_way = Some(UnderWay::Own(operation));
    }

    /// What came into a provided buffer, which goes back at once.
    fn take_small(&mut self, source: &Source, done: &Completion) -> io::Result<Bytes> {
        let provided = self.ring.provided();
        let bytes = done.result().map(|len| match done.provided() {
            Some(buffer) => source.memory.copy_small(provided.bytes(buffer, len)),
            None => Bytes::new(),
        });
        if let Some(buffer) = done.provided() {
            provided.give_back(buffer);
        }
        // A read ends early before an urgent byte, and where descriptors were sent along.
        self.has_more = done.has_more();
        self.bulk = bytes.as_ref().is_ok_and(|bytes| bytes.len() == SMALL);
        bytes
    }

    fn take_own(&mut self, source: &Source, done: Completion) -> io::Result<Bytes> {
        let len = done.result()?;
        self.has_more = done.has_more();
        let Keep::Buffer(mut buffer) = done.keep else { return Ok(Bytes::new()) };
        let room = buffer.memory.capacity();
        assert!(len <= room, "the kernel wrote more than there was room for");
        // SAFETY: the kernel has written as many bytes from the beginning.
        unsafe { buffer.memory.set_len(len) };
        self.bulk = len > SMALL;
        Ok(source.memory.take_in(buffer))
    }
}

/// Writes one chunk: one operation at a time.
pub(super) struct RingWrite {
    ring: Rc<Ring>,
    under_way: Option<Sending>,
}

enum Sending {
    Send(Operation),
    /// Waits for room.
    Poll(Operation),
}

impl RingWrite {
    pub(super) const fn new(ring: Rc<Ring>) -> Self {
        Self { ring, under_way: None }
    }

    /// Sends what `rest` gives; how much of it the kernel took.
    pub(super) fn poll_send(
        &mut self,
        socket: &Socket,
        rest: impl Fn() -> Bytes,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match &mut self.under_way {
                None => self.under_way = Some(Sending::Send(self.send(socket, rest()))),
                Some(Sending::Poll(operation)) => {
                    ready!(operation.poll(context)).result()?;
                    self.under_way = None;
                }
                Some(Sending::Send(operation)) => {
                    let done = ready!(operation.poll(context));
                    self.under_way = None;
                    match done.result() {
                        Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        // A socket that never blocks does not let the ring wait.
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                            self.wait(socket);
                        }
                        result => return Poll::Ready(result),
                    }
                }
            }
        }
    }

    fn send(&self, socket: &Socket, bytes: Bytes) -> Operation {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(descriptor(socket), bytes.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: the bytes stay in their place, and the operation keeps them.
        unsafe { self.ring.submit(entry, socket, Keep::Bytes(bytes)) }
    }

    fn wait(&mut self, socket: &Socket) {
        let operation = poll_add(&self.ring, socket, libc::POLLOUT as u32);
        self.under_way = Some(Sending::Poll(operation));
    }

    /// What `call` gives, as soon as the socket lets it do something.
    pub(super) fn poll_call(
        &mut self,
        socket: &Socket,
        call: impl Fn() -> io::Result<usize>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(Sending::Poll(operation)) = &mut self.under_way {
                ready!(operation.poll(context)).result()?;
                self.under_way = None;
            }
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(socket),
                result => return Poll::Ready(result),
            }
        }
    }
}

fn poll_add(ring: &Rc<Ring>, socket: &Socket, events: u32) -> Operation {
    let entry = opcode::PollAdd::new(descriptor(socket), events).build();
    // SAFETY: a poll touches no memory.
    unsafe { ring.submit(entry, socket, Keep::Nothing) }
}

fn descriptor(socket: &Socket) -> types::Fd {
    types::Fd(socket.as_fd().as_raw_fd())
}
