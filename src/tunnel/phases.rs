//! How far a tunnel is from its end, shared by all who may move it forward.

use tokio::sync::watch;

/// How far a tunnel is from its end. Only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Clients are accepted.
    Running,
    /// No more clients; connections may finish.
    Draining,
    /// Connections are reset; sinks may finish.
    Ending,
    /// Nothing is waited for any longer than it must.
    Aborting,
}

/// The phase. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Phases(watch::Sender<Phase>);

impl Phases {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Phase::Running))
    }

    pub(super) fn get(&self) -> Phase {
        *self.0.borrow()
    }

    /// Moves forward to `phase`; never back.
    pub(super) fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let forward = *now < phase;
            *now = phase.max(*now);
            forward
        });
    }

    /// Waits until `phase` is reached.
    pub(super) async fn reached(&self, phase: Phase) {
        // Never an error: `self` is a sender.
        let _ = self.0.subscribe().wait_for(|now| *now >= phase).await;
    }
}
