//! TLS in a capture, with its keys: Wireshark reads it with nothing configured.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tcp_tunn::capture::{PcapOverIpSink, PcapPushSink, PcapngOptions, PcapngSink, Rotation};
use tcp_tunn::packet::Legs;
use tcp_tunn::sink::{OnSlow, Sink};
use tcp_tunn::tunnel::Tunnel;
use tempfile::{TempDir, tempdir};

use super::options;
use crate::support::end::{patient, reset};
use crate::support::server::Server;
use crate::support::tunnel::Running;
use crate::support::verdict::tshark;

const VERSIONS: [&str; 2] = ["1.2", "1.3"];

/// A web server that speaks TLS, and the key log of those who talk to it.
struct Scene {
    folder: TempDir,
    server: Server,
}

impl Scene {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let server = Server::https(folder.path());
        Self { folder, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self) -> PcapngOptions {
        let mut options = options(Legs::Direct);
        options.tls_keylog = Some(self.path("keys.log"));
        options
    }

    fn tunnel(&self, sink: impl Sink + 'static) -> Running {
        Running::start(Tunnel::builder("127.0.0.1:0", &self.server.address).sink(sink))
    }

    /// Gets a page that is not there, so that it has its name in the answer's request only.
    fn get(&self, tunnel: &Running, version: &str, page: &str) {
        self.get_with(tunnel, version, page, "keys.log");
    }

    fn get_with(&self, tunnel: &Running, version: &str, page: &str, keylog: &str) {
        let url = format!("https://{}/{page}", tunnel.address);
        let said = Command::new("curl")
            .args(["--silent", "--show-error", "--insecure", "--noproxy", "*", "--max-time", "60"])
            .args(["--header", "Connection: close", "--tlsv1.2", "--tls-max", version, &url])
            .env("SSLKEYLOGFILE", self.path(keylog))
            .output()
            .unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }
}

/// The pages that tshark sees asked for and answered, by the capture alone.
#[track_caller]
fn pages(path: &Path) -> Vec<String> {
    let args = ["-n", "-o", "tls.keylog_file:", "-Y", "http.response and tls", "-T", "fields"];
    let mut pages = tshark(path, &[&args[..], &["-e", "http.response_for.uri"]].concat());
    for page in &mut pages {
        *page = page.rsplit('/').next().unwrap().to_owned();
    }
    pages.sort();
    pages
}

#[test]
fn file_holds_its_own_keys_only() {
    let scene = Scene::new();
    let foreign = format!("CLIENT_RANDOM {} {}\n", "ab".repeat(32), "cd".repeat(48));
    std::fs::write(scene.path("keys.log"), &foreign).unwrap();
    let path = scene.path("out.pcapng");
    let tunnel = scene.tunnel(PcapngSink::create(&path, scene.options()).unwrap());
    for version in VERSIONS {
        scene.get(&tunnel, version, version);
    }
    scene.get_with(&tunnel, "1.3", "dark", "other.log");
    assert_eq!(tunnel.stop().counts.connections, 3);
    assert_eq!(pages(&path), VERSIONS);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(64).any(|part| part == &foreign.as_bytes()[14..78]));
}

#[test]
fn keys_beyond_reserved_space_are_kept() {
    let scene = Scene::new();
    let path = scene.path("out.pcapng");
    let tunnel = scene.tunnel(PcapngSink::create(&path, scene.options()).unwrap());
    scene.get(&tunnel, "1.3", "[100-399]");
    tunnel.stop();
    let expected: Vec<_> = (100..400).map(|page| page.to_string()).collect();
    assert_eq!(pages(&path), expected);
    assert!(std::fs::metadata(scene.path("keys.log")).unwrap().len() > 2 * 65536);
}

#[test]
fn pipe_holds_keys() {
    let scene = Scene::new();
    let path = scene.path("out.pcapng");
    // What cannot be patched is a pipe, whatever it is.
    let pipe = File::create(&path).unwrap();
    let tunnel = scene.tunnel(PcapngSink::new(pipe, scene.options()).unwrap());
    for version in VERSIONS {
        scene.get(&tunnel, version, &format!("{version}-[0-9]"));
    }
    tunnel.stop();
    let expected = VERSIONS.map(|version| (0..10).map(move |page| format!("{version}-{page}")));
    assert_eq!(pages(&path), expected.into_iter().flatten().collect::<Vec<_>>());
}

#[cfg(feature = "compress")]
#[test]
fn compressed_file_holds_keys() {
    let scene = Scene::new();
    for name in ["out.pcapng.gz", "out.pcapng.zst"] {
        let path = scene.path(name);
        let tunnel = scene.tunnel(PcapngSink::create(&path, scene.options()).unwrap());
        for version in VERSIONS {
            scene.get(&tunnel, version, version);
        }
        tunnel.stop();
        assert_eq!(pages(&path), VERSIONS);
    }
}

#[test]
fn each_file_of_series_holds_keys() {
    let scene = Scene::new();
    let sink =
        PcapngSink::create_series(scene.path("out.pcapng"), scene.options(), Rotation::default())
            .unwrap();
    let (rotate, stats) = (sink.rotate_handle(), sink.stats());
    let tunnel = scene.tunnel(sink);
    scene.get(&tunnel, "1.3", "first");
    // All of it is in the file, or will be at the next turn, which begins the next one.
    let connection_is_in_the_file = || stats.packets() >= 10;
    while !connection_is_in_the_file() {
        std::thread::sleep(Duration::from_millis(5));
    }
    rotate.expect("it writes a file").rotate();
    let is_next = |name: &str| name.starts_with("out_00002_");
    let next = loop {
        let names = std::fs::read_dir(scene.folder.path()).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        match names.find(|name| is_next(name)) {
            Some(name) => break scene.path(&name),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    scene.get(&tunnel, "1.3", "second");
    tunnel.stop();
    assert_eq!(pages(&scene.path("out.pcapng")), ["first"]);
    assert_eq!(pages(&next), ["second"]);
}

/// Hands on what comes in to `upstream`, and what comes back after a while, at first.
fn slow(upstream: &str, at: &Path, delay: Duration) -> String {
    let listener = UnixListener::bind(at).unwrap();
    let upstream = upstream.strip_prefix("unix:").unwrap().to_owned();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = UnixStream::connect(upstream).unwrap();
        let (mut to, mut from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
        let mut first = [0; 1];
        let _ = server.read_exact(&mut first);
        std::thread::sleep(delay);
        let _ = client.write_all(&first);
        let _ = io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    format!("unix:{}", at.display())
}

#[test]
fn late_server_hello_still_gets_keys() {
    let mut scene = Scene::new();
    // Longer than packets wait for keys.
    let delay = Duration::from_millis(600);
    scene.server.address = slow(&scene.server.address, &scene.path("slow.443"), delay);
    let path = scene.path("out.pcapng");
    let pipe = File::create(&path).unwrap();
    let tunnel = scene.tunnel(PcapngSink::new(pipe, scene.options()).unwrap());
    scene.get(&tunnel, "1.3", "late");
    tunnel.stop();
    assert_eq!(pages(&path), ["late"]);
}

#[test]
fn served_reader_gets_keys() {
    let scene = Scene::new();
    let sink =
        PcapOverIpSink::bind("127.0.0.1:0", scene.options(), OnSlow::Block, 1 << 20).unwrap();
    let address = sink.address();
    let tunnel = scene.tunnel(sink);
    let mut readers: Vec<TcpStream> = Vec::new();
    for version in VERSIONS {
        let mut reader = TcpStream::connect(address).unwrap();
        // It is served from its header on.
        reader.read_exact(&mut [0; 4]).unwrap();
        readers.push(reader);
        scene.get(&tunnel, version, version);
    }
    let reading: Vec<_> = (readers.into_iter().enumerate())
        .map(|(index, mut reader)| {
            let path = scene.path(&format!("{index}.pcapng"));
            std::thread::spawn(move || {
                let mut all = vec![0x0a, 0x0d, 0x0d, 0x0a];
                reader.read_to_end(&mut all).unwrap();
                std::fs::write(&path, all).unwrap();
                path
            })
        })
        .collect();
    tunnel.stop();
    let read: Vec<_> = reading.into_iter().map(|thread| pages(&thread.join().unwrap())).collect();
    assert_eq!(read, [VERSIONS.to_vec(), vec!["1.3"]]);
}

#[test]
fn each_section_for_a_collector_has_keys() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let sink = PcapPushSink::new(&address, scene.options()).unwrap();
    let stats = sink.stats();
    let tunnel = scene.tunnel(sink);
    scene.get(&tunnel, "1.3", "first");
    let mut first = patient(listener.accept().unwrap().0);
    let mut received = 0;
    // All of it has come: a reset takes nothing with it.
    while stats.packets() < 10 || received < stats.bytes() {
        received += first.read(&mut [0; 4096]).unwrap() as u64;
    }
    reset(first);
    let reading = std::thread::spawn(move || {
        let mut second = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut second).unwrap();
        second
    });
    scene.get(&tunnel, "1.3", "second");
    scene.get(&tunnel, "1.2", "third");
    tunnel.stop();
    let second = reading.join().unwrap();
    let path = scene.path("second.pcapng");
    std::fs::write(&path, second).unwrap();
    assert_eq!(pages(&path), ["second", "third"]);
}
