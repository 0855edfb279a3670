//! What cannot be decrypted is shown as it passes, with the reason.

use super::{PAGE, Scene, TEXT};

#[track_caller]
fn assert_closed(shown: &str, why: &str) {
    let line = format!(" not decrypted: {why}\n");
    assert_eq!(shown.matches(&line).count(), 1, "{line:?}:\n{shown}");
    assert!(shown.contains("[1] -> \\x16\\x03\\x01"), "the wire is shown:\n{shown}");
    assert!(!shown.contains(PAGE), "{shown}");
}

#[test]
fn connection_without_keys_says_so() {
    let scene = Scene::new(&TEXT);
    let other = format!("--tls-keylog={}", scene.path("other.log").display());
    let fetch = "process.env.NODE_TLS_REJECT_UNAUTHORIZED = 0\n\
                 require('https').get(process.argv[1], a => a.pipe(process.stdout))";
    scene.run("node", &[&other, "--no-warnings", "-e", fetch], "page");
    assert_closed(&scene.shown(), "the key log has no keys for this connection");
}

#[test]
fn suite_out_of_use_is_named() {
    let scene = Scene::new(&TEXT);
    let args = ["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-SHA"];
    scene.curl(&args, "page");
    let why = "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA is not supported \
               (only AES-GCM and ChaCha20-Poly1305)";
    assert_closed(&scene.shown(), why);
}
