//! The tunnel where the kernel or a container permits less: it relays and records all the same, by
//! epoll where io_uring is not permitted.

mod seccomp;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use tcp_tunn::tunnel::{Backend, Tunnel};

use crate::support::bytes::bytes;
use crate::support::confined::{NOBODY, confined, is_confined};
use crate::support::end::patient;
use crate::support::events::{Events, check_contract};
use crate::support::skip::{skip_without_kernel_feature, skip_without_root};
use crate::support::tunnel::Running;

const LOCAL: &str = "127.0.0.1:0";

/// A server that returns what each client has sent, once the client has closed its side.
fn echo_server() -> String {
    let listener = TcpListener::bind(LOCAL).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = patient(stream.unwrap());
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            stream.write_all(&received).unwrap();
        }
    });
    address
}

/// Sends `sent` through a tunnel, and expects it back.
fn exchange(client: TcpStream, sent: &[u8]) {
    let mut client = patient(client);
    thread::scope(|scope| {
        let mut sending = client.try_clone().unwrap();
        scope.spawn(move || {
            sending.write_all(sent).unwrap();
            sending.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(received == sent);
    });
}

/// Relays through a tunnel of this process, checks its events, and says how it chose.
fn relays() -> (Backend, Option<String>) {
    let (server, events) = (echo_server(), Events::default());
    let tunnel = Tunnel::builder(LOCAL, server.as_str()).workers(2).sink(events.sink());
    let tunnel = Running::start_by(tunnel, Backend::Auto);
    for len in [0, 1, 10_000, 4 << 20] {
        exchange(tunnel.connect(), &bytes(len as u64, len));
    }
    events.wait_for_closes(4);
    let io = tunnel.io.clone();
    tunnel.stop();
    check_contract(&events.all());
    (io.backend, io.why)
}

/// That it relays by epoll, and that the reason has these words.
#[track_caller]
fn relays_by_epoll(words: &str) {
    let (backend, why) = relays();
    assert_eq!(backend, Backend::Epoll);
    assert!(why.as_ref().is_some_and(|why| why.contains(words)), "{why:?}");
}

#[test]
fn tunnel_with_little_lockable_memory_relays() {
    if confined(&lockable(64 * 1024)) {
        relays();
    }
}

#[test]
fn tunnel_without_lockable_memory_relays() {
    if confined(&lockable(0)) {
        relays();
    }
}

/// Shell text that starts a process with a limit of locked memory, in bytes.
fn lockable(bytes: usize) -> String {
    // Root may lock what it likes, unless it gives the right away.
    let drop = "if [ $(id -u) = 0 ]; then drop='setpriv --bounding-set=-ipc_lock'; fi;";
    format!("{drop} exec $drop prlimit --memlock={bytes}:{bytes}")
}

#[test]
fn tunnel_where_io_uring_is_eperm_relays_by_epoll() {
    if confined("exec") {
        seccomp::refuse_io_uring(libc::EPERM);
        relays_by_epoll("io_uring is not permitted here");
    }
}

#[test]
fn tunnel_where_io_uring_is_enosys_relays_by_epoll() {
    if confined("exec") {
        seccomp::refuse_io_uring(libc::ENOSYS);
        relays_by_epoll("there is no io_uring here");
    }
}

#[test]
fn tunnel_under_a_container_s_default_profile_relays_by_epoll() {
    if confined("exec") {
        seccomp::obey_a_container_s_profile();
        relays_by_epoll("io_uring is not permitted here");
    }
}

#[test]
fn tunnel_in_a_user_namespace_without_proc_relays() {
    let hide = "mount -t tmpfs none /proc; exec \"$@\"";
    let unshare = "unshare --user --map-root-user --mount";
    if confined(&format!("exec {NOBODY} {unshare} sh -ec '{hide}' sh")) {
        assert!(std::fs::read_dir("/proc").unwrap().next().is_none(), "/proc is there");
        relays();
    }
}

#[test]
fn tunnel_on_a_read_only_root_relays() {
    // The mounts below the root stay as they are, so that the test's own output has a place.
    let inner = "mount -o remount,bind,ro /; exec \"$@\"";
    if confined(&format!("exec unshare --mount sh -ec '{inner}' sh")) {
        let probe = std::fs::File::create("/probe").unwrap_err();
        assert_eq!(probe.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        relays();
    }
}

/// Sets a switch of the kernel, and puts it back when dropped.
struct Sysctl {
    path: &'static str,
    before: String,
}

impl Sysctl {
    /// `None` where the kernel has no such switch, or does not let us.
    fn set(path: &'static str, value: &str) -> Option<Self> {
        let Ok(before) = std::fs::read_to_string(path) else {
            skip_without_kernel_feature(path);
            return None;
        };
        if let Err(error) = std::fs::write(path, value) {
            skip_without_root(&format!("cannot write {path}: {error}"));
            return None;
        }
        Some(Self { path, before })
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        std::fs::write(self.path, &self.before).unwrap();
    }
}

/// Linux 6.6 has this switch: 1 leaves io_uring to those with `CAP_SYS_ADMIN`, 2 to nobody.
const IO_URING_DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";

#[test]
fn tunnel_under_each_sysctl_io_uring_disabled_relays_by_epoll() {
    if is_confined() {
        return relays_by_epoll("io_uring is not permitted here");
    }
    for value in ["1", "2"] {
        let Some(_sysctl) = Sysctl::set(IO_URING_DISABLED, value) else { return };
        confined(&format!("exec {NOBODY}"));
    }
}

#[cfg(feature = "cli")]
mod program {
    //! The program says how it talks to the kernel.

    use super::*;
    use crate::support::process::Process;
    use crate::support::verdict::judge;

    #[test]
    fn program_without_io_uring_captures_and_names_epoll_once() {
        if !confined("exec") {
            return;
        }
        seccomp::obey_a_container_s_profile();
        let (server, folder) = (echo_server(), tempfile::tempdir().unwrap());
        let path = folder.path().join("out.pcapng");
        let args = ["--from", LOCAL, "--to", &server, "--io", "auto", "-q", "-v", "--pcap"];
        let process = Process::start(&[&args[..], &[path.to_str().unwrap()]].concat());
        exchange(process.connect(), &bytes(1, 1 << 20));
        let ended = process.stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let naming: Vec<_> = ended.stderr.iter().filter(|line| line.contains("io epoll")).collect();
        assert_eq!(naming.len(), 2, "{ended:?}");
        assert!(naming[0].contains("INFO"), "{ended:?}");
        let end = "0 bytes dropped, io epoll: io_uring is not permitted here";
        assert!(naming[1].ends_with(end), "{ended:?}");
        judge(&path, &[]);
    }

    #[test]
    fn uring_where_it_is_not_permitted_is_refused_with_the_remedy() {
        if !confined("exec") {
            return;
        }
        seccomp::refuse_io_uring(libc::EPERM);
        let ended = Process::run(&["--from", LOCAL, "--to", "h:1", "--io", "uring"]);
        assert_eq!((ended.code, ended.stderr.len()), (Some(1), 1), "{ended:?}");
        let words = ["io_uring is not permitted here", "--io epoll", "io_uring_disabled=0"];
        assert!(words.iter().all(|word| ended.stderr[0].contains(word)), "{ended:?}");
    }
}
