//! Notifies systemd when the tunnel is ready, while it is alive, and when it ends.
//!
//! The protocol is that of sd_notify(3): words in datagrams to a socket that the environment names.

use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use tcp_tunn::os_error::Sentence;
use tcp_tunn::tunnel::{Handle, inherited_sockets};

/// A worker that has not looked around for this long hangs: it does so every second.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// The listening sockets that it passed.
pub(super) fn passed_sockets() -> anyhow::Result<Vec<OwnedFd>> {
    inherited_sockets().map_err(|error| {
        let error = Sentence(&error);
        anyhow!("cannot use the sockets that systemd passed: {error} (check LISTEN_FDS)")
    })
}

/// The service manager that waits for this process. Clones tell the same one.
#[derive(Clone)]
pub(super) struct Manager(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Manager {
    /// The one that the environment names, if it names one.
    fn from_environment() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Self(None)) };
        let bytes = name.as_encoded_bytes();
        let address = match bytes.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(&name),
        };
        Ok(Self(Some(Arc::new((UnixDatagram::unbound()?, address?)))))
    }

    /// Clients may connect now.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The tunnel ends, which may take a while.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The one that the environment names. If it has a watchdog, it is notified again and again, as
    /// long as all workers are alive.
    pub(super) fn keep_informed(tunnel: &Handle) -> anyhow::Result<Self> {
        let manager = Self::from_environment().map_err(|error| {
            let hint = "unset it to start without systemd";
            anyhow!("cannot use NOTIFY_SOCKET: {} ({hint})", Sentence(&error))
        })?;
        manager.watch(tunnel.clone()).context("cannot start the watchdog's thread")?;
        Ok(manager)
    }

    fn watch(&self, tunnel: Handle) -> io::Result<()> {
        let Some(timeout) = watchdog().filter(|_| self.0.is_some()) else { return Ok(()) };
        let manager = self.clone();
        let tell = move || {
            let mut workers = Workers::new(&tunnel);
            loop {
                std::thread::sleep(timeout / 3);
                if workers.are_alive(&tunnel, Instant::now()) {
                    manager.tell("WATCHDOG=1");
                }
            }
        };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(tell).map(drop)
    }

    fn tell(&self, words: &str) {
        if let Some(manager) = &self.0 {
            let (socket, address) = &**manager;
            if let Err(error) = socket.send_to_addr(words.as_bytes(), address) {
                tracing::warn!("cannot tell systemd {words}: {error}");
            }
        }
    }
}

/// How long it waits before it takes this process for dead, if it does so at all.
fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|micros| is_for_us && *micros > 0).map(Duration::from_micros)
}

/// How far the workers have come, and when that was first seen.
struct Workers(Vec<(u64, Instant)>);

impl Workers {
    fn new(tunnel: &Handle) -> Self {
        Self(tunnel.beats().into_iter().map(|beats| (beats, Instant::now())).collect())
    }

    /// Whether each of them has looked around not long ago.
    fn are_alive(&mut self, tunnel: &Handle, now: Instant) -> bool {
        for ((known, seen), beats) in self.0.iter_mut().zip(tunnel.beats()) {
            if beats != std::mem::replace(known, beats) {
                *seen = now;
            }
        }
        self.0.iter().all(|(_, seen)| now.duration_since(*seen) < HANGS_AFTER)
    }
}
