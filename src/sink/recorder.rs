//! The recorder: brings the events of all workers to every sink.
//!
//! Each sink has a thread and a queue bounded in bytes. A worker that finds the queue full waits
//! ([`OnSlow::Block`]) or leaves the data out ([`OnSlow::Drop`]); events without data always
//! pass, there are only a few for each connection.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::options::{OnError, SinkOptions, SinkReport, SinkStats};
use super::queue::SinkQueue;
use super::thread::SinkThread;
use super::{Interest, Sink};
use crate::event::{Direction, Timestamp};
use crate::os_error::Sentence;

/// Room that events took of a queue is handed back in this many lots, and whenever the queue is
/// empty: each hand-over may wake a worker.
const RELEASES: usize = 16;
/// A bit of a word stands for each sink.
pub(crate) const SINKS_MAX: usize = 64;

/// Feeds all sinks of a tunnel. Clones feed the same sinks.
#[derive(Clone)]
pub(crate) struct Recorder {
    queues: Arc<[SinkQueue]>,
    /// What any of them wants.
    pub(super) interest: Interest,
}

impl Recorder {
    /// Starts a thread for each of at most [`SINKS_MAX`] sinks. `on_failure` is called, from a
    /// sink's thread, when a sink fails that the tunnel shall not outlive. `clock` tells ticking
    /// sinks the time.
    pub(crate) fn start(
        sinks: Vec<(SinkOptions, Box<dyn Sink>)>,
        clock: impl Fn() -> Timestamp + Clone + Send + 'static,
        on_failure: impl Fn() + Clone + Send + 'static,
    ) -> io::Result<(Self, StartedSinks)> {
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for (options, sink) in sinks {
            let (queue, incoming) = SinkQueue::new(options, &*sink);
            let thread = SinkThread::new(sink, incoming, &queue, queue.capacity / RELEASES);
            let stop = queue.options.on_error == OnError::Stop;
            let on_failure = on_failure.clone();
            let sink_name = queue.options.name.clone();
            let on_failure = move |error: &io::Error| {
                if stop {
                    on_failure();
                } else {
                    let error = Sentence(error);
                    tracing::warn!("{sink_name} has failed and gets nothing more: {error}");
                }
            };
            let has_ended = Arc::clone(&queue.has_ended);
            let on_end = move || has_ended.store(true, Relaxed);
            let (name, clock) = (&queue.options.name, clock.clone());
            threads.push(StartedSink::start(name, thread, clock, on_failure, on_end)?);
            queues.push(queue);
        }
        let of_all = |all: Interest, queue: &SinkQueue| all.or(queue.interest);
        let interest = queues.iter().fold(Interest::LIFECYCLE, of_all);
        Ok((Self { queues: queues.into(), interest }, StartedSinks(threads)))
    }

    /// The same with no sinks, for what is not to be recorded.
    pub(crate) fn without_sinks(&self) -> Self {
        Self { queues: Arc::new([]), interest: Interest::LIFECYCLE }
    }

    /// Whether some sink asks for what the kernel knows of sockets.
    pub(crate) const fn wants_info(&self) -> bool {
        self.interest.info
    }

    /// Whether some sink asks for the programs of clients.
    pub(crate) const fn wants_processes(&self) -> bool {
        self.interest.process
    }

    /// From now on nobody waits for a slow sink; it misses what finds no room.
    pub(crate) fn stop_waiting(&self) {
        self.queues.iter().for_each(SinkQueue::stop_waiting);
    }

    /// How the queues are filled now.
    pub(crate) fn stats(&self) -> Vec<SinkStats> {
        self.queues.iter().map(SinkQueue::stats).collect()
    }

    /// The ways to all sinks, each with its bit.
    pub(super) fn queues(&self) -> impl Iterator<Item = (u64, &SinkQueue)> {
        self.queues.iter().enumerate().map(|(index, queue)| (1 << index, queue))
    }

    /// Tells every sink that there are no more events, waits until it has finished, and tells
    /// what became of it. A sink that is still at work when `patience` has come to nothing is
    /// left behind, as failed.
    pub(crate) fn finish(
        &self,
        threads: StartedSinks,
        mut patience: impl FnMut() -> Option<Duration>,
    ) -> Vec<SinkReport> {
        self.queues.iter().for_each(SinkQueue::finish);
        let report = |(queue, thread): (&SinkQueue, StartedSink)| SinkReport {
            name: queue.options.name.clone(),
            error: thread.join(&mut patience),
            dropped_events: queue.dropped.events(),
            dropped_bytes: queue.dropped.bytes(),
            dropped_to_server: queue.dropped.bytes_of(Direction::ClientToServer),
            dropped_to_client: queue.dropped.bytes_of(Direction::ServerToClient),
        };
        self.queues.iter().zip(threads.0).map(report).collect()
    }
}

/// The sinks' threads, to be handed to [`Recorder::finish`].
pub(crate) struct StartedSinks(Vec<StartedSink>);

struct StartedSink {
    thread: JoinHandle<Option<io::Error>>,
    /// Disconnected when the thread has ended.
    ended: mpsc::Receiver<()>,
}

impl StartedSink {
    /// Starts to feed a sink; `on_failure` is called on its thread when it fails, `on_end` at its
    /// end.
    fn start(
        name: &str,
        thread: SinkThread,
        clock: impl Fn() -> Timestamp + Send + 'static,
        on_failure: impl FnOnce(&io::Error) + Send + 'static,
        on_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (ending, ended) = mpsc::channel();
        // A thread's name ends at a null byte, and std does not take one for a name.
        let name = format!("sink-{}", name.replace('\0', "?"));
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let _ending = ending;
            let error = thread.run(&clock, on_failure);
            on_end();
            error
        })?;
        Ok(Self { thread, ended })
    }

    /// Why the sink failed, if it did.
    fn join(self, patience: &mut impl FnMut() -> Option<Duration>) -> Option<io::Error> {
        const LOOK_UP: Duration = Duration::from_millis(100);
        while self.ended.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
            let left = patience();
            if left.is_some_and(|left| left.is_zero()) {
                let message = "it did not finish in time; its output may be incomplete";
                return Some(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            let _ = self.ended.recv_timeout(left.unwrap_or(LOOK_UP).min(LOOK_UP));
        }
        self.thread.join().unwrap_or_else(|_| Some(io::Error::other("its thread panicked")))
    }
}
