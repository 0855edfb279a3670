//! One end of a connection: speaks and listens as a test tells it, and keeps what it saw.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::SockRef;

use super::events::PATIENCE;

/// What one end saw.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Bytes(Vec<u8>),
    /// The other end's FIN.
    Fin,
    /// An error of a read or a write, RST as a rule, by its name.
    Error(&'static str, ErrorKind),
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) if bytes.len() > 40 => write!(f, "{} bytes", bytes.len()),
            Self::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::Fin => f.write_str("FIN"),
            Self::Error(what, kind) => write!(f, "{what}: {kind:?}"),
        }
    }
}

pub(crate) struct End {
    stream: Option<TcpStream>,
    seen: Vec<Seen>,
}

/// Lets nothing wait for ever: a test that would hang fails instead.
pub(crate) fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Closes with RST.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

impl End {
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream: Some(patient(stream)), seen: Vec::new() }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.as_ref().unwrap()
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) {
        if let Err(error) = self.stream().write_all(bytes) {
            self.seen.push(Seen::Error("write", error.kind()));
        }
    }

    /// Says the same again and again, until the other end will not have it.
    pub(crate) fn say_until_it_fails(&mut self, bytes: &[u8]) {
        while self.seen.is_empty() {
            self.say(bytes);
        }
    }

    /// Hears `count` bytes, or what comes before the end.
    pub(crate) fn hear(&mut self, count: usize) {
        let mut bytes = vec![0; count];
        let mut len = 0;
        let end = loop {
            match self.stream().read(&mut bytes[len..]) {
                Ok(0) if len < count => break Some(Seen::Fin),
                Ok(more) => len += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => break Some(Seen::Error("read", error.kind())),
            }
            if len == count {
                break None;
            }
        };
        bytes.truncate(len);
        self.note(bytes, end);
    }

    /// Hears all that comes, and the end.
    pub(crate) fn hear_all(&mut self) {
        let mut bytes = Vec::new();
        let end = match self.stream().read_to_end(&mut bytes) {
            Ok(_) => Seen::Fin,
            Err(error) => Seen::Error("read", error.kind()),
        };
        self.note(bytes, Some(end));
    }

    /// Hears all that comes, in small pieces and with little room in the kernel for more.
    pub(crate) fn hear_slowly(&mut self) {
        SockRef::from(self.stream()).set_recv_buffer_size(4096).unwrap();
        while !matches!(self.seen.last(), Some(Seen::Fin | Seen::Error(..))) {
            self.hear(1000);
        }
    }

    fn note(&mut self, bytes: Vec<u8>, end: Option<Seen>) {
        match self.seen.last_mut() {
            // Where one read ended and the next began means nothing.
            Some(Seen::Bytes(before)) => before.extend(bytes),
            _ if bytes.is_empty() => {}
            _ => self.seen.push(Seen::Bytes(bytes)),
        }
        self.seen.extend(end);
    }

    /// Waits until `count` bytes can be heard, and leaves them unheard.
    pub(crate) fn has(&self, count: usize) {
        let mut bytes = vec![std::mem::MaybeUninit::uninit(); count];
        let flags = libc::MSG_PEEK | libc::MSG_WAITALL;
        let peeked = SockRef::from(self.stream()).recv_with_flags(&mut bytes, flags).unwrap();
        assert_eq!(peeked, count);
    }

    /// Waits until the other end has reset the connection, without taking the error away.
    pub(crate) fn is_reset(&self) {
        wait_for_hang_up(self.stream());
    }

    /// Says nothing more (FIN), and goes on to listen.
    pub(crate) fn finish(&self) {
        // Where the other end has reset the connection there is nobody to be told.
        let _ = self.stream().shutdown(Shutdown::Write);
    }

    /// Closes: FIN, or RST where something was left unheard.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// Closes with RST.
    pub(crate) fn reset(&mut self) {
        reset(self.stream.take().unwrap());
    }

    /// What it saw.
    pub(crate) fn seen(self) -> Vec<Seen> {
        self.seen
    }
}

/// Waits for `POLLERR` or `POLLHUP`, which a FIN of the other end alone does not bring.
#[expect(unsafe_code, reason = "the standard library cannot wait for an error alone")]
pub(crate) fn wait_for_hang_up(stream: &TcpStream) {
    let mut polled = libc::pollfd { fd: stream.as_raw_fd(), events: 0, revents: 0 };
    let patience = PATIENCE.as_millis() as libc::c_int;
    // SAFETY: poll reads and writes one pollfd at the address given, which is that of one.
    let found = unsafe { libc::poll(&raw mut polled, 1, patience) };
    assert_eq!(found, 1, "no reset came");
}
