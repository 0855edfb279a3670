//! Programs that people use, through the real command, and what Wireshark makes of the capture.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::{TempDir, tempdir};

use crate::support::bytes::bytes;
use crate::support::process::Process;
use crate::support::server::Server;
use crate::support::verdict::{follow, judge, tshark};

/// A tunnel to a server, with a capture.
struct Captured {
    process: Process,
    path: PathBuf,
}

impl Captured {
    fn to(server: &Server, folder: &TempDir) -> Self {
        let path = folder.path().join("out.pcapng");
        let pcap = path.to_str().unwrap();
        let args = ["--from", "127.0.0.1:0", "--to", &server.address, "--pcap", pcap];
        Self { process: Process::start(&args), path }
    }

    fn port(&self) -> String {
        self.process.addresses[0].port().to_string()
    }

    /// Ends the tunnel; its capture, which Wireshark finds nothing wrong with, has `streams`.
    fn perfect(self, streams: usize) -> PathBuf {
        let ended = self.process.stop();
        assert_eq!(ended.code, Some(0), "{:?}", ended.stderr);
        let judged = judge(&self.path, &[]);
        assert_eq!(judged.completeness.len(), streams, "{judged:?}");
        let malformed = tshark(&self.path, &["-n", "-Y", "_ws.malformed"]);
        assert_eq!(malformed, Vec::<String>::new());
        self.path
    }
}

/// Runs a client to its end; what it printed.
fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().expect(program);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The values of a field, of all packets that have it.
fn fields(capture: &Path, field: &str) -> Vec<String> {
    let lines = tshark(capture, &["-n", "-Y", field, "-T", "fields", "-e", field]);
    lines.iter().flat_map(|line| line.split(',')).map(str::to_owned).collect()
}

/// What a web server has, by name.
fn pages() -> [(&'static str, Vec<u8>); 3] {
    let page = b"<!doctype html><title>tunnel</title>\r\n".to_vec();
    [("page.html", page), ("picture.bin", bytes(7, 300_000)), ("one.bin", vec![0])]
}

/// Gets all pages with one run of curl, which asks again on the same connection where it may;
/// holds what it got, and what Wireshark exports, against what the server has.
fn browse(folder: &TempDir, server: &Server, streams: usize) -> PathBuf {
    let tunnel = Captured::to(server, folder);
    let (got, exported) = (folder.path().join("got"), folder.path().join("exported"));
    let mut args = vec!["-sS".to_owned(), "--fail".to_owned(), "--create-dirs".to_owned()];
    for (name, _) in pages() {
        args.push(format!("http://127.0.0.1:{}/{name}", tunnel.port()));
        args.extend(["-o".to_owned(), got.join(name).display().to_string()]);
    }
    run("curl", &args.iter().map(String::as_str).collect::<Vec<_>>());
    let capture = tunnel.perfect(streams);
    let export = format!("http,{}", exported.display());
    tshark(&capture, &["-n", "-q", "--export-objects", &export]);
    for (name, page) in pages() {
        assert!(fs::read(got.join(name)).unwrap() == page, "curl got another {name}");
        assert!(fs::read(exported.join(name)).unwrap() == page, "Wireshark exports another {name}");
    }
    capture
}

/// A folder with what a web server has.
fn site() -> TempDir {
    let folder = tempdir().unwrap();
    for (name, page) in pages() {
        fs::write(folder.path().join(name), page).unwrap();
    }
    folder
}

#[test]
fn curl_gets_the_pages_of_a_server_that_closes_after_each() {
    let folder = site();
    let server = Server::python(folder.path());
    let capture = browse(&folder, &server, pages().len());
    assert_eq!(fields(&capture, "http.response.code"), ["200", "200", "200"]);
    for ([request, response], (name, page)) in follow(&capture, 3).iter().zip(pages()) {
        assert!(request.starts_with(format!("GET /{name} HTTP/1.1\r\n").as_bytes()));
        assert!(response.starts_with(b"HTTP/1.0 200 OK\r\n") && response.ends_with(&page));
    }
}

#[test]
fn curl_gets_all_pages_on_one_connection_to_a_unix_socket() {
    let folder = site();
    let server = Server::nginx(folder.path());
    let capture = browse(&folder, &server, 1);
    assert_eq!(fields(&capture, "http.response.code"), ["200", "200", "200"]);
    let asked = pages().map(|(name, _)| format!("/{name}"));
    assert_eq!(fields(&capture, "http.request.uri"), asked);
}

#[test]
fn redis_is_seen_as_redis() {
    let folder = tempdir().unwrap();
    let server = Server::redis(folder.path());
    let tunnel = Captured::to(&server, &folder);
    let port = tunnel.port();
    let ask = |command: &[&str]| run("redis-cli", &[&["-p", &port], command].concat());
    assert_eq!(ask(&["SET", "greeting", "hello"]), "OK\n");
    assert_eq!(ask(&["GET", "greeting"]), "hello\n");
    assert_eq!(ask(&["RPUSH", "list", "a", "b", "c"]), "3\n");
    assert_eq!(ask(&["LRANGE", "list", "0", "-1"]), "a\nb\nc\n");
    assert!(ask(&["GET", "list"]).starts_with("WRONGTYPE"));
    let capture = tunnel.perfect(5);
    let said = [
        "SET greeting hello GET greeting hello RPUSH list a b c",
        "LRANGE list 0 -1 a b c GET list",
    ];
    let hex = |word: &str| word.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let said: Vec<_> = said.iter().flat_map(|line| line.split(' ')).map(hex).collect();
    assert_eq!(fields(&capture, "resp.bulk_string.value"), said);
    let errors = fields(&capture, "resp.error").join(" ");
    assert!(errors.starts_with("WRONGTYPE"), "{errors}");
}

#[test]
fn postgresql_is_seen_as_postgresql() {
    let folder = tempdir().unwrap();
    let server = Server::postgres(folder.path());
    let tunnel = Captured::to(&server, &folder);
    let address = format!("host=127.0.0.1 port={} user=postgres sslmode=disable", tunnel.port());
    let script = [
        "CREATE TABLE words (word text)",
        "INSERT INTO words SELECT 'word ' || n FROM generate_series(1, 10000) AS n",
        "SELECT count(*), sum(length(word)) FROM words",
    ];
    let mut args = vec!["-XAtq", "-d", &address];
    script.iter().for_each(|statement| args.extend(["-c", statement]));
    assert_eq!(run("psql", &args), "10000|88894\n");
    let all = run("psql", &["-XAtq", "-d", &address, "-c", "SELECT word FROM words"]);
    assert_eq!(all.lines().count(), 10_000);
    let capture = tunnel.perfect(2);
    let queries = fields(&capture, "pgsql.query").join(",");
    for statement in script {
        assert!(queries.contains(statement), "{statement}: {queries}");
    }
    let rows = fields(&capture, "pgsql.type").iter().filter(|kind| *kind == "Data row").count();
    assert_eq!(rows, 10_001);
}
