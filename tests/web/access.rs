//! Who may look.

use super::{Scene, curl};

/// All that has something of the traffic, or leads to it.
const GUARDED: [&str; 9] = [
    "/",
    "/nothing",
    "/api/connections",
    "/api/connections/1",
    "/api/connections/1/data?side=client",
    "/api/connections/1/conversation",
    "/api/capture.pcapng",
    "/api/search?text=secret",
    "/api/events",
];

#[test]
fn missing_or_wrong_token_is_forbidden() {
    let scene = Scene::new(&[]);
    scene.talk(b"secret", b"answer");
    scene.wait_for_closes(1);
    let site = &scene.site;
    let wrong = "0".repeat(site.token.len());
    let half = &site.token[..site.token.len() / 2];
    for path in GUARDED {
        let url = format!("{}{path}", site.origin);
        let mark = if path.contains('?') { '&' } else { '?' };
        for (url, args) in [
            (url.clone(), vec![]),
            (format!("{url}{mark}token="), vec![]),
            (format!("{url}{mark}token={wrong}"), vec![]),
            (format!("{url}{mark}token={half}"), vec![]),
            (url.clone(), vec!["-H", "Authorization: Bearer wrong"]),
            (url.clone(), vec!["-X", "POST"]),
        ] {
            let answer = curl(&url, &args);
            assert_eq!(answer.status, 403, "{url} {args:?}: {answer:?}");
            let body = String::from_utf8(answer.body).unwrap();
            assert!(
                body.starts_with("the token is missing or wrong (") && !body.contains("secret")
            );
        }
    }
}

#[test]
fn token_is_taken_from_query_or_header() {
    let scene = Scene::new(&[]);
    let bearer = format!("Authorization: Bearer {}", scene.site.token);
    let url = format!("{}/api/connections", scene.site.origin);
    assert_eq!(curl(&url, &["-H", &bearer]).status, 200);
    assert_eq!(scene.site.get("/api/connections").status, 200);
    // Another sink has another.
    assert_ne!(Scene::new(&[]).site.token, scene.site.token);
}

#[test]
fn foreign_host_or_origin_is_forbidden() {
    let scene = Scene::new(&[]);
    let url = scene.site.url("/api/connections");
    let script = format!("{}/page/main.js", scene.site.origin);
    let own = scene.site.origin.strip_prefix("http://").unwrap();
    let port = own.rsplit_once(':').unwrap().1;
    for host in ["evil.example", &format!("evil.example:{port}"), "localhost.evil.example", ""] {
        for url in [&url, &script] {
            let answer = curl(url, &["-H", &format!("Host:{host}")]);
            assert!([400, 403].contains(&answer.status), "{host}: {answer:?}");
        }
    }
    for origin in ["http://evil.example", "null", &format!("https://{own}"), "http://127.0.0.1:1"] {
        let answer = curl(&url, &["-H", &format!("Origin: {origin}")]);
        assert_eq!(answer.status, 403, "{origin}: {answer:?}");
    }
    for host in [own.to_owned(), format!("localhost:{port}"), format!("[::1]:{port}")] {
        let origin = format!("Origin: http://{host}");
        let answer = curl(&url, &["-H", &format!("Host: {host}"), "-H", &origin]);
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
}

#[test]
fn answers_forbid_foreign_scripts_and_embedding() {
    let scene = Scene::new(&[]);
    for url in [scene.site.url("/"), format!("{}/api/connections", scene.site.origin)] {
        let headers = curl(&url, &[]).headers;
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self';",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(headers.contains(header), "{header} is not in {headers}");
        }
        assert!(!headers.contains("access-control-allow-origin"), "{headers}");
    }
}

#[test]
fn nothing_but_get_is_answered() {
    let scene = Scene::new(&[]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let answer = curl(&scene.site.url("/api/connections"), &["-X", method]);
        assert_eq!(answer.status, 405, "{method}");
    }
    assert_eq!(scene.site.get("/page/../secret").status, 404);
    assert_eq!(scene.site.get("/page/mod.rs").status, 404);
}

#[test]
fn page_that_cannot_listen_is_told_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["--from", "127.0.0.1:0", "--to", "127.0.0.1:1", "--web", &address];
    let ended = crate::support::process::Process::run(&args);
    assert_eq!(ended.code, Some(1));
    let line = ended.stderr.last().unwrap();
    assert!(line.starts_with(&format!("tcp_tunn: cannot serve the page on {address}: ")), "{line}");
    assert!(line.ends_with("(choose another port, or 0 for any that is free)"), "{line}");
}
