//! The kinds of work. Each opens its connections, begins the measurement, and moves bytes that the
//! end which receives them verifies; each is bounded in count or time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::client::{Client, open_all};
use crate::measure::{Bench, Outcome};
use crate::pattern::{MAX_CHUNK, Random};
use crate::wire::{self, Header, Task};

/// What one task of a workload did.
#[derive(Default)]
struct Done {
    connections: u64,
    verified_bytes: u64,
    resets: u64,
    latencies: Vec<u32>,
    /// Kept open until every task is done.
    open: Option<Client>,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.connections += other.connections;
        self.verified_bytes += other.verified_bytes;
        self.resets += other.resets;
        self.latencies.extend(other.latencies);
    }
}

/// Sums up the tasks. A task that fails is counted and, the first one, told.
async fn gather(mut tasks: JoinSet<Result<Done>>) -> Result<Outcome> {
    let mut sum = Done::default();
    let mut open = Vec::new();
    let mut errors = 0;
    while let Some(done) = tasks.join_next().await {
        match done? {
            Ok(mut done) => {
                open.extend(done.open.take());
                sum.add(done);
            }
            Err(error) => {
                if errors == 0 {
                    eprintln!("load: {error:#}");
                }
                errors += 1;
            }
        }
    }
    let Done { connections, verified_bytes, resets, latencies, .. } = sum;
    Ok(Outcome { connections, verified_bytes, resets, latencies, errors })
}

/// Opened connections stay quiet for this long before their memory is read: long enough for a
/// relay to give back the buffers of the first exchange.
const REST: Duration = Duration::from_secs(2);

/// One way, as fast as it goes: `bytes` in all, spread over the connections.
pub(crate) async fn bulk(bench: &mut Bench, connections: usize, bytes: u64) -> Result<Outcome> {
    let length = (bytes / connections as u64).max(1);
    let chunk = length.clamp(4096, MAX_CHUNK as u64) as u32;
    let header = Header { task: Task::Sink, seed: 0, length, chunk };
    let clients = open_all(bench.address, connections, header, false).await?;
    bench.begin(false)?;
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            client.send(length).await?;
            let verified_bytes = client.verdict().await?;
            Ok(Done { connections: 1, verified_bytes, ..Done::default() })
        });
    }
    gather(tasks).await
}

/// Ping-pong of `size` bytes on every connection.
pub(crate) async fn ping_pong(
    bench: &mut Bench,
    connections: usize,
    size: usize,
    time: Duration,
) -> Result<Outcome> {
    // A buffer larger than a message: see `wire::receive`.
    let header = Header { task: Task::Echo, seed: 0, length: 0, chunk: 2 * size as u32 };
    let clients = open_all(bench.address, connections, header, true).await?;
    bench.begin(false)?;
    let deadline = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            let mut asked = Instant::now();
            while asked < deadline {
                client.exchange(size as u64).await?;
                let answered = Instant::now();
                latencies.push((answered - asked).as_nanos().min(u128::from(u32::MAX)) as u32);
                asked = answered;
            }
            let verified_bytes = client.request.offset() + client.reply.offset();
            Ok(Done { connections: 1, verified_bytes, latencies, ..Done::default() })
        });
    }
    gather(tasks).await
}

/// When a workload of short connections ends, and how many are open at once.
#[derive(Clone, Copy)]
pub(crate) struct Storm {
    pub(crate) at_once: usize,
    pub(crate) count: u64,
    pub(crate) time: Duration,
    pub(crate) warm_up: u64,
}

/// Connect, one exchange of `size` bytes, close; again and again.
pub(crate) async fn short_connections(
    bench: &mut Bench,
    storm: Storm,
    size: usize,
) -> Result<Outcome> {
    let address = bench.address;
    let one = move |seed| async move {
        let header = Header { task: Task::Echo, seed, length: 0, chunk: 2 * size as u32 };
        let asked = Instant::now();
        let mut client = Client::connect(address, header).await?;
        client.begin(size).await?;
        client.receive(size as u64).await?;
        let latencies = vec![asked.elapsed().as_nanos() as u32];
        Ok(Done { connections: 1, verified_bytes: 2 * size as u64, latencies, ..Done::default() })
    };
    run_storm(bench, storm, one).await
}

/// Connections that end in a reset: at once, with bytes on their way in both directions, or by
/// the server in the middle.
pub(crate) async fn resets(bench: &mut Bench, storm: Storm) -> Result<Outcome> {
    let address = bench.address;
    let one = move |seed| async move {
        let mut random = Random::new(seed);
        let length = random.up_to(MAX_CHUNK) as u64;
        let by_server = seed % 3 == 2;
        let task = if by_server { Task::Reset } else { Task::Echo };
        let header = Header { task, seed, length, chunk: 16 * 1024 };
        let mut client = Client::connect(address, header).await?;
        let mut done = Done { connections: 1, ..Done::default() };
        if seed % 3 > 0 {
            client.begin(1).await?;
        }
        if seed % 3 == 1 {
            // What the server answers stays unread. It fits into the sockets' buffers.
            client.send(random.up_to(64 * 1024) as u64).await?;
        }
        if by_server {
            client.send(length - 1).await?;
            let end = client.socket.read(&mut [0]).await;
            done.resets = u64::from(end.is_err());
        } else {
            wire::reset(client.socket);
        }
        Ok(done)
    };
    run_storm(bench, storm, one).await
}

/// Runs `one` for every seed, `at_once` of them at a time, first to warm up, then to measure.
async fn run_storm<F, W>(bench: &mut Bench, storm: Storm, one: F) -> Result<Outcome>
where
    F: Fn(u64) -> W + Copy + Send + 'static,
    W: Future<Output = Result<Done>> + Send,
{
    let warm_up = Storm { count: storm.warm_up, ..storm };
    gather(spawn_storm(warm_up, one)).await?;
    bench.begin(storm.warm_up > 0)?;
    gather(spawn_storm(storm, one)).await
}

fn spawn_storm<F, W>(storm: Storm, one: F) -> JoinSet<Result<Done>>
where
    F: Fn(u64) -> W + Copy + Send + 'static,
    W: Future<Output = Result<Done>> + Send,
{
    let seeds = Arc::new(AtomicU64::new(0));
    let deadline = Instant::now() + storm.time;
    let mut tasks = JoinSet::new();
    for _ in 0..storm.at_once {
        let seeds = seeds.clone();
        tasks.spawn(async move {
            let mut sum = Done::default();
            while Instant::now() < deadline {
                let seed = seeds.fetch_add(1, Ordering::Relaxed);
                if seed >= storm.count {
                    break;
                }
                sum.add(one(seed).await?);
            }
            Ok(sum)
        });
    }
    tasks
}

/// All connections open at once: idle first, then each exchanges `rounds` messages of random
/// sizes, all at the same time.
pub(crate) async fn hold(
    bench: &mut Bench,
    connections: usize,
    rounds: u32,
    idle: Duration,
) -> Result<Outcome> {
    const LARGEST: usize = 4096;
    let header = Header { task: Task::Echo, seed: 0, length: 0, chunk: 2 * LARGEST as u32 };
    bench.begin(false)?;
    let clients = open_all(bench.address, connections, header, true).await?;
    tokio::time::sleep(REST).await;
    bench.note_idle()?;
    if !idle.is_zero() {
        tokio::time::sleep(idle).await;
        bench.note_idle_cpu(idle)?;
    }
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            let mut random = Random::new(client.header.seed);
            for _ in 0..rounds {
                client.exchange(random.up_to(LARGEST) as u64).await?;
            }
            let verified_bytes = client.request.offset() + client.reply.offset();
            // Kept until all are done, so that all are open at once to the end.
            Ok(Done { connections: 1, verified_bytes, open: Some(client), ..Done::default() })
        });
    }
    gather(tasks).await
}

/// Both directions at once in chunks of random sizes, `bytes` each way a connection, paced so that
/// it takes `time`; ends with a half-close.
pub(crate) async fn streams(
    bench: &mut Bench,
    connections: usize,
    bytes: u64,
    time: Duration,
) -> Result<Outcome> {
    let header = Header { task: Task::Echo, seed: 0, length: bytes, chunk: MAX_CHUNK as u32 };
    let clients = open_all(bench.address, connections, header, false).await?;
    bench.begin(false)?;
    let mut tasks = JoinSet::new();
    for client in clients {
        tasks.spawn(stream(client, time));
    }
    gather(tasks).await
}

async fn stream(client: Client, time: Duration) -> Result<Done> {
    let Client { mut socket, header, mut request, mut reply, .. } = client;
    let (mut reader, mut writer) = socket.split();
    let started = tokio::time::Instant::now();
    let write = async {
        let mut random = Random::new(header.seed);
        while request.offset() < header.length {
            let left = header.length - request.offset();
            let chunk = (random.up_to(64 * 1024) as u64).min(left);
            wire::send(&mut writer, &mut request, chunk, MAX_CHUNK).await?;
            let done = request.offset() as f64 / header.length as f64;
            sleep_until(started + time.mul_f64(done)).await;
        }
        tokio::io::AsyncWriteExt::shutdown(&mut writer).await
    };
    let read = async {
        let mut buffer = vec![0; MAX_CHUNK];
        wire::receive(&mut reader, &mut reply, header.length, &mut buffer).await?;
        reader.read(&mut buffer).await
    };
    let ((), after_end) = tokio::try_join!(write, read).context("a stream broke")?;
    ensure!(after_end == 0, "{after_end} bytes more than were sent");
    Ok(Done { connections: 1, verified_bytes: 2 * header.length, ..Done::default() })
}
