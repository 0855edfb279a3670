//! What programs say over TLS is shown, whatever they negotiate.

use std::fs;
use std::process::{Command, Stdio};

use super::{MAIL, MAIL_SAID, PAGE, Scene, TEXT, run, said};
use crate::support::bytes::bytes;
use crate::support::server::Server;

#[test]
fn request_and_answer_of_curl_are_shown_for_each_suite() {
    let scene = Scene::new(&TEXT);
    let [tls12, tls13] = ["1.2", "1.3"].map(|version| ["--http1.1", "--tls-max", version]);
    let suites = [
        (&tls13, "--tls13-ciphers", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        (&tls13, "--tls13-ciphers", "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
        (&tls13, "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
        (
            &tls12,
            "--ciphers",
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ),
        (
            &tls12,
            "--ciphers",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        ),
        (
            &tls12,
            "--ciphers",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
    ];
    for (number, (version, option, suite, _)) in suites.iter().enumerate() {
        let page = format!("page?{number}");
        let got = scene.curl(&[&version[..], &[option, suite]].concat(), &page);
        assert_eq!(String::from_utf8_lossy(&got.stdout), PAGE);
    }
    let shown = scene.shown();
    for (number, (version, .., suite)) in suites.iter().enumerate() {
        let (connection, version) = (number + 1, version[2]);
        for line in [
            format!("[{connection}] TLS {version} {suite} ALPN http/1.1\n"),
            format!("[{connection}] -> GET /page?{number} HTTP/1.1\n"),
            format!("[{connection}] <- HTTP/1.1 200 OK\n"),
            format!("[{connection}] <- {PAGE}"),
        ] {
            assert!(shown.contains(&line), "{line:?} is missing:\n{shown}");
        }
    }
}

#[test]
fn certificates_are_shown_where_more_is_asked_for() {
    for version in ["1.2", "1.3"] {
        let scene = Scene::new(&[&TEXT[..], &["-v"]].concat());
        scene.curl(&["--tls-max", version], "page");
        let shown = scene.shown();
        let line = "[1] Certificate CN=localhost, issued by CN=localhost, valid from 20";
        assert_eq!(shown.matches(line).count(), 1, "{version}:\n{shown}");
    }
    let scene = Scene::new(&TEXT);
    scene.curl(&[], "page");
    assert!(!scene.shown().contains("Certificate"));
}

#[test]
fn http2_is_shown_as_plaintext() {
    let scene = Scene::new(&TEXT);
    assert_eq!(String::from_utf8_lossy(&scene.curl(&["--http2"], "page").stdout), PAGE);
    let shown = scene.shown();
    for words in ["ALPN h2\n", "[1] -> PRI * HTTP/2.0\n", PAGE.trim_end()] {
        assert!(shown.contains(words), "{words:?} is missing:\n{shown}");
    }
}

#[test]
fn headers_of_a_hexdump_name_tls() {
    let scene = Scene::new(&["--time", "none", "--grep", "^GET "]);
    scene.curl(&["--http1.1"], "page");
    let shown = scene.shown();
    let header = "[1] Client -> Server ";
    let line = shown.lines().find(|line| line.starts_with(header)).expect(&shown);
    assert!(line.ends_with(" bytes TLS"), "{line:?}");
    assert!(shown.contains("|GET /page HTTP/1|"), "grep looks at the plaintext:\n{shown}");
    assert!(!shown.contains("Server -> Client"), "nothing else matches:\n{shown}");
}

#[test]
fn json_has_the_handshake_and_the_view() {
    let scene = Scene::new(&["--console", "json"]);
    scene.curl(&["--http1.1"], "page");
    let (output, shown) = (scene.path("out.json"), scene.shown());
    fs::create_dir_all(output.parent().unwrap()).unwrap();
    fs::write(&output, &shown).unwrap();
    let filter = "[.event, .state, .version, .alpn, .view, .from, .offset] | map(. // \"\" | \
                  tostring) | join(\" \")";
    let printed = Command::new("jq").args(["-r", filter]).arg(&output).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("tls decrypted TLS 1.3 http/1.1"), "{printed}");
    assert!(printed.contains("data    plain client 0\n"), "{printed}");
    assert!(!printed.contains(" wire "), "all is TLS:\n{printed}");
}

#[test]
fn large_download_is_shown_to_the_byte() {
    let scene = Scene::new(&["--console", "raw", "--only", "server"]);
    let content = bytes(7, 24 << 20);
    fs::write(scene.path("large"), &content).unwrap();
    let got = scene.curl(&["--http1.1"], "large");
    assert!(got.stdout == content);
    let shown = scene.ended().stdout;
    let (head, body) = shown.split_at(shown.len() - content.len());
    assert!(head.ends_with(b"\r\n\r\n"), "{}", head.escape_ascii());
    assert!(body == content);
}

#[test]
fn connections_at_once_are_all_decrypted() {
    const COUNT: usize = 200;
    let scene = Scene::new(&TEXT);
    // Many processes append to the one key log.
    let pages = format!("page?[1-{}]", COUNT / 4);
    let args = ["-sSk", "--http1.1", "--parallel", "--parallel-immediate"];
    let args = [&args[..], &["--noproxy", "*", "-H", "Connection: close"]].concat();
    let start = |_| {
        let mut command = scene.command("curl", &args, &pages);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let processes: Vec<_> = (0..4).map(start).collect();
    for mut process in processes {
        assert!(process.wait().unwrap().success());
    }
    let shown = scene.shown();
    assert_eq!(shown.matches(" not decrypted").count(), 0, "{shown}");
    assert_eq!(shown.matches(" TLS 1.3 ").count(), COUNT);
    assert_eq!(shown.matches(PAGE).count(), COUNT);
}

#[test]
fn programs_of_openssl_gnutls_and_node_are_decrypted() {
    let scene = Scene::new(&TEXT);
    let python = "import ssl, sys, urllib.request as r\n\
                  c = ssl.create_default_context()\n\
                  c.check_hostname = False; c.verify_mode = ssl.CERT_NONE\n\
                  sys.stdout.write(r.urlopen(sys.argv[1], context=c).read().decode())";
    let node = "process.env.NODE_TLS_REJECT_UNAUTHORIZED = 0\n\
                require('https').get(process.argv[1], a => a.pipe(process.stdout))";
    for (program, args) in [
        ("python3", vec!["-c", python]),
        ("wget", vec!["-qO-", "--no-check-certificate"]),
        ("node", vec!["--tls-keylog=keys.log", "--no-warnings", "-e", node]),
    ] {
        let got = scene.run(program, &args, &format!("page?{program}"));
        assert_eq!(String::from_utf8_lossy(&got.stdout), PAGE, "{program}");
    }
    let shown = scene.shown();
    for program in ["python3", "wget", "node"] {
        let request = format!("-> GET /page?{program} HTTP/1.1\n");
        assert!(shown.contains(&request), "{request:?} is missing:\n{shown}");
    }
}

#[test]
fn program_that_is_run_is_decrypted_without_further_options() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::openssl(folder.path());
    let url = format!("https://{}/", server.address);
    let (ran, shown) = run(&TEXT, &["curl", "-sk", &url]);
    assert!(String::from_utf8_lossy(&ran.stdout).contains("Ciphers supported"), "{ran:?}");
    for words in ["[1] TLS 1.3 ", "[1] -> GET / HTTP/1.1\n", "[1] <- HTTP/1.0 200 ok\n"] {
        assert!(shown.contains(words), "{words:?} is missing:\n{shown}");
    }
    let off = [&TEXT[..], &["--tls", "off"]].concat();
    let (_, shown) =
        run(&off, &["sh", "-c", &format!("echo ${{SSLKEYLOGFILE-none}}; curl -sk {url}")]);
    assert!(!shown.contains("TLS"), "nothing is decrypted:\n{shown}");
    let (ran, _) = run(&off, &["sh", "-c", "echo ${SSLKEYLOGFILE-none}"]);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "none\n", "its environment is left alone");
}

#[test]
fn tls_that_begins_in_mid_stream_is_decrypted() {
    let folder = tempfile::tempdir().unwrap();
    let _server = Server::openssl(folder.path());
    let path = folder.path().to_str().unwrap();
    let (ran, shown) = run(&TEXT, &["python3", "-c", MAIL, path]);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(said(&shown), MAIL_SAID);
}
