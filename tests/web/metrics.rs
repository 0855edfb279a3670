//! Metrics, as curl, promtool and Prometheus read them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::tempdir;

use super::{Scene, curl, jq};
use crate::support::process::Process;

/// Where metrics are, of a tunnel that was started with `--metrics`.
fn url(process: &mut Process) -> String {
    let line = process.wait_for_line("metrics on ");
    line.strip_prefix("metrics on ").unwrap().to_owned()
}

fn scraped(url: &str) -> String {
    let answer = curl(url, &[]);
    assert!(answer.headers.contains("content-type: text/plain; version=0.0.4"), "{answer:?}");
    String::from_utf8(answer.body).unwrap()
}

/// The value of the first metric that begins so.
fn value(text: &str, metric: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(metric));
    line.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Scrapes until a metric has a value.
#[track_caller]
fn wait_for(url: &str, metric: &str, wanted: f64) {
    // Each pass starts a program, which is pause enough.
    let mut text = String::new();
    for _ in 0..1000 {
        text = scraped(url);
        if value(&text, metric) == Some(wanted) {
            return;
        }
    }
    panic!("{metric} never was {wanted}: {text}");
}

#[test]
fn bytes_and_connections_move_while_one_is_open() {
    let mut scene = Scene::new(&["--metrics", "0"]);
    let url = url(&mut scene.tunnel);
    assert!(url.starts_with("http://127.0.0.1:"), "a port alone is one of loopback: {url}");
    let (mut client, mut server) = scene.connect();
    let own = client.local_addr().unwrap().to_string();
    let tunnel = format!("{} -> {}", scene.tunnel.addresses[0], scene.server.local_addr().unwrap());
    let way = |way| format!(r#"tcp_tunn_bytes_total{{tunnel="{tunnel}",direction="{way}"}}"#);
    wait_for(&url, "tcp_tunn_connections_active", 1.0);
    for round in 1..=3 {
        client.write_all(&[1; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
        server.write_all(&[2; 10]).unwrap();
        client.read_exact(&mut [0; 10]).unwrap();
        wait_for(&url, &way("client_to_server"), f64::from(round * 1000));
        wait_for(&url, &way("server_to_client"), f64::from(round * 10));
    }
    assert_eq!(value(&scraped(&url), "tcp_tunn_connections_closed_total"), None);
    drop((client, server));
    let closed = r#"tcp_tunn_connections_closed_total{reason="finished",by="client"}"#;
    wait_for(&url, closed, 1.0);
    let text = scraped(&url);
    assert_eq!(value(&text, "tcp_tunn_connections_total"), Some(1.0));
    assert_eq!(value(&text, "tcp_tunn_connections_active"), Some(0.0));
    assert_eq!(value(&text, &way("client_to_server")), Some(3000.0));
    assert_eq!(value(&text, "tcp_tunn_connect_seconds_count"), Some(1.0));
    assert!(!text.contains(&own), "a client's address is in no label: {text}");
    for metric in [
        r#"tcp_tunn_sink_queue_bytes{sink="the page"}"#,
        r#"tcp_tunn_sink_dropped_bytes_total{sink="the page"}"#,
        r#"tcp_tunn_build_info{version=""#,
        "process_open_fds",
    ] {
        assert!(value(&text, metric).is_some(), "{metric} is not in {text}");
    }
}

#[test]
fn promtool_has_nothing_to_complain_of() {
    let mut scene = Scene::new(&["--metrics", "127.0.0.1:0"]);
    let url = url(&mut scene.tunnel);
    scene.talk(b"said", b"answered");
    wait_for(&url, "tcp_tunn_connections_closed_total", 1.0);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(scraped(&url).as_bytes()).unwrap();
    let checked = promtool.wait_with_output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert!(checked.stdout.is_empty() && checked.stderr.is_empty(), "{checked:?}");
    let header = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let open = curl(&url, &["-H", header]);
    assert!(open.headers.contains("content-type: application/openmetrics-text"), "{open:?}");
    assert!(open.body.ends_with(b"# EOF\n"));
}

/// A Prometheus that scrapes one address, killed when dropped.
struct Prometheus(Child, String);

impl Prometheus {
    fn start(folder: &Path, target: &str) -> Self {
        let config = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: tunnel\n  \
             static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(folder.join("config.yml"), config).unwrap();
        let mut child = Command::new("prometheus")
            .args(["--config.file=config.yml", "--storage.tsdb.path=data"])
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(folder)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let (_, address) = line.split_once("msg=\"Listening on\" address=")?;
            Some(address.to_owned())
        });
        // To the end of what it says, so that it never waits for a reader.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self(child, address.expect("it listens"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn prometheus_scrapes_what_is_counted() {
    let mut scene = Scene::new(&["--metrics", "127.0.0.1:0"]);
    let url = url(&mut scene.tunnel);
    scene.talk(b"said", b"answered");
    wait_for(&url, "tcp_tunn_connections_closed_total", 1.0);
    let folder = tempdir().unwrap();
    let target = url.strip_prefix("http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let prometheus = Prometheus::start(folder.path(), target.unwrap());
    let query = |metric: &str| {
        let asked = format!("http://{}/api/v1/query?query={metric}", prometheus.1);
        let answer = curl(&asked, &[]);
        let values = "if .data then [.data.result[].value[1]] | sort | join(\" \") else \"\" end";
        if answer.status == 200 { jq(&answer.body, values) } else { String::new() }
    };
    let found = (0..1000).map(|_| query("tcp_tunn_bytes_total")).find(|found| !found.is_empty());
    assert_eq!(found.as_deref(), Some("4 8"));
    assert_eq!(query("tcp_tunn_connect_seconds_count"), "1");
}

#[test]
fn metrics_of_a_program_are_named_after_run() {
    let folder = tempdir().unwrap();
    let fifo = folder.path().join("looked");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let scene = Scene::new(&[]);
    let to = scene.server.local_addr().unwrap();
    let script = format!("exec 3<>/dev/tcp/{}/{}; read x < {}", to.ip(), to.port(), fifo.display());
    let args = ["run", "-q", "--metrics", "127.0.0.1:0", "--", "bash", "-c", &script];
    let mut run = Process::start(&args);
    let url = url(&mut run);
    let (mut server, _) = scene.server.accept().unwrap();
    server.write_all(b"hello").unwrap();
    let bytes = r#"tcp_tunn_bytes_total{tunnel="run",direction="server_to_client"}"#;
    wait_for(&url, bytes, 5.0);
    fs::write(&fifo, "yes\n").unwrap();
    assert_eq!(run.wait().code, Some(0));
}
