//! How a program's socket is sent to an address of this process instead of its server.

use std::io;
use std::net::SocketAddr;

use super::caller::{Caller, Memory, TcpSocket};
use super::sockaddr::{Wanted, encode, in_family_of, parse, patch};
use super::sys::Answer;

/// How a program's socket is connected to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// The socket is copied (`pidfd_getfd`) and the copy connected. The program's memory stays
    /// untouched. Docker's default profile forbids it.
    CopyDescriptor,
    /// The address in the program's memory is replaced until the program's own call has connected.
    /// A program that looks at it just then sees an address of the loopback device.
    RewriteAddress,
}

/// A connect that waits: whose it is, and where its address stands.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) caller: Caller,
    pub(super) pid: u32,
    pub(super) socket: TcpSocket,
    pub(super) is_blocking: bool,
    /// In the socket's own family.
    pub(super) wanted: SocketAddr,
    pub(super) memory: Memory,
    pub(super) pointer: u64,
}

/// What was done to send a socket elsewhere.
#[derive(Debug)]
pub(super) struct Redirected {
    pub(super) answer: Answer,
    /// Whether the program's memory holds the new address until it is restored.
    pub(super) is_rewritten: bool,
}

impl Target {
    /// Sends the socket to `own`. The answer has to be given then.
    pub(super) fn redirect(&self, mechanism: Mechanism, own: SocketAddr) -> io::Result<Redirected> {
        if mechanism == Mechanism::CopyDescriptor {
            // A process may refuse what others permit; then its memory is tried.
            if let Ok(copy) = self.caller.copy_socket(self.pid, self.socket) {
                let to = in_family_of(own, self.wanted);
                let answer = self.answer(copy.connect(to, self.is_blocking));
                return Ok(Redirected { answer, is_rewritten: false });
            }
        }
        self.write(own)?;
        Ok(Redirected { answer: Answer::Continue, is_rewritten: true })
    }

    /// The answer to a call whose socket was connected by its copy.
    fn answer(&self, result: io::Result<()>) -> Answer {
        match result.map_err(|error| error.raw_os_error()) {
            Ok(()) => Answer::Succeed,
            // The program's own call finds the connect under way, waits for it and gives its
            // result; the address that it passes is of no account then.
            Err(Some(libc::EINPROGRESS)) if self.is_blocking => Answer::Continue,
            Err(errno) => Answer::Fail(errno.unwrap_or(libc::ECONNABORTED)),
        }
    }

    fn write(&self, own: SocketAddr) -> io::Result<()> {
        let (start, bytes) = patch(in_family_of(own, self.wanted));
        self.memory.write(self.pointer + start as u64, &bytes)
    }

    /// The address that stands in the program's memory now.
    pub(super) fn current(&self) -> Option<SocketAddr> {
        let bytes = self.memory.read(self.pointer, encode(self.wanted).len()).ok()?;
        match parse(&bytes) {
            Wanted::Ip(address) => Some(address),
            Wanted::Disconnect | Wanted::Other => None,
        }
    }

    /// Writes the program's own address back, unless the memory holds something else by now.
    pub(super) fn restore(&self, own: SocketAddr) {
        let (start, expected) = patch(in_family_of(own, self.wanted));
        let pointer = self.pointer + start as u64;
        if self.memory.read(pointer, expected.len()).is_ok_and(|now| now == expected) {
            let (_, wanted) = patch(self.wanted);
            let _ = self.memory.write(pointer, &wanted);
        }
    }
}
