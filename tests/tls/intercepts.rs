//! `--tls intercept`: TLS ends at both legs, with real programs on both ends.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::{TempDir, tempdir};

use super::{MAIL, MAIL_SAID, PAGE, TEXT, said};
use crate::support::bytes::bytes;
use crate::support::process::{Ended, Process};
use crate::support::server::Server;
use crate::support::verdict::{follow, judge, tshark};

/// A web server that speaks TLS, a tunnel that intercepts, and its authority.
pub(super) struct Scene {
    pub(super) folder: TempDir,
    pub(super) tunnel: Process,
    server: Server,
}

impl Scene {
    /// A tunnel that trusts the server.
    pub(super) fn new(options: &[&str]) -> Self {
        Self::with(&[options, &["--tls-trust", "cert.pem"]].concat(), Server::https_and_http2)
    }

    /// `options` may name files in the folder, which the tunnel is started in.
    pub(super) fn with(options: &[&str], server: fn(&std::path::Path) -> Server) -> Self {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("page"), PAGE).unwrap();
        let server = server(folder.path());
        let authority = folder.path().join("ca");
        let args = ["--from", "127.0.0.1:0", "--to", &server.address, "--tls", "intercept"];
        let args = [&args[..], &["--tls-ca", authority.to_str().unwrap()], options].concat();
        let tunnel = Process::start_in(folder.path(), &args);
        Self { folder, tunnel, server }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs curl, which trusts what `trusts` says, for a page of the server.
    pub(super) fn curl(&self, trusts: &str, args: &[&str], page: &str) -> Output {
        let address = self.tunnel.addresses[0];
        let resolve = format!("srv.test:{}:{}", address.port(), address.ip());
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*", "--resolve", &resolve, "--cacert"]);
        command.arg(self.path(trusts)).args(args);
        command.arg(format!("https://srv.test:{}/{page}", address.port()));
        command.output().unwrap()
    }

    /// The same for a client that trusts the authority, and that succeeds.
    pub(super) fn trusting_curl(&self, args: &[&str], page: &str) -> Vec<u8> {
        let got = self.curl("ca/ca.pem", args, page);
        assert!(got.status.success(), "{got:?}");
        got.stdout
    }

    pub(super) fn ended(self) -> Ended {
        let ended = self.tunnel.stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }

    /// What the console said of it all.
    pub(super) fn shown(self) -> String {
        String::from_utf8_lossy(&self.ended().stdout).into_owned()
    }
}

#[track_caller]
pub(super) fn assert_shown(shown: &str, lines: &[&str]) {
    for line in lines {
        assert!(shown.contains(line), "{line:?} is missing:\n{shown}");
    }
}

#[test]
fn request_and_answer_are_shown() {
    let scene = Scene::new(&TEXT);
    assert_eq!(scene.trusting_curl(&["--http1.1"], "page"), PAGE.as_bytes());
    assert_eq!(scene.trusting_curl(&["--http2"], "page"), PAGE.as_bytes());
    assert_eq!(scene.trusting_curl(&["--http1.1", "--tls-max", "1.2"], "page"), PAGE.as_bytes());
    let shown = scene.shown();
    for line in [
        "[1] TLS 1.3 TLS_AES_256_GCM_SHA384 SNI srv.test ALPN http/1.1\n",
        "[1] -> GET /page HTTP/1.1\n",
        "[1] <- HTTP/1.1 200 OK\n",
        "[2] TLS 1.3 TLS_AES_256_GCM_SHA384 SNI srv.test ALPN h2\n",
        "[2] -> PRI * HTTP/2.0\n",
        "[3] -> GET /page HTTP/1.1\n",
    ] {
        assert!(shown.contains(line), "{line:?} is missing:\n{shown}");
    }
    assert!(!shown.contains("\\x16\\x03"), "no record of TLS is shown:\n{shown}");
}

#[test]
fn json_tells_that_it_is_intercepted() {
    let scene = Scene::new(&["--console", "json"]);
    scene.trusting_curl(&["--http1.1"], "page");
    let shown = scene.shown();
    assert_shown(
        &shown,
        &["\"event\":\"tls\"", "\"state\":\"intercepted\"", "\"sni\":\"srv.test\""],
    );
    assert!(!shown.contains("\"view\":\"wire\""), "{shown}");
}

#[test]
fn download_is_the_same_to_the_byte() {
    let scene = Scene::new(&["--console", "raw", "--only", "server"]);
    let content = bytes(7, 24 << 20);
    fs::write(scene.path("large"), &content).unwrap();
    assert!(scene.trusting_curl(&["--http1.1"], "large") == content);
    let shown = scene.ended().stdout;
    assert!(shown.ends_with(&content), "the console has all of it");
}

#[test]
fn connections_at_once_are_all_intercepted() {
    const COUNT: usize = 200;
    let scene = Scene::new(&TEXT);
    let args = ["--http1.1", "--parallel", "--parallel-immediate", "-H", "Connection: close"];
    let got = scene.trusting_curl(&args, &format!("page?[1-{COUNT}]"));
    assert_eq!(String::from_utf8_lossy(&got).matches(PAGE).count(), COUNT);
    let shown = scene.shown();
    assert_eq!(shown.matches(" TLS 1.3 ").count(), COUNT, "{shown}");
    assert_eq!(shown.matches("<- a page that").count(), COUNT);
}

#[test]
fn client_that_does_not_trust_the_authority_is_reported() {
    let scene = Scene::new(&TEXT);
    let got = scene.curl("cert.pem", &[], "page");
    assert_eq!(got.status.code(), Some(60), "{got:?}");
    let why = "not decrypted: the client refused our certificate (unknown CA): it does not trust \
               the authority, or is pinned (try '--tls-pass srv.test')\n";
    assert_shown(&scene.shown(), &[why]);
}

#[test]
fn server_that_is_not_trusted_fails_for_the_client() {
    let scene = Scene::with(&TEXT, Server::https);
    let got = scene.curl("ca/ca.pem", &[], "page");
    assert_eq!(got.status.code(), Some(35), "the handshake fails: {got:?}");
    let why = "the certificate of srv.test is signed by nobody whom this machine trusts";
    assert_shown(&scene.shown(), &[why]);
}

#[test]
fn server_that_is_not_trusted_is_taken_where_the_user_says_so() {
    let scene = Scene::with(&[&TEXT[..], &["--tls-insecure"]].concat(), Server::https);
    scene.trusting_curl(&[], "page");
    let warned = |line: &String| line.contains("WARN") && line.contains("--tls-insecure");
    assert!(scene.tunnel.stderr.iter().any(warned), "{:?}", scene.tunnel.stderr);
}

#[test]
fn server_with_another_name_fails_for_the_client() {
    let scene = Scene::new(&TEXT);
    let address = scene.tunnel.addresses[0];
    let resolve = format!("other.test:{}:{}", address.port(), address.ip());
    let url = format!("https://other.test:{}/page", address.port());
    let got = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "--insecure", "--resolve", &resolve, &url])
        .output()
        .unwrap();
    assert_eq!(got.status.code(), Some(35), "the handshake fails: {got:?}");
    assert_shown(&scene.shown(), &["the certificate of other.test is for another name"]);
}

#[test]
fn server_that_is_to_be_left_alone_is() {
    let scene = Scene::new(&[&TEXT[..], &["--tls-pass", "*.test"]].concat());
    let got = scene.curl("cert.pem", &[], "page");
    assert_eq!(got.stdout, PAGE.as_bytes(), "the client trusts the server's own certificate");
    assert_shown(&scene.shown(), &["TLS SNI srv.test passed: --tls-pass\n", "-> \\x16\\x03\\x01"]);
}

#[test]
fn connection_without_tls_passes() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("page"), PAGE).unwrap();
    let server = Server::python(folder.path());
    let authority = folder.path().join("ca");
    let args = ["--from", "127.0.0.1:0", "--to", &server.address, "--tls", "intercept"];
    let options = ["--tls-ca", authority.to_str().unwrap()];
    let tunnel = Process::start(&[&args[..], &options, &TEXT].concat());
    let url = format!("http://{}/page", tunnel.addresses[0]);
    let got = Command::new("curl").args(["-sS", "--noproxy", "*", &url]).output().unwrap();
    assert_eq!(got.stdout, PAGE.as_bytes());
    let shown = String::from_utf8_lossy(&tunnel.stop().stdout).into_owned();
    assert_shown(&shown, &["[1] -> GET /page HTTP/1.1\n", "[1] TLS passed: not TLS\n"]);
}

#[test]
fn client_that_is_too_old_passes() {
    let old = |folder: &std::path::Path| {
        Server::openssl_with(folder, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"])
    };
    let scene = Scene::with(&TEXT, old);
    let address = scene.tunnel.addresses[0].to_string();
    let args = ["s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect", &address];
    let got = Command::new("openssl").args(args).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&got.stdout);
    assert!(said.contains("Protocol  : TLSv1.1"), "{said}");
    let why = "passed: the client speaks no TLS 1.2 or 1.3 (it is too old)\n";
    assert_shown(&scene.shown(), &[why]);
}

#[test]
fn server_that_wants_a_client_certificate_is_reported_and_passes_then() {
    let strict = |folder: &std::path::Path| {
        Server::openssl_with(folder, &["-Verify", "1", "-verify_return_error"])
    };
    let options = [&TEXT[..], &["--tls-trust", "cert.pem"]].concat();
    let scene = Scene::with(&options, strict);
    scene.curl("ca/ca.pem", &[], "");
    // From now on it is the client's own affair.
    let got = scene.curl("cert.pem", &[], "");
    assert_ne!(got.status.code(), Some(60), "it sees the server's own certificate: {got:?}");
    let shown = scene.shown();
    let why = "srv.test wants a client certificate (try '--tls-client-cert FILE'); its next \
               connections pass as they are\n";
    assert_shown(&shown, &[why, "passed: its server could not be opened before\n"]);
}

#[test]
fn server_is_shown_the_client_certificate_of_the_user() {
    let strict = |folder: &std::path::Path| {
        let options = ["-Verify", "1", "-CAfile", "cert.pem", "-verify_return_error"];
        Server::openssl_with(folder, &options)
    };
    let files = ["--tls-client-cert", "cert.pem", "--tls-client-key", "key.pem"];
    let scene = Scene::with(&[&TEXT[..], &["--tls-trust", "cert.pem"], &files].concat(), strict);
    let got = scene.trusting_curl(&[], "");
    assert!(String::from_utf8_lossy(&got).contains("Client certificate"), "{got:?}");
    assert_shown(&scene.shown(), &["-> GET / HTTP/1.1\n"]);
}

#[test]
fn capture_opens_decrypted() {
    for (legs, streams) in [("direct", 1), ("both", 2)] {
        let scene = Scene::new(&["-q", "--pcap", "out.pcapng", "--legs", legs]);
        scene.trusting_curl(&["--http1.1"], "page");
        let path = scene.path("out.pcapng");
        let _folder = (scene.tunnel.stop(), scene.folder, scene.server);
        assert_eq!(judge(&path, &[]).completeness.len(), streams, "{legs}");
        for [client, server] in follow(&path, streams) {
            assert!(client.starts_with(b"\x16\x03\x01") && server.starts_with(b"\x16\x03\x03"));
        }
        let uri = ["-n", "-Y", "http.request", "-T", "fields", "-e", "http.request.uri"];
        assert_eq!(tshark(&path, &uri), vec!["/page"; streams], "{legs}");
        let code = ["-n", "-Y", "http.response", "-T", "fields", "-e", "http.response.code"];
        assert_eq!(tshark(&path, &code), vec!["200"; streams], "{legs}");
    }
}

#[test]
fn capture_that_is_streamed_opens_decrypted() {
    let folder = tempdir().unwrap();
    let scene = Scene::new(&["-q", "--pcap", "out.pcapng.gz"]);
    scene.trusting_curl(&["--http2"], "page");
    let path = folder.path().join("copy.pcapng.gz");
    let from = scene.path("out.pcapng.gz");
    let kept = scene.folder.path().to_owned();
    scene.tunnel.stop();
    fs::copy(from, &path).unwrap();
    assert!(kept.exists());
    let status = ["-n", "-Y", "http2.headers.status", "-T", "fields", "-e", "http2.headers.status"];
    assert_eq!(tshark(&path, &status), ["200"]);
}

#[test]
fn capture_of_the_plaintext_is_one_clear_conversation() {
    let scene = Scene::new(&["-q", "--pcap", "out.pcapng", "--tls-view", "plain"]);
    scene.trusting_curl(&["--http1.1"], "page");
    let path = scene.path("out.pcapng");
    let _folder = (scene.tunnel.stop(), scene.folder);
    assert_eq!(judge(&path, &[]).completeness.len(), 1);
    let [client, server] = &follow(&path, 1)[0];
    assert!(client.starts_with(b"GET /page HTTP/1.1\r\n"), "{}", client.escape_ascii());
    assert!(server.ends_with(PAGE.as_bytes()), "{}", server.escape_ascii());
}

#[test]
fn secrets_are_appended_to_a_file_of_ones_own() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new(&["-q", "--tls-keylog-out", "out.log"]);
    scene.trusting_curl(&[], "page");
    let path = scene.path("out.log");
    let _folder = (scene.tunnel.stop(), scene.folder);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let log = fs::read_to_string(&path).unwrap();
    assert_eq!(log.matches("CLIENT_TRAFFIC_SECRET_0 ").count(), 2, "of both legs:\n{log}");
}

#[test]
fn tls_that_begins_in_mid_stream_is_intercepted() {
    let folder = tempdir().unwrap();
    let _server = Server::openssl(folder.path());
    let authority = folder.path().join("ca");
    let ca = ["--tls", "intercept", "--tls-insecure", "--tls-ca", authority.to_str().unwrap()];
    let options = [&TEXT[..], &ca].concat();
    let (ran, shown) =
        super::run(&options, &["python3", "-c", MAIL, folder.path().to_str().unwrap()]);
    assert!(ran.status.success(), "{ran:?}\n{shown}");
    assert_eq!(said(&shown), MAIL_SAID);
}

#[test]
fn program_that_is_run_trusts_the_authority() {
    let folder = tempdir().unwrap();
    let server = Server::openssl(folder.path());
    let (authority, trust) = (folder.path().join("ca"), folder.path().join("cert.pem"));
    let ca = ["--tls", "intercept", "--tls-ca", authority.to_str().unwrap()];
    let options = [&TEXT[..], &ca, &["--tls-trust", trust.to_str().unwrap()]].concat();
    let url = format!("https://{}/", server.address);
    let python = "import sys, urllib.request as r; r.urlopen(sys.argv[1]).read()";
    let node = "require('https').get(process.argv[1], a => a.resume())";
    for program in [
        vec!["curl", "-sSo", "/dev/null", &url],
        vec!["python3", "-c", python, &url],
        vec!["node", "-e", node, &url],
    ] {
        let (ran, shown) = super::run(&options, &program);
        assert!(ran.status.success(), "{ran:?}\n{shown}");
        assert_shown(&shown, &["[1] -> GET / HTTP/1.1\n", "[1] <- HTTP/1.0 200 ok\n"]);
    }
}

#[test]
fn postgresql_is_intercepted() {
    let folder = tempdir().unwrap();
    let server = Server::postgres_with_tls(folder.path());
    let home = tempdir().unwrap();
    let authority = home.path().join("ca");
    let args = ["--from", "127.0.0.1:0", "--to", &server.address, "--tls", "intercept"];
    let options = ["--tls-insecure", "--tls-ca", authority.to_str().unwrap()];
    let tunnel = Process::start(&[&args[..], &options, &TEXT].concat());
    let port = tunnel.addresses[0].port();
    let to = format!("host=127.0.0.1 port={port} user=postgres sslmode=require");
    let ran = Command::new("psql").args([&to, "-Atc", "SELECT 6 * 7"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "42\n", "{ran:?}");
    let shown = String::from_utf8_lossy(&tunnel.stop().stdout).into_owned();
    assert_shown(&shown, &["<- S", "[1] TLS 1.3 ", "SELECT 6 * 7"]);
}

#[test]
fn clone_by_git_is_shown_under_each_way() {
    let folder = tempdir().unwrap();
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=me", "-c", "user.email=me@here"]).args(args);
        let ran = command.current_dir(folder.path()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    git(&["init", "-q", "--bare", "there.git"]);
    git(&["clone", "-q", "there.git", "work"]);
    git(&["-C", "work", "commit", "-q", "--allow-empty", "-m", "first"]);
    git(&["-C", "work", "push", "-q", "origin", "HEAD:main"]);
    git(&["-C", "there.git", "symbolic-ref", "HEAD", "refs/heads/main"]);
    git(&["-C", "there.git", "update-server-info"]);
    let server = Server::python_with_tls(folder.path());
    let url = format!("https://{}/there.git", server.address);
    let (authority, trust) = (folder.path().join("ca"), folder.path().join("cert.pem"));
    let ca = ["--tls-ca", authority.to_str().unwrap(), "--tls-trust", trust.to_str().unwrap()];
    let intercept = [&TEXT[..], &["--tls", "intercept"], &ca].concat();
    let decrypt = [&TEXT[..], &["--tls", "decrypt"]].concat();
    // Nobody vouches for the server itself.
    for (name, options, setting) in
        [("one", intercept, "a.b=c"), ("two", decrypt, "http.sslVerify=false")]
    {
        let to = folder.path().join(name);
        let clone = ["git", "-c", setting, "clone", "-q", &url, to.to_str().unwrap()];
        let (ran, shown) = super::run(&options, &clone);
        assert!(ran.status.success(), "{ran:?}\n{shown}");
        assert!(to.join(".git").exists());
        assert_shown(&shown, &["-> GET /there.git/info/refs?service=git-upload-pack HTTP/1.1"]);
    }
}

const GO: &str = r#"package main

import ("crypto/tls"; "fmt"; "io"; "os")

func main() {
	c, err := tls.Dial("tcp", os.Args[1], &tls.Config{ServerName: "localhost"})
	if err != nil { fmt.Println(err); os.Exit(3) }
	fmt.Fprintf(c, "GET / HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(c)
	fmt.Println(len(b) > 0, err)
}
"#;

#[test]
fn static_go_program_trusts_the_authority() {
    let folder = tempdir().unwrap();
    let (source, program) = (folder.path().join("main.go"), folder.path().join("main"));
    fs::write(&source, GO).unwrap();
    // Kept, because Go's libraries take long to compile.
    let cache = concat!(env!("CARGO_MANIFEST_DIR"), "/target/go-cache");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(&source);
    build.env("CGO_ENABLED", "0").env("GOCACHE", cache).env("HOME", folder.path());
    let built = build.output().unwrap();
    assert!(built.status.success(), "{built:?}");
    let server = Server::openssl(folder.path());
    let (authority, trust) = (folder.path().join("ca"), folder.path().join("cert.pem"));
    let ca = ["--tls", "intercept", "--tls-ca", authority.to_str().unwrap()];
    let options = [&TEXT[..], &ca, &["--tls-trust", trust.to_str().unwrap()]].concat();
    let (ran, shown) = super::run(&options, &[program.to_str().unwrap(), &server.address]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "true <nil>\n", "{ran:?}");
    assert_shown(&shown, &["SNI localhost", "[1] -> GET / HTTP/1.0\n"]);
}
