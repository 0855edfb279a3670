//! Runs a test again in a process of its own, under limits that would harm the other tests.

use std::process::Command;

use rustix::process::geteuid;

use super::skip::skip;

/// Shell text that makes the user one without rights.
pub(crate) const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

const INSIDE: &str = "TCP_TUNN_TEST_CONFINED";

/// Whether this is a process that [`confined`] has started.
pub(crate) fn is_confined() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Whether this is the confined process. Outside it, runs the test of this thread again by
/// `sh -c`: `confine` is shell text that ends where the test is to be put, as in
/// `exec prlimit --memlock=0`. Where the machine does not allow that (`probe` fails the same
/// way), the test is skipped, which fails in CI.
pub(crate) fn confined(confine: &str) -> bool {
    if is_confined() {
        return true;
    }
    let confine = if geteuid().is_root() { confine.to_owned() } else { without_root(confine) };
    let shell = |what: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", &format!("{confine} \"$@\""), "sh"]).arg(what);
        command
    };
    let probe = shell("true").output().unwrap();
    if !probe.status.success() {
        let why = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
        skip(&format!("this machine does not allow '{confine}': {why}"));
        return false;
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let test = std::env::current_exe().unwrap();
    let ran = shell(test.to_str().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    print!("{out}{err}");
    assert!(ran.status.success() && out.contains("1 passed"), "it failed under: {confine}");
    false
}

/// The same for a user who is not root, and is nobody in particular: the user is root within a
/// user namespace, and has no rights at all where root would become [`NOBODY`].
fn without_root(confine: &str) -> String {
    let confine = confine.replace(&format!("exec {NOBODY}"), "exec");
    let confine = confine.replace(NOBODY, "setpriv --bounding-set=-all");
    match confine.contains("--user") {
        true => confine,
        false => confine.replace("unshare ", "unshare --user --map-root-user "),
    }
}

#[test]
fn confinement_of_root_becomes_one_of_a_user() {
    for (of_root, of_user) in [
        (format!("exec {NOBODY}"), "exec"),
        (format!("exec {NOBODY} unshare --user --mount"), "exec unshare --user --mount"),
        ("exec unshare --net sh".to_owned(), "exec unshare --user --map-root-user --net sh"),
        (
            format!("exec unshare --net {NOBODY}"),
            "exec unshare --user --map-root-user --net setpriv --bounding-set=-all",
        ),
    ] {
        assert_eq!(without_root(&of_root), of_user);
    }
}
