//! What the API gives is what passed.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Scene, Site, jq};
use crate::support::bytes::bytes;
use crate::support::oracle::{self, Expect};
use crate::support::process::Process;
use crate::support::verdict::{follow, judge};

/// Saves what a path gives.
fn saved(scene: &Scene, path: &str) -> PathBuf {
    let file = scene.folder.path().join("out.pcapng");
    fs::write(&file, scene.site.body(path)).unwrap();
    file
}

#[test]
fn data_of_each_side_is_byte_exact() {
    let scene = Scene::new(&[]);
    let (said, answered) = (bytes(1, 3 << 20), bytes(2, 2_000_003));
    scene.talk(&said, &answered);
    scene.wait_for_closes(1);
    for (side, expected) in [("client", &said), ("server", &answered)] {
        let path = format!("/api/connections/1/data?side={side}");
        assert!(scene.site.body(&path) == *expected, "{side}");
        for (from, len) in [(0, 1), (1, 100_000), (65_535, 65_538), (expected.len() - 1, 9)] {
            let part = scene.site.body(&format!("{path}&from={from}&len={len}"));
            let end = expected.len().min(from + len);
            assert!(part == expected[from..end], "{side} from {from} on, {len} bytes");
        }
        let beyond = scene.site.get(&format!("{path}&from={}", expected.len()));
        assert_eq!((beyond.status, beyond.body.len()), (200, 0));
        let length = format!("x-total: {}\r\n", expected.len());
        assert!(beyond.headers.contains(&length), "{}", beyond.headers);
    }
    assert!(scene.stop().stderr.last().unwrap().contains("0 bytes dropped"));
}

#[test]
fn conversation_has_all_bytes_in_order() {
    let scene = Scene::new(&[]);
    let (client, server) = scene.connect();
    let mut expected = Vec::new();
    for round in 0..3 {
        for (mut from, mut to, name) in [(&client, &server, "client"), (&server, &client, "server")]
        {
            let said = format!("{name} {round} \"\\<é>\n");
            from.write_all(said.as_bytes()).unwrap();
            to.read_exact(&mut vec![0; said.len()]).unwrap();
            expected.push(format!("{name} {}", STANDARD.encode(&said)));
        }
    }
    drop((client, server));
    scene.wait_for_closes(1);
    let lines = r#".chunks[] | "\(.from) \(.data)""#;
    let told = scene.site.jq("/api/connections/1/conversation", lines);
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    let facts = r#""\(.state) \(.reason) \(.client_bytes) \(.shown)""#;
    assert_eq!(scene.site.jq("/api/connections/1", facts), "closed finished 48 wire");
    let offsets = "[.chunks[] | select(.from == \"client\") | .offset] == [0, 16, 32]";
    assert_eq!(scene.site.jq("/api/connections/1", offsets), "true");
}

#[test]
fn downloaded_captures_are_perfect() {
    let scene = Scene::new(&[]);
    let said: Vec<_> = (1..=3).map(|seed| bytes(seed, 100_000 * seed as usize)).collect();
    for said in &said {
        scene.talk(said, b"answer");
    }
    scene.wait_for_closes(3);
    for (query, chosen) in [
        ("", &[0, 1, 2][..]),
        ("?connection=2", &[1]),
        ("?connection=1&connection=3", &[0, 2]),
        ("?connection=2-9", &[1, 2]),
    ] {
        let file = saved(&scene, &format!("/api/capture.pcapng{query}"));
        let judged = judge(&file, &[]);
        assert_eq!(judged.completeness.len(), chosen.len(), "{query}");
        assert!(judged.completeness.values().all(|how| *how == oracle::FULL), "{judged:?}");
        for ([client, server], index) in follow(&file, chosen.len()).iter().zip(chosen) {
            assert!(client == &said[*index] && server == b"answer", "{query}");
        }
    }
    let answer = scene.site.get("/api/capture.pcapng?connection=2");
    assert!(answer.headers.contains("filename=\"connection-2.pcapng\""), "{}", answer.headers);
    assert_eq!(scene.site.get("/api/capture.pcapng?connection=9").status, 404);
}

#[test]
fn capture_of_an_open_connection_is_perfect() {
    let scene = Scene::new(&[]);
    let (mut client, mut server) = scene.connect();
    client.write_all(b"hello").unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    scene.site.wait_for("/api/connections", ".connections[0].client_bytes", "5");
    let file = saved(&scene, "/api/capture.pcapng");
    assert_eq!(judge(&file, &[]).completeness.len(), 1);
    assert_eq!(follow(&file, 1)[0], [b"hello".to_vec(), Vec::new()]);
}

#[test]
fn oldest_data_goes_first_and_leaves_a_gap() {
    let scene = Scene::new(&["--web-buffer", "1MiB"]);
    let said = bytes(7, 4 << 20);
    // In steps, so that the page's queue, which is small, too, misses none of it.
    let (mut client, mut server) = scene.connect();
    for (step, part) in (1..).zip(said.chunks(1 << 16)) {
        client.write_all(part).unwrap();
        server.read_exact(&mut vec![0; part.len()]).unwrap();
        let passed = (step << 16).to_string();
        scene.site.wait_for("/api/connections", ".connections[0].client_bytes", &passed);
    }
    drop((client, server));
    scene.wait_for_closes(1);
    let row = ".connections[0] | [.let_go_bytes, .missed_bytes] | @tsv";
    let row = scene.site.jq("/api/connections", row);
    let (let_go, missed) = row.split_once('\t').unwrap();
    assert_eq!(missed, "0");
    let first: usize = let_go.parse().unwrap();
    assert!(first >= 3 << 20 && first < said.len(), "{first}");
    let path = "/api/connections/1/data?side=client";
    let gone = scene.site.get(&format!("{path}&from=0"));
    let words = format!("bytes 0 to {first} of connection 1 are not held (try from={first})\n");
    assert_eq!((gone.status, String::from_utf8(gone.body).unwrap()), (410, words));
    assert!(scene.site.body(&format!("{path}&from={first}")) == said[first..]);
    assert!(scene.site.body(path) == said[first..], "what is held begins there");
    assert_eq!(scene.site.jq("/api/connections", ".buffer.held_bytes <= .buffer.bytes"), "true");
    let file = saved(&scene, "/api/capture.pcapng");
    let expect = Expect { allow_gaps: true, ..Expect::default() };
    let judged = oracle::judge(&file, expect).unwrap_or_else(|bad| panic!("{bad:#?}"));
    assert_eq!(judged.streams[&0].len, (said.len() - first) as u64);
}

#[test]
fn page_misses_what_comes_too_fast_and_says_how_much() {
    // The others may wait; the page has a queue for one chunk, and never does.
    let scene = Scene::new(&["--web-buffer", "64KiB", "--on-slow-sink", "block"]);
    let said = bytes(9, 32 << 20);
    scene.talk(&said, b"answer");
    scene.wait_for_closes(1);
    let row = ".connections[0] | [.client_bytes, .missed_bytes] | @tsv";
    let row = scene.site.jq("/api/connections", row);
    let (all, missed) = row.split_once('\t').unwrap();
    assert_eq!(all, said.len().to_string());
    assert_ne!(missed, "0");
    let file = saved(&scene, "/api/capture.pcapng");
    let expect = Expect { allow_gaps: true, ..Expect::default() };
    oracle::judge(&file, expect).unwrap_or_else(|bad| panic!("{bad:#?}"));
    let ended = scene.stop();
    let summary = ended.stderr.last().unwrap();
    let words = format!(", 0 bytes dropped, {missed} bytes missed by the page");
    assert!(summary.ends_with(&words), "{summary}");
}

#[test]
fn search_finds_text_and_bytes_where_they_are() {
    let scene = Scene::new(&[]);
    scene.talk(b"GET /needle HTTP/1.1\r\n\r\n", b"\x00\xff\x00\x01");
    scene.talk(b"nothing here", b"only a needle there");
    scene.wait_for_closes(2);
    let found = r#".found[] | "\(.conn) \(.from) \(.offset)""#;
    let search = |query: &str| scene.site.jq(&format!("/api/search?{query}"), found);
    assert_eq!(search("text=needle"), "1 client 5\n2 server 7");
    assert_eq!(search("text=%2Fneedle+HTTP"), "1 client 4");
    assert_eq!(search("hex=ff0001"), "1 server 1");
    assert_eq!(search("text=absent"), "");
    for query in ["", "text=", "hex=abc", "hex=zz", "text=a&hex=00"] {
        let answer = scene.site.get(&format!("/api/search?{query}"));
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[test]
fn what_makes_no_sense_is_told_with_what_to_try() {
    let scene = Scene::new(&[]);
    scene.talk(b"a", b"b");
    scene.wait_for_closes(1);
    for (path, status, words) in [
        ("/api/connections/2", 404, "connection 2 is not held"),
        ("/api/connections/x", 400, "expected one such as 1"),
        ("/api/connections/1/data", 400, "give side=client or side=server"),
        ("/api/connections/1/data?side=both", 400, "expected client or server"),
        ("/api/connections/1/data?side=client&view=x", 400, "expected wire or plain"),
        ("/api/connections/1/data?side=client&from=-1", 400, "expected a number"),
        ("/api/capture.pcapng?connection=all", 400, "a range such as 3-9"),
        ("/api/none", 404, "try /"),
    ] {
        let answer = scene.site.get(path);
        let body = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == status && body.contains(words), "{path}: {answer:?} {body}");
        assert_eq!(body.lines().count(), 1, "{body}");
    }
}

#[test]
fn page_shows_what_passes_a_proxy() {
    let scene = Scene::new(&[]);
    let to = scene.server.local_addr().unwrap();
    let mut proxy = Process::start(&["--proxy", "127.0.0.1:0", "--web", "127.0.0.1:0", "-q"]);
    let site = Site::of(&mut proxy);
    let url = format!("http://localhost:{}/page", to.port());
    let socks = proxy.addresses[0].to_string();
    std::thread::scope(|scope| {
        let asked =
            scope.spawn(|| super::curl(&url, &["--noproxy", "", "--socks5-hostname", &socks]));
        let (mut server, _) = scene.server.accept().unwrap();
        server.read_exact(&mut [0; 4]).unwrap();
        server.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        drop(server);
        assert_eq!(asked.join().unwrap().body, b"hi");
    });
    let name = format!("localhost:{}", to.port());
    site.wait_for("/api/connections", ".connections[0].server", &name);
    assert_eq!(site.jq("/api/connections", ".connections[0].address"), to.to_string());
}

#[test]
fn json_of_the_api_is_read_by_jq() {
    let scene = Scene::new(&[]);
    assert_eq!(scene.site.jq("/api/connections", ".connections | length"), "0");
    let body = scene.site.body("/api/connections");
    assert_eq!(jq(&body, ".ended, .buffer.bytes"), "false\n50331648");
}
