//! Captures over TCP: whoever connects is sent one, from then on.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::SockRef;

use super::encoder::Encoder;
use super::options::{CaptureStats, PcapngOptions};
use super::reader::Reader;
use super::secrets::{Keys, Wait};
use super::{BATCH, HELD_MAX};
use crate::event::{Event, Timestamp};
use crate::os_error::Sentence;
use crate::sink::{Interest, OnSlow, Sink};

/// How long readers may take to fetch the rest at the end.
const LINGER: Duration = Duration::from_secs(2);

/// A sink that serves pcapng over TCP, as `wireshark -k -i TCP@127.0.0.1:19000` reads it.
///
/// Any number of readers may come and go at any time. A late one gets a complete capture from
/// then on: headers, names, keys, and the handshakes of the open connections with their current
/// sequence numbers.
pub struct PcapOverIpSink {
    listener: TcpListener,
    address: SocketAddr,
    arriving: Receiver<TcpStream>,
    readers: Vec<Reader>,
    on_slow: OnSlow,
    buffer_bytes: usize,
    encoder: Encoder,
    /// Blocks that no reader has yet. Each reader gets a header of its own.
    pending: Vec<u8>,
    /// Whether what is pending waits for keys.
    keys: Keys,
    last: Timestamp,
}

impl PcapOverIpSink {
    /// Listens on `address`, of several on the first that can be. For each reader up to
    /// `buffer_bytes` may wait; when they do, the capture waits or the reader is disconnected, as
    /// `on_slow` says.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub fn bind(
        address: impl ToSocketAddrs,
        options: PcapngOptions,
        on_slow: OnSlow,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (arrived, arriving) = channel();
        let accepting = listener.try_clone()?;
        std::thread::Builder::new()
            .name("pcap-over-ip".to_owned())
            .spawn(move || accept(&accepting, &arrived))?;
        Ok(Self {
            listener,
            address,
            arriving,
            readers: Vec::new(),
            on_slow,
            buffer_bytes,
            encoder: Encoder::new(options)?,
            pending: Vec::new(),
            keys: Keys::NotAwaited,
            last: Timestamp(0),
        })
    }

    /// The address that is listened on, with the real port where port 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was captured, whoever read it.
    pub fn stats(&self) -> CaptureStats {
        self.encoder.stats()
    }

    /// Sends what is pending to every reader.
    fn write_out(&mut self) {
        self.encoder.count(self.pending.len());
        if !self.pending.is_empty() && !self.readers.is_empty() {
            let blocks = Bytes::copy_from_slice(&self.pending);
            let (limit, on_slow) = (self.buffer_bytes, self.on_slow);
            self.readers.retain(|reader| reader.send(&blocks, limit, on_slow));
        }
        self.pending.clear();
    }

    /// Takes in the readers that have come, unless the others still wait for what comes first.
    fn welcome(&mut self) -> io::Result<()> {
        while self.keys == Keys::NotAwaited
            && let Ok(stream) = self.arriving.try_recv()
        {
            // What the others are owed has to come first: the newcomer begins after it.
            self.encoder.flush_acks(&mut self.pending)?;
            self.write_out();
            let beginning = Bytes::from(self.encoder.late_subscriber()?);
            match Reader::start(stream, beginning) {
                Ok(reader) => self.readers.push(reader),
                // Out of descriptors or threads: that one is sent away, and the others go on.
                Err(error) => {
                    let error = Sentence(&error);
                    tracing::warn!("cannot serve a reader of the capture: {error}");
                }
            }
        }
        Ok(())
    }

    /// Brings new keys into the capture; returns whether packets should wait for more.
    fn update_secrets(&mut self, wait: Wait) -> io::Result<Keys> {
        self.keys = self.encoder.update_secrets(wait, &mut self.pending, None)?;
        Ok(self.keys)
    }
}

impl Sink for PcapOverIpSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.last = event.time;
        self.welcome()?;
        self.encoder.observe(event);
        self.encoder.record(event, &mut self.pending)?;
        let pending = self.pending.len();
        if pending >= HELD_MAX
            || pending >= BATCH
                && self.update_secrets(Wait::UntilDue(event.time))? == Keys::NotAwaited
        {
            self.write_out();
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.update_secrets(Wait::UntilDue(self.last))? == Keys::NotAwaited {
            self.write_out();
        }
        Ok(())
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.last = now;
        self.flush()?;
        self.readers.retain(Reader::is_there);
        self.welcome()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.update_secrets(Wait::NoLonger)?;
        self.welcome()?;
        self.encoder.end(&mut self.pending)?;
        self.write_out();
        let end = Instant::now() + LINGER;
        self.readers.drain(..).for_each(|reader| reader.finish(end));
        Ok(())
    }

    fn interest(&self) -> Interest {
        self.encoder.interest()
    }

    fn wants_ticks(&self) -> bool {
        true
    }
}

impl Drop for PcapOverIpSink {
    fn drop(&mut self) {
        // Ends the accepting thread. Fails only where nobody listens any more.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

/// Hands on whoever connects, until nobody takes them any more.
fn accept(listener: &TcpListener, arrived: &Sender<TcpStream>) {
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                if arrived.send(stream).is_err() {
                    return;
                }
            }
            // The sink is gone, and has shut the listener down.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
            // Too many open files, as a rule: they become fewer again.
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
