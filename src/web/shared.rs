//! What the sink and the answers to requests share.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, watch};

use super::store::Store;
use crate::capture::PcapngOptions;

/// So many downloads and searches go on at a time: each holds on to what it began with.
const HEAVY_MAX: usize = 4;

/// Everything that requests need. Clones are the same.
#[derive(Clone)]
pub(super) struct App(Arc<Shared>);

pub(super) struct Shared {
    pub(super) token: String,
    /// Names of this machine that may stand in a `Host` header.
    pub(super) host_names: Vec<String>,
    /// How a download is made.
    pub(super) capture: PcapngOptions,
    /// Tells one run of the tunnel from the next.
    pub(super) run: String,
    /// The version that was published last.
    pub(super) published: watch::Sender<u64>,
    pub(super) heavy: Arc<Semaphore>,
    store: Mutex<Store>,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    pub(super) fn new(
        token: String,
        run: String,
        host_names: Vec<String>,
        capture: PcapngOptions,
        store: Store,
    ) -> Self {
        Self(Arc::new(Shared {
            token,
            host_names,
            capture,
            run,
            published: watch::Sender::new(0),
            heavy: Arc::new(Semaphore::new(HEAVY_MAX)),
            store: Mutex::new(store),
        }))
    }
}

impl Shared {
    /// What is held. Whoever has this makes the sink's thread wait.
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        // Counts may be off where somebody panicked, but nothing is out of bounds.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets pages know of what has changed.
    pub(super) fn publish(&self) {
        let version = self.store().publish();
        self.published.send_if_modified(|known| std::mem::replace(known, version) != version);
    }
}
