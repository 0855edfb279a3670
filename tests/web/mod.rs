//! The live page and its API, asked by curl and shown by Chromium.

mod access;
mod data;
mod events;
mod metrics;
mod page;
mod tls;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use tempfile::{TempDir, tempdir};

use crate::support::end::patient;
use crate::support::process::{Ended, Process};

/// A tunnel with a page, and the server that it leads to.
struct Scene {
    folder: TempDir,
    tunnel: Process,
    server: TcpListener,
    site: Site,
}

/// Where a page is.
#[derive(Clone)]
struct Site {
    /// As in `http://127.0.0.1:8080`.
    origin: String,
    token: String,
}

/// What curl got.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Names in lower case.
    headers: String,
    body: Vec<u8>,
}

impl Site {
    /// The site of a process's page, which it names on stderr.
    fn of(process: &mut Process) -> Self {
        let line = process.wait_for_line("web on ");
        let url = line.strip_prefix("web on ").expect("it begins with that");
        let (origin, token) = url.split_once("/?token=").expect("it has a token");
        Self { origin: origin.to_owned(), token: token.to_owned() }
    }

    /// The URL of a path, with the token.
    fn url(&self, path: &str) -> String {
        let mark = if path.contains('?') { '&' } else { '?' };
        format!("{}{path}{mark}token={}", self.origin, self.token)
    }

    /// Asks for a path, with the token.
    fn get(&self, path: &str) -> Answer {
        curl(&self.url(path), &[])
    }

    /// The body of a path that has to be there.
    #[track_caller]
    fn body(&self, path: &str) -> Vec<u8> {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// What `jq` makes of a path's JSON, as raw lines.
    #[track_caller]
    fn jq(&self, path: &str, program: &str) -> String {
        jq(&self.body(path), program)
    }

    /// Asks until what `jq` makes of a path's JSON is `wanted`.
    #[track_caller]
    fn wait_for(&self, path: &str, program: &str, wanted: &str) {
        // Each pass starts two programs, which is pause enough.
        for _ in 0..500 {
            let answer = self.get(path);
            if answer.status == 200 && jq(&answer.body, program) == wanted {
                return;
            }
        }
        panic!("{path} never had {wanted:?}: {:?}", self.get(path));
    }
}

impl Scene {
    fn new(options: &[&str]) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap().to_string();
        let args = ["--from", "127.0.0.1:0", "--to", &to, "--web", "127.0.0.1:0", "-q"];
        let mut tunnel = Process::start(&[&args[..], options].concat());
        let site = Site::of(&mut tunnel);
        Self { folder: tempdir().unwrap(), tunnel, server, site }
    }

    /// A client and its server, through the tunnel.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = patient(self.tunnel.connect());
        (client, patient(self.server.accept().unwrap().0))
    }

    /// A connection on which both say something, the client first, and finish.
    fn talk(&self, said: &[u8], answered: &[u8]) {
        let (client, server) = self.connect();
        say(&client, &server, said);
        say(&server, &client, answered);
    }

    /// Waits until the page knows that so many connections have closed.
    #[track_caller]
    fn wait_for_closes(&self, count: usize) {
        let closed = r#"[.connections[] | select(.state == "closed")] | length"#;
        self.site.wait_for("/api/connections", closed, &count.to_string());
    }

    fn stop(self) -> Ended {
        let ended = self.tunnel.stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }
}

/// One end says something and finishes; the other hears it all.
fn say(mut from: &TcpStream, mut to: &TcpStream, bytes: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            from.write_all(bytes).unwrap();
            from.shutdown(Shutdown::Write).unwrap();
        });
        let mut heard = Vec::new();
        to.read_to_end(&mut heard).unwrap();
        assert!(heard == bytes, "{} bytes of {} came", heard.len(), bytes.len());
    });
}

fn curl(url: &str, args: &[&str]) -> Answer {
    let folder = tempdir().unwrap();
    let [headers, body] = ["headers", "body"].map(|name| folder.path().join(name));
    let files = [Path::new("-D"), &headers, Path::new("-o"), &body];
    let got = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "--path-as-is", "-w", "%{http_code}"])
        .args(files)
        .args(args)
        .arg(url)
        .output()
        .unwrap();
    let status = String::from_utf8_lossy(&got.stdout).parse().unwrap_or_default();
    let headers = fs::read_to_string(headers).unwrap_or_default().to_lowercase();
    Answer { status, headers, body: fs::read(body).unwrap_or_default() }
}

#[track_caller]
fn jq(json: &[u8], program: &str) -> String {
    let folder = tempdir().unwrap();
    let file = folder.path().join("json");
    fs::write(&file, json).unwrap();
    let made = Command::new("jq").args(["-r", program]).arg(&file).output().unwrap();
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{errors}: {}", String::from_utf8_lossy(json));
    String::from_utf8(made.stdout).unwrap().trim_end().to_owned()
}
