//! One direction: from its sender's socket to its receiver's outlet.

use std::collections::VecDeque;
use std::time::Duration;

use super::Step;

/// What a direction is waiting for.
#[derive(Clone, Debug)]
pub(super) enum Stage<P> {
    /// The server.
    Connecting,
    /// The sender: a read is under way.
    Reading,
    /// The sinks, which are given what was received.
    Recording(P),
    /// The transform.
    Transforming,
    /// The other direction's transform.
    Holding,
    /// A delay that the transform asked for.
    Delaying { until: Duration },
    /// The receiver, who is sent something.
    Sending,
    /// Nothing: the direction is over.
    Over,
}

/// Whether the sender has more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Open,
    Ended,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Flow<P> {
    pub(super) stage: Stage<P>,
    pub(super) source: Source,
    /// What its transform still wants done.
    pub(super) steps: VecDeque<Step<P>>,
    pub(super) is_transformed: bool,
    /// What was queued for it at the outlets and is not done yet.
    pub(super) outputs: usize,
    /// Whether the other direction has released it since its transform was last given something.
    pub(super) is_released: bool,
    /// Whether its transform has ended the direction before its sender did.
    pub(super) is_cut: bool,
}

impl<P> Flow<P> {
    pub(super) fn new(is_transformed: bool) -> Self {
        Self {
            stage: Stage::Connecting,
            source: Source::Open,
            steps: VecDeque::new(),
            is_transformed,
            outputs: 0,
            is_released: false,
            is_cut: false,
        }
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    pub(super) const fn is_recording(&self) -> bool {
        matches!(self.stage, Stage::Recording(_))
    }

    pub(super) const fn is_reading(&self) -> bool {
        matches!(self.stage, Stage::Reading)
    }

    /// Ends the direction, whatever it was waiting for.
    pub(super) fn stop(&mut self) {
        self.stage = Stage::Over;
        self.outputs = 0;
        self.steps.clear();
    }
}
