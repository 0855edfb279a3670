//! Many connects at once.

use super::caught::{Launcher, compile, echo_server, open_folder};

/// Threads, connects, and whether the threads share memory or do not block.
fn check(threads: &str, connects: &str, shared: &str, nonblocking: &str) {
    let launcher = Launcher::new();
    let folder = open_folder();
    let program = compile(folder.path(), "many", include_str!("many.c"));
    let server = echo_server("127.0.0.1:0");
    let port = server.port().to_string();
    let (ran, seen) = launcher.same(&[&program, &port, threads, connects, shared, nonblocking]);
    assert_eq!(ran.stdout, format!("{connects} connects, 0 failed, 0 wrong\n"));
    assert_eq!(seen, vec![format!("{server} connected"); connects.parse().unwrap()]);
}

#[test]
fn two_hundred_threads_are_caught() {
    check("200", "2000", "0", "0");
}

#[test]
fn two_hundred_threads_that_do_not_block_are_caught() {
    check("200", "2000", "0", "1");
}

#[test]
fn threads_that_share_an_address_in_memory_are_caught() {
    check("100", "2000", "1", "0");
}

#[test]
fn threads_that_share_an_address_and_do_not_block_are_caught() {
    check("100", "2000", "1", "1");
}
