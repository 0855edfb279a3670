//! Real clients of the proxy, and real load balancers.

use std::fs;
use std::process::{Command, Output};

use tempfile::tempdir;

use crate::support::process::Process;
use crate::support::server::Server;
use crate::support::verdict::judge;

const PAGE: &str = "a page through a proxy\n";

/// A web server with one page, and its URL.
fn web() -> (tempfile::TempDir, Server, String) {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("page"), PAGE).unwrap();
    let server = Server::python(folder.path());
    let port = server.address.rsplit_once(':').unwrap().1;
    let url = format!("http://localhost:{port}/page");
    (folder, server, url)
}

fn output(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.args(args).output().expect(program)
}

#[test]
fn curl_reaches_its_server_by_each_protocol() {
    let (folder, _server, url) = web();
    let path = folder.path().join("out.pcapng");
    let args = ["--proxy", "127.0.0.1:0", "-q", "--pcap", path.to_str().unwrap()];
    let tunnel = Process::start(&args);
    let proxy = tunnel.addresses[0].to_string();
    let ways = [
        vec!["--socks4", &proxy],
        vec!["--socks4a", &proxy],
        vec!["--socks5", &proxy],
        vec!["--socks5-hostname", &proxy],
        vec!["--proxytunnel", "--proxy", &proxy],
    ];
    for way in &ways {
        let got = output("curl", &[&["-sS", "-4", &url][..], way].concat());
        assert_eq!(String::from_utf8_lossy(&got.stdout), PAGE, "{way:?}: {got:?}");
    }
    let ended = tunnel.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(judge(&path, &[]).completeness.len(), ways.len());
}

#[test]
fn curl_logs_in() {
    let (_folder, _server, url) = web();
    let args = ["--proxy", "127.0.0.1:0", "--proxy-user", "me:secret", "-q"];
    let tunnel = Process::start(&args);
    let proxy = tunnel.addresses[0].to_string();
    for (way, login, good) in [
        ("--socks5", "me:secret", true),
        ("--socks5", "me:wrong", false),
        ("--proxy", "me:secret", true),
        ("--proxy", "me:wrong", false),
    ] {
        let args = ["-sS", "--proxytunnel", "--proxy-user", login, way, &proxy, &url];
        let got = output("curl", &args);
        assert_eq!(got.status.success(), good, "{way} {login}: {got:?}");
    }
    assert!(tunnel.stop().stderr.last().unwrap().ends_with(", 2 rejected"));
}

#[test]
fn curl_is_told_how_a_connect_failed() {
    let tunnel = Process::start(&["--proxy", "127.0.0.1:0", "-q"]);
    let proxy = tunnel.addresses[0].to_string();
    // Nobody listens on port 1. curl's 97 is an error of a proxy's handshake.
    for (way, words) in [("--socks5", "(97)"), ("--socks4", "(97)"), ("--proxy", "502")] {
        let args = ["-sS", "--proxytunnel", way, &proxy, "http://127.0.0.1:1/"];
        let got = output("curl", &args);
        let stderr = String::from_utf8_lossy(&got.stderr).into_owned();
        assert!(!got.status.success() && stderr.contains(words), "{way}: {stderr}");
    }
    tunnel.stop();
}

#[test]
fn git_clones_through_the_proxy() {
    let folder = tempdir().unwrap();
    let (bare, clone) = (folder.path().join("bare.git"), folder.path().join("clone"));
    let script = "git init -q --bare $0; git init -q $1; cd $1; echo text >file; git add file; \
                  git -c user.name=me -c user.email=me@example.com commit -qm one; \
                  git push -q $0 HEAD:main; git -C $0 symbolic-ref HEAD refs/heads/main; \
                  git -C $0 update-server-info; cd ..; rm -rf $1";
    let paths = [bare.to_str().unwrap(), clone.to_str().unwrap()];
    let made = output("sh", &[&["-ec", script][..], &paths].concat());
    assert!(made.status.success(), "{made:?}");
    let server = Server::python(folder.path());
    let tunnel = Process::start(&["--proxy", "127.0.0.1:0", "-q"]);
    let proxy = format!("http.proxy=socks5h://{}", tunnel.addresses[0]);
    let url = format!("http://{}/bare.git", server.address);
    let cloned = output("git", &["-c", &proxy, "clone", "-q", &url, paths[1]]);
    assert!(cloned.status.success(), "{cloned:?}");
    assert_eq!(fs::read_to_string(clone.join("file")).unwrap(), "text\n");
    tunnel.stop();
}

#[test]
fn netcat_reaches_a_server_as_a_proxy_command_of_ssh_does() {
    let (_folder, server, _) = web();
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let tunnel = Process::start(&["--proxy", "127.0.0.1:0", "-q"]);
    let proxy = tunnel.addresses[0].to_string();
    for version in ["4", "5", "connect"] {
        let script = "printf 'GET /page HTTP/1.0\\r\\n\\r\\n' | nc -X $0 -x $1 127.0.0.1 $2";
        let got = output("sh", &["-c", script, version, &proxy, port]);
        assert!(String::from_utf8_lossy(&got.stdout).ends_with(PAGE), "{version}: {got:?}");
    }
    tunnel.stop();
}

#[test]
fn tunnel_reaches_its_server_through_another() {
    let (_folder, server, _) = web();
    let second = Process::start(&["--proxy", "127.0.0.1:0", "--proxy-user", "a:b", "-q"]);
    for scheme in ["socks5", "http"] {
        let via = format!("{scheme}://a:b@{}", second.addresses[0]);
        let to = server.address.as_str();
        let args = ["--from", "127.0.0.1:0", "--to", to, "--via", &via, "-q"];
        let first = Process::start(&args);
        let got = output("curl", &["-sS", &format!("http://{}/page", first.addresses[0])]);
        assert_eq!(String::from_utf8_lossy(&got.stdout), PAGE, "{scheme}: {got:?}");
        first.stop();
    }
    second.stop();
}

#[test]
fn nginx_takes_the_proxy_protocol_and_sees_the_client() {
    let folder = tempdir().unwrap();
    let server = Server::nginx_behind(folder.path());
    for version in ["v1", "v2"] {
        let to = server.address.as_str();
        let args = ["--from", "127.0.0.1:0", "--to", to, "--send-proxy-protocol", version, "-q"];
        let tunnel = Process::start(&args);
        // nginx answers with the address that the header names.
        let url = format!("http://{}/", tunnel.addresses[0]);
        let got = output("curl", &["-sS", "--interface", "127.0.0.5", &url]);
        let told = String::from_utf8_lossy(&got.stdout).into_owned();
        assert_eq!(told, "127.0.0.5\n", "{version}: {got:?}");
        tunnel.stop();
    }
}

#[test]
fn curl_sends_the_proxy_protocol_as_haproxy_does() {
    let (_folder, server, _) = web();
    let args = ["--from", "127.0.0.1:0", "--to", &server.address, "--accept-proxy-protocol"];
    let tunnel = Process::start(&[&args[..], &["--console", "json"]].concat());
    let url = format!("http://{}/page", tunnel.addresses[0]);
    let got = output("curl", &["-sS", "--haproxy-protocol", "--interface", "127.0.0.6", &url]);
    assert_eq!(String::from_utf8_lossy(&got.stdout), PAGE, "{got:?}");
    let ended = tunnel.stop();
    let shown = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(shown.contains(r#""event":"open","client":"127.0.0.6:"#), "{shown}");
}

#[test]
fn proxy_that_everybody_reaches_needs_a_password() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let ended = Process::run(&["--proxy", address]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr[0].contains("--proxy-user USER:PASS"), "{ended:?}");
    }
    let args = ["--proxy", "0.0.0.0:0", "--proxy-user", "me:secret", "-q"];
    let tunnel = Process::start(&args);
    assert_eq!(tunnel.stop().code, Some(0));
}
