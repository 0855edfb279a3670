//! Finds the programs of clients on this machine, on a thread of its own.
//!
//! The kernel's socket diagnostics give the inode of a client's socket; /proc tells which process
//! has it. Without root only the user's own processes can be seen: of the others nothing is said.
//! One walk through /proc serves all who wait for it.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::event::Process;
use crate::net::Diagnostics;
use crate::os_error::Sentence;

/// The thread rests for this many times as long as it works, so that it takes no more than a
/// twentieth of a core.
const REST: u32 = 19;
/// As much rest may be put off, so that a few clients that come together are all found.
const CREDIT: Duration = Duration::from_secs(1);
/// So many of the processes that were found last are looked at first.
const RECENT_MAX: usize = 8;

/// What finds processes.
pub(super) struct Processes(Sender<Wanted>);

/// A client whose process is wanted.
struct Wanted {
    client: SocketAddr,
    /// Where it believes to be connected to.
    remote: SocketAddr,
    answer: oneshot::Sender<Process>,
}

impl Processes {
    /// Starts the thread, which ends with this.
    pub(super) fn start() -> io::Result<Self> {
        let (sender, wanted) = mpsc::channel();
        let find = move || {
            if let Err(error) = find(&wanted) {
                tracing::info!("clients' programs stay unknown: {}", Sentence(&error));
            }
        };
        thread::Builder::new().name("processes".to_owned()).spawn(find)?;
        Ok(Self(sender))
    }

    /// Looks for the process whose socket is bound to `client` and connected to `remote`. The
    /// answer comes when it is found; where it is not, the sender is dropped.
    pub(super) fn find(
        &self,
        client: SocketAddr,
        remote: SocketAddr,
    ) -> oneshot::Receiver<Process> {
        let (answer, found) = oneshot::channel();
        // The thread may have given up.
        let _ = self.0.send(Wanted { client, remote, answer });
        found
    }
}

/// Answers all that is wanted, as far as it is found at the first look: a client that is gone by
/// then is not found later.
fn find(wanted: &Receiver<Wanted>) -> io::Result<()> {
    let mut diagnostics = None;
    let mut recent = Vec::new();
    let mut rested_at = Instant::now();
    while let Ok(first) = wanted.recv() {
        let began = Instant::now();
        let diagnostics = match &diagnostics {
            Some(open) => open,
            None => diagnostics.insert(Diagnostics::open()?),
        };
        let mut by_inode = HashMap::new();
        for Wanted { client, remote, answer } in std::iter::once(first).chain(wanted.try_iter()) {
            if !answer.is_closed()
                && let Some(inode) = diagnostics.inode(client, remote)?
            {
                by_inode.insert(inode, answer);
            }
        }
        walk(&mut by_inode, &mut recent);
        drop(by_inode);
        let now = Instant::now();
        rested_at = rested_at.max(began) + (now - began) * (1 + REST);
        thread::sleep(rested_at.saturating_duration_since(now + CREDIT));
    }
    Ok(())
}

/// Walks through the processes until all sockets are found: first those in which some were of
/// late, then the youngest.
fn walk(by_inode: &mut HashMap<u64, oneshot::Sender<Process>>, recent: &mut Vec<u32>) {
    if by_inode.is_empty() {
        return;
    }
    let mut pids: Vec<u32> = numbers("/proc").collect();
    pids.sort_unstable_by(|a, b| b.cmp(a));
    for pid in recent.clone().into_iter().chain(pids) {
        if by_inode.is_empty() {
            return;
        }
        if look_into(pid, by_inode) {
            recent.retain(|other| *other != pid);
            recent.insert(0, pid);
            recent.truncate(RECENT_MAX);
        }
    }
}

/// Answers for the sockets that a process has; whether it has some.
fn look_into(pid: u32, by_inode: &mut HashMap<u64, oneshot::Sender<Process>>) -> bool {
    let folder = format!("/proc/{pid}/fd");
    let mut process = None;
    for fd in numbers(&folder) {
        let Some(answer) =
            socket_inode(&format!("{folder}/{fd}")).and_then(|inode| by_inode.remove(&inode))
        else {
            continue;
        };
        if process.is_none() {
            process = name(pid).map(|name| Process::new(pid, name));
        }
        if let Some(process) = &process {
            let _ = answer.send(process.clone());
        }
        if by_inode.is_empty() {
            break;
        }
    }
    process.is_some()
}

/// The entries of a folder that are numbers; none where it cannot be read.
fn numbers(folder: &str) -> impl Iterator<Item = u32> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The inode of the socket that a link of /proc stands for, if it is one.
fn socket_inode(link: &str) -> Option<u64> {
    let target = fs::read_link(link).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// A process's name, which may have bytes in it that are no text.
fn name(pid: u32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned())
}
