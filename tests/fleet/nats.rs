//! A NATS server with JetStream, for one test alone.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tcp_tunn::fleet::{Credentials, Server};
use tempfile::{TempDir, tempdir};

use crate::support::events::PATIENCE;

/// A running server, killed when dropped. What it stores outlives it.
pub(super) struct Nats {
    folder: TempDir,
    child: Option<Child>,
    port: u16,
}

impl Nats {
    pub(super) fn start() -> Self {
        let mut nats = Self { folder: tempdir().unwrap(), child: None, port: 0 };
        nats.come_back();
        nats
    }

    /// One that is yet to come, at a port that is free now.
    pub(super) fn absent() -> Self {
        let mut nats = Self::start();
        nats.kill();
        nats
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it, on the port that it had, and waits until it answers.
    pub(super) fn come_back(&mut self) {
        let folder = self.folder.path();
        let port = if self.port == 0 { "-1".to_owned() } else { self.port.to_string() };
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut child = Command::new("nats-server")
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port])
            .arg("--store_dir")
            .arg(folder)
            .arg("--ports_file_dir")
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server cannot be started (is it installed?)");
        let ports = folder.join(format!("nats-server_{}.ports", child.id()));
        let end = Instant::now() + PATIENCE;
        let text = loop {
            let text = fs::read_to_string(&ports).unwrap_or_default();
            if text.trim_end().ends_with('}') {
                break text;
            }
            let ended = child.try_wait().unwrap();
            let log = || fs::read_to_string(folder.join("log"));
            assert!(ended.is_none() && Instant::now() < end, "{ended:?}: {:?}", log());
            std::thread::sleep(Duration::from_millis(5));
        };
        let port = text.split("nats://127.0.0.1:").nth(1).unwrap();
        self.port = port.split('"').next().unwrap().parse().unwrap();
        self.child = Some(child);
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(super) fn server(&self) -> Server {
        Server::new(self.url(), Credentials::None).unwrap()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}
