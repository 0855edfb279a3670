//! A program of somebody else: its own sink, its own framer, its own codec, and the public API.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use tcp_tunn::event::{ConnectionId, Event, EventKind, Leg, Open};
use tcp_tunn::sink::{Interest, OnError, OnSlow, Sink, SinkOptions};
use tcp_tunn::transform::{Codec, Found, Framer, Messages, Pair, TransformError, from_fn};
use tcp_tunn::tunnel::{Limits, Tunnel};

/// Writes a transcript, a line an event.
struct Transcript<W>(W);

impl<W: Write + Send> Sink for Transcript<W> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let id = event.connection;
        match &event.kind {
            EventKind::Open(open) => writeln!(self.0, "{id} open {}", open.target),
            EventKind::Data { direction, leg, bytes, .. } => {
                let verb = if *leg == Leg::Received { "said" } else { "was told" };
                let who =
                    if *leg == Leg::Received { direction.sender() } else { direction.receiver() };
                writeln!(self.0, "{id} {who} {verb} {}", bytes.escape_ascii())
            }
            EventKind::Close { reason, .. } => writeln!(self.0, "{id} {}", reason.name()),
            _ => Ok(()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn interest(&self) -> Interest {
        Interest::ALL
    }
}

/// What a sink wrote, sent away when it is complete.
struct Sent(Vec<u8>, mpsc::Sender<Vec<u8>>);

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.send(std::mem::take(&mut self.0)).map_err(io::Error::other)
    }
}

/// Sentences end with a full stop.
struct Sentences;

impl Framer for Sentences {
    fn find(&mut self, bytes: &[u8]) -> Result<Found, TransformError> {
        let end = bytes.iter().position(|&byte| byte == b'.');
        Ok(end.map_or(Found::Need(bytes.len() + 1), |end| Found::Message(end + 1)))
    }
}

/// Answers to questions itself, and shouts the rest.
struct Butler;

impl Codec for Butler {
    fn pair(&self, _: ConnectionId, _: &Open) -> Pair {
        let encoder = from_fn(|sentence, output| {
            if sentence.contains(&b'?') {
                output.reply("No.");
            } else {
                output.forward(sentence.to_ascii_uppercase());
            }
            Ok(())
        });
        Pair::default().encoder(Messages::new(Sentences, encoder))
    }
}

fn echo_once() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        let stream = listener.accept()?.0;
        io::copy(&mut &stream, &mut &stream)
    });
    Ok(address)
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (sender, transcript) = mpsc::channel();
    let options = SinkOptions::named("transcript").on_slow(OnSlow::Block).on_error(OnError::Stop);
    let target = echo_once()?;
    let tunnel = Tunnel::builder("127.0.0.1:0", target)
        .limits(Limits::default().max_connections(10))
        .workers(1)
        .codec(Butler)
        .sink_with(options, Transcript(Sent(Vec::new(), sender)))
        .bind()?;
    let address = tunnel.listening()[0].address().to_string();
    let handle = tunnel.handle();
    let running = thread::spawn(|| tunnel.run());

    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"Is it late?.")?;
    let mut answer = [0; 3];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"No.");
    stream.write_all(b"Good night.")?;
    stream.shutdown(Shutdown::Write)?;
    let mut rest = String::new();
    stream.read_to_string(&mut rest)?;
    assert_eq!(rest, "GOOD NIGHT.");

    handle.stop();
    let summary = running.join().map_err(|_| "the tunnel panicked")??;
    assert_eq!(summary.counts.connections, 1);
    let transcript = transcript.recv()?;
    io::stdout().write_all(&transcript)?;
    Ok(())
}
