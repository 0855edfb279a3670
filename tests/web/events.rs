//! What changes, as server-sent events.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::{Scene, Site, jq, say};
use crate::support::bytes::bytes;
use crate::support::end::patient;
use crate::support::events::PATIENCE;

/// One page's stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(site: &Site, last: Option<&str>) -> Self {
        let host = site.origin.strip_prefix("http://").unwrap();
        let mut stream = patient(TcpStream::connect(host).unwrap());
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let token = &site.token;
        write!(stream, "GET /api/events?token={token} HTTP/1.1\r\nHost: {host}\r\n{last}\r\n")
            .unwrap();
        Self(BufReader::new(stream))
    }

    /// The next line of an event that begins with `name`; none at the end.
    #[track_caller]
    fn next(&mut self, name: &str) -> Option<String> {
        let (mut line, end) = (String::new(), Instant::now() + PATIENCE);
        while self.0.read_line(&mut line).unwrap() > 0 {
            // Comments go on coming for ever.
            assert!(Instant::now() < end, "no event has '{name}'");
            if let Some(value) = line.trim_end().strip_prefix(name) {
                return Some(value.trim_start_matches([':', ' ']).to_owned());
            }
            line.clear();
        }
        None
    }

    /// Reads on until `jq` finds something in an event's data.
    #[track_caller]
    fn wait_for(&mut self, program: &str) -> String {
        while let Some(data) = self.next("data") {
            if data.starts_with('{') {
                let found = jq(data.as_bytes(), program);
                if !found.is_empty() {
                    return found;
                }
            }
        }
        panic!("the events ended without {program}");
    }
}

#[test]
fn changes_come_as_they_happen_and_the_end_is_told() {
    let scene = Scene::new(&[]);
    let mut events = Events::open(&scene.site, None);
    assert_eq!(events.next("event").as_deref(), Some("reset"));
    let (mut client, server) = scene.connect();
    events.wait_for(r#".rows[] | select(.conn == 1 and .state == "open")"#);
    client.write_all(b"12345").unwrap();
    events.wait_for(".rows[] | select(.client_bytes == 5)");
    say(&server, &client, b"123");
    events.wait_for(r#".rows[] | select(.state == "half-closed" and .server_bytes == 3)"#);
    drop((client, server));
    events.wait_for(r#".rows[] | select(.state == "closed" and .reason == "finished")"#);
    let site = scene.site.clone();
    scene.stop();
    events.wait_for("select(.ended)");
    assert_eq!(events.next("data"), None, "nothing follows");
    assert!(TcpStream::connect(site.origin.strip_prefix("http://").unwrap()).is_err());
}

#[test]
fn page_that_comes_again_is_told_what_it_missed() {
    let scene = Scene::new(&[]);
    scene.talk(b"1", b"1");
    scene.wait_for_closes(1);
    let mut events = Events::open(&scene.site, None);
    let id = events.next("id").unwrap();
    drop(events);
    scene.talk(b"2", b"2");
    scene.wait_for_closes(2);
    let mut again = Events::open(&scene.site, Some(&id));
    assert_eq!(again.next("event").as_deref(), Some("rows"), "no reset");
    assert_eq!(again.wait_for("[.rows[].conn] | @csv"), "2");
    // What an older run has told means nothing here.
    for id in [format!("0000{id}"), "x-1".to_owned(), "1".to_owned()] {
        let mut other = Events::open(&scene.site, Some(&id));
        assert_eq!(other.next("event").as_deref(), Some("reset"), "{id}");
    }
}

/// Bytes that a process has resident.
fn resident(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn thousand_pages_that_do_not_read_cost_nothing_that_grows() {
    const PAGES: usize = 1000;
    let scene = Scene::new(&["--web-buffer", "8MiB"]);
    let stale: Vec<_> = (0..PAGES)
        .map(|_| {
            let mut events = Events::open(&scene.site, None);
            assert_eq!(events.next("event").as_deref(), Some("reset"));
            events
        })
        .collect();
    let said = bytes(1, 1 << 20);
    let round = |count: usize| {
        (0..count).for_each(|_| scene.talk(&said, b"answer"));
    };
    round(50);
    let before = resident(scene.tunnel.id());
    round(200);
    let grown = resident(scene.tunnel.id()).saturating_sub(before);
    println!("{PAGES} stale pages, 200 MB passed: {} KiB grown", grown / 1024);
    // Far less than what passed, and less than one event for each page would take.
    assert!(grown < 32 << 20, "{grown} bytes");
    // While its queue is full, the page misses whole connections.
    let has_later = ".connections[] | select(.conn > 250) | .conn";
    let end = Instant::now() + PATIENCE;
    while scene.site.jq("/api/connections", has_later).is_empty() {
        assert!(Instant::now() < end, "the page has nothing of what came last");
        scene.talk(b"request", b"answer");
    }
    let mut late = Events::open(&scene.site, None);
    late.wait_for(".rows[] | select(.conn > 250)");
    drop(stale);
    scene.stop();
}
