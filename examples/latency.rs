//! How long it takes from a chunk on a connection to its packet in a capture that is read live.
//!
//! ```text
//! latency TUNNEL [CHUNKS]
//! ```
//!
//! TUNNEL is the command `tcp_tunn`, CHUNKS how many chunks (100) are said one after the other,
//! each when the one before was seen and after a pause of another length, since packets wait for
//! a clock. Read in these ways: the bytes on the pipe of `--pcap -`, what `tshark -l -r -` prints
//! of them, and what `tshark -l -i -` does, which has them from dumpcap, whose own clock comes on
//! top; the bytes on a connection to `--pcap-over-ip`, and what `tshark -l -i TCP@` prints. Prints
//! a line of JSON for each way, in milliseconds; the exit code is 1 when a chunk was not seen.

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a reader that takes its time to start is said something.
const AGAIN: Duration = Duration::from_millis(50);

/// Each chunk is this, and its number.
const MARK: &[u8; 8] = b"latency:";

/// The number of a chunk, and when it was seen.
type Seen = (u64, Instant);

fn main() -> Outcome {
    let mut args = env::args().skip(1);
    let tunnel =
        args.next().ok_or("give the command of the tunnel (try target/release/tcp_tunn)")?;
    let chunks = args.next().map_or(Ok(100), |count| count.parse())?;
    for (way, capture, tshark) in [
        ("pipe", "--pcap=-", None),
        ("pipe-tshark", "--pcap=-", Some("-r")),
        ("pipe-dumpcap", "--pcap=-", Some("-i")),
        ("tcp", "--pcap-over-ip=127.0.0.1:0", None),
        ("tcp-dumpcap", "--pcap-over-ip=127.0.0.1:0", Some("-i")),
    ] {
        let mut scene = Scene::start(&tunnel, capture)?;
        let seen = match tshark {
            None => scene.read()?,
            Some(how) => scene.read_by_tshark(how)?,
        };
        let mut times = scene.measure(&seen, chunks)?;
        times.sort_unstable();
        report(way, &times);
    }
    Ok(())
}

fn report(way: &str, sorted: &[Duration]) {
    let at = |part: usize| sorted[(sorted.len() - 1) * part / 100].as_secs_f64() * 1e3;
    let [p50, p99, max] = [50, 99, 100].map(at);
    print!(r#"{{"row":"latency","relay":"{way}","chunks":{},"#, sorted.len());
    println!(r#""p50_ms":{p50:.3},"p99_ms":{p99:.3},"max_ms":{max:.3}}}"#);
}

/// A process that ends with this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client, a server and the tunnel between them.
struct Scene {
    tunnel: Process,
    /// Where the capture is served, if it is.
    served: Option<SocketAddr>,
    client: TcpStream,
    server: TcpStream,
    tshark: Option<Process>,
    said: u64,
}

impl Scene {
    fn start(tunnel: &str, capture: &str) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let to = listener.local_addr()?.to_string();
        let mut command = Command::new(tunnel);
        command.args(["--from", "127.0.0.1:0", "--to", &to, "--quiet", capture]);
        let mut tunnel = Process(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
        let mut lines = BufReader::new(tunnel.0.stderr.take().ok_or("no stderr")?).lines();
        let mut told = |before: &str| -> Outcome<SocketAddr> {
            let line = lines.next().ok_or("the tunnel has ended")??;
            let rest = line.strip_prefix(before).ok_or_else(|| line.clone())?;
            Ok(rest.split(' ').next().unwrap_or_default().parse()?)
        };
        let from = told("listening on ")?;
        let is_served = capture.starts_with("--pcap-over-ip");
        let served = is_served.then(|| told("capture on ")).transpose()?;
        let client = TcpStream::connect(from)?;
        client.set_nodelay(true)?;
        let (server, _) = listener.accept()?;
        server.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { tunnel, served, client, server, tshark: None, said: 0 })
    }

    /// Reads the capture's bytes as they come.
    fn read(&mut self) -> Outcome<Receiver<Seen>> {
        let (sender, seen) = channel();
        if let Some(address) = self.served {
            let capture = TcpStream::connect(address)?;
            std::thread::spawn(move || watch_bytes(capture, &sender));
        } else {
            let capture = self.tunnel.0.stdout.take().ok_or("no stdout")?;
            std::thread::spawn(move || watch_bytes(capture, &sender));
        }
        Ok(seen)
    }

    /// Has tshark read the capture, and reads what it prints.
    fn read_by_tshark(&mut self, how: &str) -> Outcome<Receiver<Seen>> {
        let (source, stdin) = match self.served {
            Some(address) => (format!("TCP@{address}"), Stdio::null()),
            None => ("-".to_owned(), self.tunnel.0.stdout.take().ok_or("no stdout")?.into()),
        };
        let mut command = Command::new("tshark");
        command.args(["-n", "-l", how, &source, "-Y", "tcp.len > 0"]);
        command.args(["-T", "fields", "-e", "tcp.payload"]);
        let spawned = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let tshark = self.tshark.insert(Process(spawned?));
        let printed = tshark.0.stdout.take().ok_or("no stdout")?;
        let (sender, seen) = channel();
        std::thread::spawn(move || watch_lines(BufReader::new(printed), &sender));
        Ok(seen)
    }

    /// Says the next chunk, which the server hears; when it was said.
    fn say(&mut self) -> Outcome<Instant> {
        self.said += 1;
        let chunk = [*MARK, self.said.to_be_bytes()].concat();
        let at = Instant::now();
        self.client.write_all(&chunk)?;
        self.server.read_exact(&mut vec![0; chunk.len()])?;
        Ok(at)
    }

    fn measure(&mut self, seen: &Receiver<Seen>, chunks: usize) -> Outcome<Vec<Duration>> {
        let started = Instant::now();
        loop {
            self.say()?;
            if seen.recv_timeout(AGAIN).is_ok() {
                break;
            }
            if started.elapsed() > PATIENCE {
                return Err("the reader sees nothing".into());
            }
        }
        let mut times = Vec::new();
        for count in 0..chunks {
            // Prime to one another, so that every phase of the clock has its turn.
            std::thread::sleep(Duration::from_millis(3 + 37 * count as u64 % 101));
            let said = self.say()?;
            let at = loop {
                let (number, at) = seen.recv_timeout(PATIENCE)?;
                if number == self.said {
                    break at;
                }
            };
            times.push(at.duration_since(said));
        }
        Ok(times)
    }
}

/// Looks for chunks in what comes, which may have parts of them.
fn watch_bytes(mut capture: impl Read, sender: &Sender<Seen>) {
    let (mut kept, mut some) = (Vec::new(), [0; 65536]);
    while let Ok(count @ 1..) = capture.read(&mut some) {
        let now = Instant::now();
        kept.extend_from_slice(&some[..count]);
        let mut rest = &kept[..];
        while let Some(at) = rest.windows(16).position(|part| part.starts_with(MARK)) {
            if let Ok(number) = rest[at + 8..at + 16].try_into() {
                let _ = sender.send((u64::from_be_bytes(number), now));
            }
            rest = &rest[at + 16..];
        }
        kept = rest[rest.len().saturating_sub(15)..].to_vec();
    }
}

/// Looks for chunks in lines of hexadecimal digits.
fn watch_lines(lines: impl BufRead, sender: &Sender<Seen>) {
    for line in lines.lines().map_while(Result::ok) {
        let now = Instant::now();
        if let Some(Ok(number)) = line.get(16..32).map(|digits| u64::from_str_radix(digits, 16)) {
            let _ = sender.send((number, now));
        }
    }
}
