//! What became known of a connection after its opening.

use std::sync::Arc;

use super::Interface;
use crate::event::{Info, Process, Side};

/// What few connections have.
#[derive(Clone, Default)]
pub(super) struct Learned {
    /// The client's program.
    pub(super) process: Option<Process>,
    /// What the next packet says, too.
    pub(super) note: Option<String>,
    /// The last state of each leg, by side.
    infos: [Option<Arc<Info>>; 2],
}

impl Learned {
    /// Takes down the state of a leg.
    pub(super) fn info(&mut self, info: &Arc<Info>) {
        self.infos[info.leg as usize] = Some(Arc::clone(info));
    }

    /// The state of the sockets whose bytes an interface shows.
    pub(super) fn of(&self, interface: Interface) -> Option<String> {
        let is_shown = |side| match interface {
            Interface::Direct => true,
            Interface::ClientLeg => side == Side::Client,
            Interface::ServerLeg => side == Side::Server,
        };
        let told = self.infos.iter().flatten().filter(|info| is_shown(info.leg));
        let told = told.map(|info| format!("TCP to the {}: {}", info.leg, info.tcp));
        let told: Vec<_> = told.collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}
