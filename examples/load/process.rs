//! What a process tree uses, as `/proc` tells it (proc(5)).

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result};

/// Clock ticks a second: fixed by the kernel's ABI, whatever the timer's frequency is.
const TICKS_PER_SECOND: f64 = 100.0;

/// A reading of a process and all its descendants.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time, with that of descendants that ended and were waited for.
    pub(crate) cpu_s: f64,
    /// Resident now.
    pub(crate) rss_kb: u64,
    /// Most that was ever resident, of each process by itself.
    pub(crate) peak_kb: u64,
    pub(crate) fds: usize,
    pub(crate) threads: u64,
    pub(crate) processes: usize,
}

/// Reads the tree whose root is `pid`. A member that ends meanwhile counts as far as it was read.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let stats = all_stats();
    anyhow::ensure!(stats.contains_key(&pid), "process {pid} is gone");
    let mut total = Usage::default();
    for (&member, stat) in stats.iter().filter(|&(&member, _)| descends(member, pid, &stats)) {
        total.cpu_s += stat.ticks as f64 / TICKS_PER_SECOND;
        total.threads += stat.threads;
        total.processes += 1;
        total.fds += fs::read_dir(format!("/proc/{member}/fd")).map_or(0, Iterator::count);
        let status = fs::read_to_string(format!("/proc/{member}/status")).unwrap_or_default();
        total.rss_kb += kilobytes(&status, "VmRSS:");
        total.peak_kb += kilobytes(&status, "VmHWM:");
    }
    Ok(total)
}

/// Whether `pid` has ended and only waits to be reaped: its times still stand.
pub(crate) fn is_zombie(pid: u32) -> Result<bool> {
    Ok(stat(pid).with_context(|| format!("process {pid} is gone"))?.state == 'Z')
}

/// Whether a socket listens on this port of 127.0.0.1 or of all addresses. Asking the kernel
/// spares the relay a probing connection, which it would count and capture.
pub(crate) fn listens(port: u16) -> Result<bool> {
    let sockets = fs::read_to_string("/proc/net/tcp").context("cannot read /proc/net/tcp")?;
    let local = |ip: &str| format!("{ip}:{port:04X}");
    let (loopback, any) = (local("0100007F"), local("00000000"));
    Ok(sockets.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let address = fields.next().unwrap_or_default();
        (address == loopback || address == any) && fields.nth(1) == Some("0A")
    }))
}

struct Stat {
    state: char,
    parent: u32,
    ticks: u64,
    threads: u64,
}

fn all_stats() -> HashMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: number(1)? as u32,
        ticks: (11..=14).map(number).sum::<Option<u64>>()?,
        threads: number(17)?,
    })
}

fn descends(pid: u32, root: u32, stats: &HashMap<u32, Stat>) -> bool {
    let mut ancestors = std::iter::successors(Some(pid), |pid| Some(stats.get(pid)?.parent));
    ancestors.any(|ancestor| ancestor == root)
}

fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
