//! Letting a thread's ring have its turn.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::task::yield_now;

/// How long what others ask of the ring may wait for one that never waits.
const TURN: Duration = Duration::from_millis(1);

thread_local! {
    /// When this thread's ring last had a turn because somebody let it.
    static LAST_TURN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Whether tokio-uring's ring has had no turn for a while.
pub(super) fn is_turn_due() -> bool {
    LAST_TURN.get().is_none_or(|last| last.elapsed() >= TURN)
}

/// Lets the other tasks of this thread go on, and tokio-uring's ring. Only where there is one.
///
/// Whoever goes on without ever waiting must call this: what others have asked of the ring goes
/// to the kernel only when none of this thread's tasks can go on, and one that merely yields can.
pub(super) async fn yield_to_ring() {
    if !is_turn_due() {
        return yield_now().await;
    }
    LAST_TURN.set(Some(Instant::now()));
    // Whether it failed or not, the ring had its turn.
    let _ = tokio_uring::no_op().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net;

    #[test]
    fn what_others_ask_of_the_ring_is_done_beside_one_that_never_waits() {
        let turns = net::block_on(net::Backend::Uring, |_| async {
            let others = net::spawn(async {
                for _ in 0..10 {
                    tokio_uring::no_op().await.expect("the ring does nothing");
                }
            });
            let mut turns = 0;
            while !others.is_finished() {
                assert!(turns < 10_000_000, "the others had no turn");
                turns += 1;
                yield_to_ring().await;
            }
            turns
        });
        assert!(turns.expect("there is a ring") > 0);
    }
}
