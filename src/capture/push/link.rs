//! The connection to a collector, which is made again whenever it has broken.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use socket2::{SockRef, TcpKeepalive};

use crate::net::unacknowledged;
use crate::os_error::Sentence;

/// Waits between attempts double from the first of these to the second.
const WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];
/// How long one address of the collector may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is silent before the kernel asks whether the collector is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// The way to a collector.
pub(super) struct Link {
    address: Arc<str>,
    /// Asks for a connection, after this wait.
    again: Sender<Duration>,
    reached: Receiver<Connection>,
    connection: Option<Connection>,
}

/// A connection to the collector.
struct Connection {
    stream: TcpStream,
    since: Instant,
    /// The wait before it was made.
    waited: Duration,
    written: u64,
}

/// What the collector has done with its end of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Open,
    /// It sends nothing more, and may still be reading.
    Closed,
}

impl Link {
    /// Begins to connect to `address`, on a thread of its own.
    pub(super) fn new(address: &str) -> io::Result<Self> {
        let address: Arc<str> = address.into();
        let (again, asked) = channel();
        let (found, reached) = channel();
        let goal = Arc::clone(&address);
        std::thread::Builder::new()
            .name("pcap-push".to_owned())
            .spawn(move || connect_whenever_asked(&goal, &asked, &found))?;
        let _ = again.send(Duration::ZERO);
        Ok(Self { address, again, reached, connection: None })
    }

    /// Whether there is a connection.
    pub(super) const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Waits for a connection for at most `limit`; whether there is a new one.
    pub(super) fn connect(&mut self, limit: Duration) -> bool {
        let Ok(connection) = self.reached.recv_timeout(limit) else { return false };
        tracing::info!("the collector at {} takes the capture", self.address);
        self.connection = Some(connection);
        true
    }

    /// Gives the connection up and begins to make another. How many bytes the collector's kernel
    /// has acknowledged of it; its program may have read less.
    pub(super) fn give_up(&mut self, why: &io::Error) -> u64 {
        let Some(connection) = self.connection.take() else { return 0 };
        let (address, why) = (&self.address, Sentence(why));
        tracing::warn!("the collector at {address} is gone: {why}; trying again");
        // One that takes connections and drops them is not asked without pause.
        let [first, longest] = WAITS;
        let has_lasted = connection.since.elapsed() >= longest;
        let wait = if has_lasted { Duration::ZERO } else { longer(connection.waited).max(first) };
        let _ = self.again.send(wait);
        connection.acknowledged()
    }

    /// Writes what the kernel takes of `bytes` within `limit`; how much that is.
    pub(super) fn write(&mut self, bytes: &[u8], limit: Duration) -> io::Result<usize> {
        let Some(connection) = &mut self.connection else { return Ok(0) };
        let begin = Instant::now();
        loop {
            match connection.stream.write(bytes) {
                Ok(len) => {
                    connection.written += len as u64;
                    return Ok(len);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let left = limit.saturating_sub(begin.elapsed());
                    if left.is_zero() {
                        return Ok(0);
                    }
                    connection.wait_writable(left)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How many bytes of the connection the collector's kernel has acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.connection.as_ref().map_or(0, Connection::acknowledged)
    }

    /// Looks at the collector's end, and discards what it says.
    pub(super) fn look(&mut self) -> io::Result<End> {
        let Some(connection) = &mut self.connection else { return Ok(End::Open) };
        loop {
            match connection.stream.read(&mut [0; 512]) {
                Ok(0) => return Ok(End::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(End::Open),
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells the collector that no more will come.
    pub(super) fn shut_down(&self) {
        if let Some(connection) = &self.connection {
            // Fails only where it is gone, with all that it was sent.
            let _ = connection.stream.shutdown(Shutdown::Write);
        }
    }
}

impl Connection {
    fn new(stream: TcpStream, waited: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
        Ok(Self { stream, since: Instant::now(), waited, written: 0 })
    }

    fn acknowledged(&self) -> u64 {
        self.written.saturating_sub(unacknowledged(&self.stream) as u64)
    }

    /// Waits until the kernel takes more, or the connection breaks, or `limit` is over.
    fn wait_writable(&self, limit: Duration) -> io::Result<()> {
        let limit = limit.try_into().map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.stream, PollFlags::OUT)], Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn longer(wait: Duration) -> Duration {
    let [first, longest] = WAITS;
    (wait * 2).clamp(first, longest)
}

/// Makes a connection each time that one is asked for, until nobody can ask any more.
fn connect_whenever_asked(address: &str, asked: &Receiver<Duration>, found: &Sender<Connection>) {
    while let Ok(mut wait) = asked.recv() {
        let mut is_first_failure = true;
        let connection = loop {
            if asked.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            match connect(address).and_then(|stream| Connection::new(stream, wait)) {
                Ok(connection) => break connection,
                Err(error) => {
                    if std::mem::take(&mut is_first_failure) {
                        let error = Sentence(&error);
                        tracing::warn!("no collector at {address}: {error}; trying again");
                    }
                }
            }
            wait = longer(wait);
        };
        if found.send(connection).is_err() {
            return;
        }
    }
}

/// Connects to the first of the collector's addresses that answers.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut error = io::Error::new(ErrorKind::NotFound, "its name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}
