//! The recorder under slow and failing sinks, without a tunnel.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::*;
use crate::event::{
    BothTotals, CloseReason, ConnectionId, Direction, Endpoint, EventKind, Open, Side,
};

const NOW: Timestamp = Timestamp(0);

/// What a [`Gated`] sink has taken: the lengths of data, by leg.
type Taken = Arc<Mutex<Vec<(Leg, usize)>>>;

/// A sink that takes an event when the test says so, all of them when it has hung up.
struct Gated {
    gate: Receiver<()>,
    taken: Taken,
    interest: Interest,
}

impl Sink for Gated {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        let _ = self.gate.recv();
        if let EventKind::Data { leg, ref bytes, .. } = event.kind {
            self.taken.lock().unwrap().push((leg, bytes.len()));
        }
        Ok(())
    }

    fn interest(&self) -> Interest {
        self.interest
    }
}

fn gated(interest: Interest) -> (Gated, Sender<()>, Taken) {
    let (open, gate) = mpsc::channel();
    let taken = Taken::default();
    (Gated { gate, taken: Arc::clone(&taken), interest }, open, taken)
}

/// A sink that does in `record` what it was made of.
struct Does<F>(F);

impl<F: FnMut(&Event) -> io::Result<()> + Send> Sink for Does<F> {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        (self.0)(event)
    }
}

struct Recording {
    recorder: Recorder,
    threads: StartedSinks,
    /// Whether the tunnel was told to stop.
    failures: Receiver<()>,
}

impl Recording {
    fn start(on_slow: OnSlow, buffer_bytes: usize, sink: impl Sink + 'static) -> Self {
        let options = SinkOptions { on_slow, buffer_bytes, ..SinkOptions::default() };
        let (failed, failures) = mpsc::channel();
        let on_failure = move || {
            let _ = failed.send(());
        };
        let sinks: Vec<(_, Box<dyn Sink>)> = vec![(options, Box::new(sink))];
        let (recorder, threads) = Recorder::start(sinks, || NOW, on_failure).unwrap();
        Self { recorder, threads, failures }
    }

    async fn tap(&self) -> ConnectionRecorder {
        let nobody = Endpoint::Unix(None);
        let open = Open::new(nobody.clone(), nobody, "unix:/x");
        ConnectionRecorder::open(self.recorder.clone(), ConnectionId(1), NOW, Arc::new(open)).await
    }

    fn finish(self) -> SinkReport {
        self.recorder.finish(self.threads, || None).remove(0)
    }
}

fn chunk(len: usize) -> Chunk {
    let bytes = Bytes::from(vec![0; len]);
    Chunk { direction: Direction::ClientToServer, offset: 0, bytes }
}

fn close(tap: &ConnectionRecorder) {
    let reason = CloseReason::Finished { first: Side::Client };
    tap.lifecycle(NOW, EventKind::Close { reason, totals: BothTotals::default() });
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
}

/// Records `times` chunks of `len` at both legs of a sink that stands still, drops, and has room
/// for one of them; what it took in the end.
fn take_while_standing_still(interest: Interest) -> (Vec<(Leg, usize)>, SinkReport) {
    let (sink, open, taken) = gated(interest);
    let recording = Recording::start(OnSlow::Drop, 6000, sink);
    run(async {
        let tap = recording.tap().await;
        for _ in 0..10 {
            let missing = tap.data(NOW, Leg::Received, chunk(4000), None).await;
            tap.data(NOW, Leg::Sent, chunk(4000), Some(missing)).await;
        }
        close(&tap);
    });
    drop(open);
    let report = recording.finish();
    let taken = taken.lock().unwrap().clone();
    (taken, report)
}

#[test]
fn chunk_dropped_as_received_is_not_queued_as_sent() {
    let (taken, report) = take_while_standing_still(Interest::ALL);
    assert_eq!(taken, [(Leg::Received, 4000), (Leg::Sent, 4000)]);
    assert_eq!((report.dropped_bytes, report.dropped_events), (9 * 4000, 9 * 2));
}

#[test]
fn chunk_wanted_as_sent_takes_room() {
    let interest = Interest::SENT;
    let (taken, report) = take_while_standing_still(interest);
    assert_eq!(taken, [(Leg::Sent, 4000)]);
    assert_eq!((report.dropped_bytes, report.dropped_events), (9 * 4000, 9));
}

#[test]
fn unwanted_chunk_is_not_counted_as_dropped() {
    let (sink, open, _) = gated(Interest::LIFECYCLE);
    let recording = Recording::start(OnSlow::Drop, 700, sink);
    run(async {
        let taken = recording.tap().await;
        let skipped = recording.tap().await;
        for tap in [taken, skipped] {
            tap.data(NOW, Leg::Received, chunk(100), None).await;
        }
    });
    drop(open);
    let report = recording.finish();
    assert_eq!((report.dropped_bytes, report.dropped_events), (0, 0));
}

#[test]
fn canceled_wait_still_uses_free_room() {
    let (sink, open, taken) = gated(Interest::RECEIVED);
    let recording = Recording::start(OnSlow::Block, 6000, sink);
    run(async {
        let tap = recording.tap().await;
        let waiting = async {
            tap.data(NOW, Leg::Received, chunk(5000), None).await;
            // This one finds no room.
            tap.data(NOW, Leg::Received, chunk(4000), None).await;
        };
        let hurrying = async {
            tokio::task::yield_now().await;
            recording.recorder.stop_waiting();
        };
        tokio::join!(waiting, hurrying);
        tap.data(NOW, Leg::Received, chunk(100), None).await;
    });
    drop(open);
    let report = recording.finish();
    assert_eq!(*taken.lock().unwrap(), [(Leg::Received, 5000), (Leg::Received, 100)]);
    assert_eq!(report.dropped_bytes, 4000);
}

#[test]
fn blocking_queue_waits_and_loses_nothing() {
    let (sink, open, taken) = gated(Interest::RECEIVED);
    let recording = Recording::start(OnSlow::Block, 1, sink);
    run(async {
        let tap = recording.tap().await;
        let waiting = tap.data(NOW, Leg::Received, chunk(100_000), None);
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        drop(open);
        waiting.await;
        tap.data(NOW, Leg::Received, chunk(7), None).await;
    });
    let report = recording.finish();
    assert_eq!(*taken.lock().unwrap(), [(Leg::Received, 100_000), (Leg::Received, 7)]);
    assert_eq!((report.dropped_bytes, report.error.is_none()), (0, true));
}

/// A sink that is not ready until nobody holds the other end any more.
struct Unready(Receiver<()>, Taken);

impl Sink for Unready {
    fn record(&mut self, event: &Event) -> io::Result<()> {
        if let EventKind::Data { leg, bytes, .. } = &event.kind {
            self.1.lock().unwrap().push((*leg, bytes.len()));
        }
        Ok(())
    }

    fn ready(&mut self, limit: Duration) -> io::Result<bool> {
        Ok(self.0.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Disconnected))
    }
}

#[test]
fn events_wait_until_sink_is_ready() {
    let (hold, held) = mpsc::channel();
    let taken = Taken::default();
    let recording = Recording::start(OnSlow::Block, 1, Unready(held, Arc::clone(&taken)));
    run(async {
        let tap = recording.tap().await;
        let waiting = tap.data(NOW, Leg::Received, chunk(100_000), None);
        tokio::pin!(waiting);
        assert!(timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        drop(hold);
        waiting.await;
    });
    let report = recording.finish();
    assert_eq!(*taken.lock().unwrap(), [(Leg::Received, 100_000)]);
    assert_eq!((report.dropped_bytes, report.error.is_none()), (0, true));
}

#[test]
fn sink_that_is_never_ready_misses_everything() {
    let (_hold, held) = mpsc::channel();
    let recording = Recording::start(OnSlow::Drop, 6000, Unready(held, Taken::default()));
    run(async {
        let tap = recording.tap().await;
        for _ in 0..3 {
            tap.data(NOW, Leg::Received, chunk(4000), None).await;
        }
    });
    let report = recording.finish();
    assert_eq!(report.error.unwrap().kind(), io::ErrorKind::TimedOut);
    assert_eq!((report.dropped_bytes, report.dropped_events), (3 * 4000, 3));
}

/// A sink that fails in its second chunk: all but the first are counted, however far they got.
fn fail_at_the_second(fail: impl Fn() -> io::Result<()> + Send + 'static, words: &str) {
    let (open, gate) = mpsc::channel::<()>();
    let mut chunks = 0;
    let sink = Does(move |event: &Event| {
        if matches!(event.kind, EventKind::Data { .. }) {
            chunks += 1;
            let _ = gate.recv();
            if chunks == 2 {
                return fail();
            }
        }
        Ok(())
    });
    let recording = Recording::start(OnSlow::Block, 10_000, sink);
    run(async {
        let tap = recording.tap().await;
        for _ in 0..5 {
            tap.data(NOW, Leg::Received, chunk(100), None).await;
        }
        drop(open);
        recording.failures.recv_timeout(Duration::from_secs(10)).unwrap();
        tap.data(NOW, Leg::Received, chunk(100), None).await;
    });
    let report = recording.finish();
    assert!(report.error.unwrap().to_string().contains(words));
    assert_eq!((report.dropped_bytes, report.dropped_events), (500, 5));
}

#[test]
fn chunks_after_sink_failure_are_counted() {
    fail_at_the_second(|| Err(io::Error::other("disk full")), "disk full");
    fail_at_the_second(|| panic!("at the disk"), "it panicked: at the disk");
}

#[test]
fn sink_panic_in_drop_is_an_error() {
    struct Vase;
    impl Sink for Vase {
        fn record(&mut self, _: &Event) -> io::Result<()> {
            Ok(())
        }
    }
    impl Drop for Vase {
        fn drop(&mut self) {
            panic!("broken");
        }
    }
    let recording = Recording::start(OnSlow::Block, 1000, Vase);
    run(async { close(&recording.tap().await) });
    let report = recording.finish();
    assert!(report.error.unwrap().to_string().contains("broken"));
}
