//! The processes under load: the relay, started from a command template, and its upstream.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::process::{self, Usage};

/// Most that a relay may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a foreign process is looked at; there is no event to wait for.
const GLANCE: Duration = Duration::from_millis(1);

/// A relay in a process group of its own, which ends with this value.
pub(crate) struct Relay {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// How a relay ended.
pub(crate) struct Ended {
    /// All the time that it ever used.
    pub(crate) cpu_s: f64,
    /// From SIGTERM to its end: what it still had to write out.
    pub(crate) stop_s: f64,
}

impl Relay {
    /// Starts the relay and waits until it listens.
    pub(crate) fn start(template: &str, upstream: SocketAddr, log: Option<&Path>) -> Result<Self> {
        let address = free_address()?;
        let stderr = log.map_or_else(|| Ok(Stdio::null()), append_to)?;
        let child = command(template, address, upstream)?
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("cannot run `{template}`"))?;
        let mut relay = Self { child, address };
        let deadline = Instant::now() + PATIENCE;
        while !process::listens(address.port())? {
            if let Some(status) = relay.child.try_wait()? {
                bail!("the relay ended before it listened, {status}; see --log: `{template}`");
            }
            ensure!(Instant::now() < deadline, "the relay does not listen: `{template}`");
            thread::sleep(GLANCE);
        }
        Ok(relay)
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        process::usage(self.child.id())
    }

    /// Waits until the relay has all that it needs: it may say that it listens a moment before.
    pub(crate) fn rest(&self) -> Result<Usage> {
        const REST: Duration = Duration::from_millis(100);
        let mut usage = self.usage()?;
        let mut changed = Instant::now();
        while changed.elapsed() < REST {
            thread::sleep(GLANCE);
            let now = self.usage()?;
            if (now.fds, now.threads) != (usage.fds, usage.threads) {
                changed = Instant::now();
            }
            usage = now;
        }
        Ok(usage)
    }

    /// Waits until the relay holds no more descriptors than `fds`, which is when it has closed
    /// what its clients closed. What it keeps for a second without a change, it means to keep.
    pub(crate) fn settle(&self, fds: usize) -> Result<Usage> {
        let mut usage = self.usage()?;
        let mut changed = Instant::now();
        while usage.fds > fds && changed.elapsed() < Duration::from_secs(1) {
            thread::sleep(GLANCE * 20);
            let now = self.usage()?;
            if now.fds != usage.fds {
                changed = Instant::now();
            }
            usage = now;
        }
        Ok(usage)
    }

    /// Asks the relay to end and waits for it, so that all it buffered is written and accounted.
    pub(crate) fn stop(mut self) -> Result<Ended> {
        let asked = Instant::now();
        signal(&self.child, Signal::TERM);
        while !process::is_zombie(self.child.id())? {
            ensure!(asked.elapsed() < PATIENCE, "the relay does not end on SIGTERM");
            thread::sleep(GLANCE);
        }
        let stop_s = asked.elapsed().as_secs_f64();
        let cpu_s = self.usage()?.cpu_s;
        self.child.wait()?;
        Ok(Ended { cpu_s, stop_s })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // While it has not been waited for, its number cannot belong to another process.
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(&self.child, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// The upstream: this program again, so that it has its own descriptors and its own CPU time.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("server")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("cannot run the server")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the server has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().context("the server does not listen")?;
        Ok(Self { child, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input is its signal to end.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Starts a relay that says `listening` on standard error, as this project's does; returns the
/// seconds until it said so, and what it uses then.
pub(crate) fn time_to_listen(template: &str) -> Result<(f64, Usage)> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let asked = Instant::now();
    let child = command(template, any, free_address()?)?
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut relay =
        Relay { child: child.with_context(|| format!("cannot run `{template}`"))?, address: any };
    let stderr = relay.child.stderr.take().context("the relay has no standard error")?;
    let mut lines = BufReader::new(stderr).lines();
    let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("listening")));
    let seconds = asked.elapsed().as_secs_f64();
    ensure!(line.is_some(), "the relay never said that it listens: `{template}`");
    // What it sets up behind its first words belongs to what it uses at rest.
    thread::sleep(GLANCE * 200);
    let usage = relay.usage()?;
    relay.stop()?;
    Ok((seconds, usage))
}

/// Fills in the template: `{from}`, `{to}` are IP:PORT, `{from_port}`, `{to_port}` the port alone.
/// Words are split at white space; the addresses are in the environment, too, as FROM and TO.
fn command(template: &str, from: SocketAddr, to: SocketAddr) -> Result<Command> {
    let filled = template
        .replace("{from}", &from.to_string())
        .replace("{to}", &to.to_string())
        .replace("{from_port}", &from.port().to_string())
        .replace("{to_port}", &to.port().to_string());
    let mut words = filled.split_whitespace();
    let mut command = Command::new(words.next().context("the relay's command is empty")?);
    command.args(words).env("FROM", from.to_string()).env("TO", to.to_string());
    command.stdin(Stdio::null()).process_group(0);
    Ok(command)
}

/// A port that nobody used a moment ago: most peers cannot be asked for port 0.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn append_to(log: &Path) -> Result<Stdio> {
    let file = File::options().append(true).create(true).open(log);
    Ok(file.with_context(|| format!("cannot open {}", log.display()))?.into())
}

fn signal(child: &Child, signal: Signal) {
    // It may have ended meanwhile, which is what the signal is for.
    let _ = kill_process_group(Pid::from_child(child), signal);
}
