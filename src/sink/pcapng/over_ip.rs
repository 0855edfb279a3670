//! Captures over TCP: whoever connects is sent one, from then on.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::SockRef;

use super::options::{CaptureStats, PcapngOptions};
use super::output::Stream;
use super::secrets::Secrets;
use super::section::{Preamble, Section};
use super::{BATCH, conversations};
use crate::event::{Event, Timestamp};
use crate::packet::{ConversationConfig, Conversations};
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
    conversations: Conversations,
    section: Section,
    secrets: Option<Secrets>,
    stats: CaptureStats,
    last: Timestamp,
}

impl PcapOverIpSink {
    /// Listens on `address`. For each reader up to `buffer_bytes` may wait; when they do, the
    /// capture waits or the reader is disconnected, as `on_slow` says.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub fn bind(
        address: SocketAddr,
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
        let PcapngOptions { view, segment_size, snaplen, comment, tls_keylog, isn_seed } = options;
        let mut section = Section::begin(Preamble { view, snaplen, comment })?;
        // Every reader gets a header of its own.
        section.pending().clear();
        Ok(Self {
            listener,
            address,
            arriving,
            readers: Vec::new(),
            on_slow,
            buffer_bytes,
            conversations: conversations(ConversationConfig { view, segment_size }, isn_seed),
            section,
            secrets: tls_keylog.map(Secrets::new),
            stats: CaptureStats::default(),
            last: Timestamp(0),
        })
    }

    /// The address that is listened on, with the real port where port 0 was asked for.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was captured, whoever read it.
    pub fn stats(&self) -> CaptureStats {
        self.stats.clone()
    }

    /// Sends what is pending to every reader.
    fn write_out(&mut self) {
        let (packets, dropped_bytes) = self.section.take_counts();
        let pending = self.section.pending();
        self.stats.add(packets, pending.len() as u64, dropped_bytes);
        if pending.is_empty() {
            return;
        }
        let blocks = Bytes::copy_from_slice(pending);
        pending.clear();
        let (limit, on_slow) = (self.buffer_bytes, self.on_slow);
        self.readers.retain(|reader| reader.send(&blocks, limit, on_slow));
    }

    /// Takes in the readers that have come.
    fn welcome(&mut self) -> io::Result<()> {
        while let Ok(stream) = self.arriving.try_recv() {
            // What the others are owed has to come first: the newcomer begins after it.
            self.conversations.settle(&mut self.section)?;
            self.write_out();
            let mut own = self.section.begin_alike()?;
            if let Some(secrets) = &self.secrets {
                let at = own.header_len();
                secrets.known(own.pending(), at);
            }
            self.conversations.resume(&mut own)?;
            let beginning = Bytes::copy_from_slice(own.pending());
            let reader = Reader::start(stream)?;
            reader.send(&beginning, usize::MAX, OnSlow::Block);
            self.readers.push(reader);
        }
        Ok(())
    }
}

impl Sink for PcapOverIpSink {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        self.last = event.time;
        self.welcome()?;
        if let Some(secrets) = &mut self.secrets {
            secrets.watch(event);
        }
        self.conversations.event(event, &mut self.section)?;
        if self.section.pending().len() >= BATCH {
            self.write_out();
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(secrets) = &mut self.secrets {
            let nowhere = &mut Stream(io::sink());
            if secrets.update(self.last, self.section.pending(), 0, nowhere)? {
                return Ok(());
            }
        }
        self.write_out();
        Ok(())
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.last = now;
        self.welcome()?;
        self.flush()
    }

    fn finish(&mut self) -> io::Result<()> {
        self.welcome()?;
        self.section.end()?;
        self.last = Timestamp(u64::MAX);
        self.flush()?;
        let end = Instant::now() + LINGER;
        self.readers.drain(..).for_each(|reader| reader.finish(end));
        Ok(())
    }

    fn interest(&self) -> Interest {
        Interest::ALL
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

/// What waits for a reader.
#[derive(Default)]
struct Queue {
    /// Bytes that are queued or being sent.
    waiting: Mutex<usize>,
    less: Condvar,
}

/// A reader, with a thread that sends to it.
struct Reader {
    blocks: Sender<Bytes>,
    queue: Arc<Queue>,
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(stream: TcpStream) -> io::Result<Self> {
        let (blocks, incoming) = channel::<Bytes>();
        let queue = Arc::new(Queue::default());
        let (mut writer, shared) = (stream.try_clone()?, Arc::clone(&queue));
        let thread =
            std::thread::Builder::new().name("pcap-reader".to_owned()).spawn(move || {
                for blocks in incoming {
                    let written = writer.write_all(&blocks);
                    shared.release(blocks.len());
                    if written.is_err() {
                        break;
                    }
                }
                // Nobody shall wait for a reader that is gone.
                let _ = writer.shutdown(Shutdown::Write);
                shared.release(usize::MAX);
            })?;
        Ok(Self { blocks, queue, stream, thread })
    }

    /// Queues blocks; false when the reader is gone, or was too slow.
    fn send(&self, blocks: &Bytes, limit: usize, on_slow: OnSlow) -> bool {
        if !self.queue.take(blocks.len(), limit, on_slow) {
            let _ = self.stream.shutdown(Shutdown::Both);
            return false;
        }
        self.blocks.send(blocks.clone()).is_ok()
    }

    /// Lets the reader fetch the rest until `end`.
    fn finish(self, end: Instant) {
        drop(self.blocks);
        while !self.thread.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
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
