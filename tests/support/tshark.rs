//! tshark as people use it: reading while it happens.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::events::PATIENCE;

/// A running tshark, killed when dropped.
pub(crate) struct Tshark {
    child: Child,
    lines: Receiver<String>,
}

impl Tshark {
    /// Starts it with what it reads, such as `-i -`, and more.
    pub(crate) fn start(stdin: Stdio, args: &[&str]) -> Self {
        let mut command = Command::new("tshark");
        let mut child = command
            .args(["-n", "-l"])
            .args(args)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// Waits for a line with these words.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) -> String {
        let mut before = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no '{words}' in {before:?}"));
            if line.contains(words) {
                return line;
            }
            before.push(line);
        }
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn ended(mut self) -> ExitStatus {
        until("tshark does not end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Tshark {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `done` has something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(done) = done() {
            return done;
        }
        assert!(started.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
