//! `tcp_tunn ca`: the local authority, as its user sees it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use tempfile::{TempDir, tempdir};

/// Runs `tcp_tunn ca` for a user with a home of his own.
fn ca(home: &TempDir, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tcp_tunn"))
        .arg("ca")
        .args(args)
        .env_remove("XDG_DATA_HOME")
        .env("HOME", home.path())
        .output()
        .unwrap()
}

#[track_caller]
fn printed(home: &TempDir, args: &[&str]) -> String {
    let ran = ca(home, args);
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn authority_is_made_shown_and_removed() {
    let home = tempdir().unwrap();
    let folder = home.path().join(".local/share/tcp_tunn/ca");
    let path = printed(&home, &["path"]);
    assert_eq!(path.trim_end(), folder.join("ca.pem").to_str().unwrap());
    let pem = printed(&home, &["pem"]);
    assert_eq!(pem, fs::read_to_string(path.trim_end()).unwrap());
    for (name, mode) in [("", 0o700), ("ca-key.pem", 0o600)] {
        let found = fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
    assert!(printed(&home, &["remove"]).starts_with("removed the authority in "));
    assert!(!folder.exists());
    assert!(printed(&home, &["remove"]).starts_with("there is no authority in "));
}

#[test]
fn settings_are_for_a_shell() {
    let home = tempdir().unwrap();
    let settings = printed(&home, &["env"]);
    let shell = "eval \"$1\"; test -s \"$SSL_CERT_FILE\" -a -s \"$NODE_EXTRA_CA_CERTS\" && env";
    let ran = Command::new("sh").args(["-c", shell, "sh", &settings]).output().unwrap();
    let shown = String::from_utf8_lossy(&ran.stdout);
    for name in ["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE"] {
        assert!(shown.contains(&format!("\n{name}=/")), "{name} is missing:\n{shown}");
    }
}

#[test]
fn authority_that_others_may_read_is_refused() {
    let home = tempdir().unwrap();
    printed(&home, &["path"]);
    let key = home.path().join(".local/share/tcp_tunn/ca/ca-key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = ca(&home, &["env"]);
    assert_eq!(ran.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("others may read it (try 'chmod 600 "), "{said}");
}

#[test]
fn place_that_nothing_names_is_asked_for() {
    let ran = Command::new(env!("CARGO_BIN_EXE_tcp_tunn"))
        .args(["ca", "path"])
        .env_remove("XDG_DATA_HOME")
        .env_remove("HOME")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("(set HOME, or try '--tls-ca DIR')"), "{said}");
}

#[test]
fn certificate_is_a_constrained_authority() {
    let home = tempdir().unwrap();
    let path = printed(&home, &["path"]);
    let text = Command::new("openssl")
        .args(["x509", "-noout", "-text", "-in", path.trim_end()])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&text.stdout);
    for words in ["CA:TRUE, pathlen:0", "Certificate Sign", "TLS Web Server Authentication"] {
        assert!(text.contains(words), "{words:?} is missing:\n{text}");
    }
}
