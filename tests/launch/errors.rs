//! Connects that fail: the program sees what it would see without the launcher.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::caught::{
    ClosedPort, Launcher, MECHANISMS, Ran, command, compile, echo_server, open_folder,
};

/// In a network of its own that has a loopback device and no route anywhere. Needs network and
/// user namespaces.
const NO_ROUTE: [&str; 7] =
    ["unshare", "--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"];

const ALL_KINDS: &str = "
import asyncio, errno, select, socket, sys
host, port = sys.argv[1], int(sys.argv[2])
family = socket.AF_INET6 if ':' in host else socket.AF_INET
s = socket.socket(family)
try: s.connect((host, port))
except OSError as e: print('blocking', repr(e))
s = socket.socket(family)
s.setblocking(False)
print('at once', errno.errorcode.get(s.connect_ex((host, port))))
select.select([], [s], [], 5)
print('later', errno.errorcode.get(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 'none'))
try: s.getpeername()
except OSError as e: print('peer', repr(e))
async def main():
    try: await asyncio.open_connection(host, port)
    except OSError as e: print('asyncio', e)
asyncio.run(main())
";

fn python<'a>(script: &'a str, host: &'a str, port: &'a str) -> [&'a str; 5] {
    ["python3", "-c", script, host, port]
}

#[test]
fn refused_connect_looks_as_without_the_launcher() {
    let (launcher, closed) = (Launcher::new(), ClosedPort::new());
    let port = closed.port().to_string();
    let (ran, seen) = launcher.same(&python(ALL_KINDS, "127.0.0.1", &port));
    assert!(ran.stdout.contains("at once EINPROGRESS\nlater ECONNREFUSED\n"), "{ran:?}");
    assert_eq!(seen.len(), 3);
}

/// Needs IPv6 on the loopback device.
#[test]
fn refused_connect_of_ipv6_looks_as_without_the_launcher() {
    let launcher = Launcher::new();
    // Bound to IPv6 and not listening.
    let closed = Socket::new(Domain::IPV6, Type::STREAM, None).unwrap();
    closed.bind(&SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 0)).into()).unwrap();
    let port = closed.local_addr().unwrap().as_socket().unwrap().port().to_string();
    let (ran, seen) = launcher.same(&python(ALL_KINDS, "::1", &port));
    assert!(ran.stdout.contains("at once EINPROGRESS\nlater ECONNREFUSED\n"), "{ran:?}");
    assert_eq!(seen.len(), 3);
}

#[test]
fn unreachable_network_looks_as_without_the_launcher() {
    let launcher = Launcher::new();
    for host in ["192.0.2.1", "2001:db8::1"] {
        let (ran, seen) = launcher.same_with(&NO_ROUTE, &python(ALL_KINDS, host, "80"));
        assert!(ran.stdout.contains("at once ENETUNREACH\n"), "{ran:?}");
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(|seen| seen.contains("Network is unreachable")), "{seen:?}");
    }
    for program in [
        ["curl", "-sS", "http://192.0.2.1/"],
        ["wget", "-nv", "http://192.0.2.1/"],
        ["bash", "-c", "exec 3<>/dev/tcp/192.0.2.1/80"],
    ] {
        let (ran, _) = launcher.same_with(&NO_ROUTE, &program);
        assert_ne!(ran.code, Some(0));
    }
}

/// A server whose queue is full, so that it does not answer: connects to it hang until the
/// listener takes the first.
struct Hanging {
    listener: TcpListener,
    _queue: Vec<Socket>,
}

impl Hanging {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap();
        // The queue takes one more than its length; the others are what else may fit in.
        let queue = (0..4).map(|_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&address);
            client
        });
        let queue = queue.collect();
        Self { listener: socket.into(), _queue: queue }
    }

    fn port(&self) -> String {
        self.listener.local_addr().unwrap().port().to_string()
    }
}

#[test]
fn blocking_connect_times_out_as_the_handler_says() {
    let (launcher, server) = (Launcher::new(), Hanging::new());
    let script = "
import socket, sys
try: socket.create_connection((sys.argv[1], int(sys.argv[2])))
except OSError as e: print(repr(e))
";
    for mechanism in MECHANISMS {
        let options = [mechanism, "--timeout", "300"];
        let program = python(script, "127.0.0.1", &server.port()).map(str::to_owned);
        let program: Vec<_> = program.iter().map(String::as_str).collect();
        let ran = Ran::of(&mut launcher.command(&options, &program));
        assert_eq!(ran.stdout, "TimeoutError(110, 'Connection timed out')\n", "{ran:?}");
    }
}

#[test]
fn connect_that_does_not_block_is_reset_when_its_server_fails_late() {
    let (launcher, server) = (Launcher::new(), Hanging::new());
    let script = "
import select, socket, sys
s = socket.socket()
s.setblocking(False)
s.connect_ex((sys.argv[1], int(sys.argv[2])))
select.select([], [s], [])
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.getpeername()[0])
s.setblocking(True)
try: print(s.recv(1))
except OSError as e: print(repr(e))
";
    for mechanism in MECHANISMS {
        let options = [mechanism, "--timeout", "600"];
        let port = server.port();
        let ran = Ran::of(&mut launcher.command(&options, &python(script, "127.0.0.1", &port)));
        let expected = "0 127.0.0.1\nConnectionResetError(104, 'Connection reset by peer')\n";
        assert_eq!(ran.stdout, expected, "{mechanism} {ran:?}");
    }
}

#[test]
fn connect_that_does_not_block_goes_on_when_its_server_answers_late() {
    let launcher = Launcher::new();
    let script = "
import select, socket, sys
s = socket.socket()
s.setblocking(False)
s.connect_ex((sys.argv[1], int(sys.argv[2])))
select.select([], [s], [])
s.setblocking(True)
print('connected', flush=True)
s.sendall(b'early')
print(s.recv(5))
";
    for mechanism in MECHANISMS {
        let server = Hanging::new();
        let port = server.port();
        let mut caught = launcher.command(&[mechanism], &python(script, "127.0.0.1", &port));
        let mut caught = caught.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut stdout = caught.stdout.take().unwrap();
        let mut said = [0; 10];
        stdout.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"connected\n");
        // The clients in the queue never say anything; the program's connection does.
        thread::spawn(move || {
            for stream in server.listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut bytes = [0; 5];
                    if stream.read_exact(&mut bytes).is_ok() {
                        let _ = stream.write_all(&bytes);
                    }
                });
            }
        });
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "b'early'\n", "{mechanism}");
        assert!(caught.wait().unwrap().success());
    }
}

#[test]
fn address_in_memory_is_as_the_program_left_it() {
    let launcher = Launcher::new();
    let folder = open_folder();
    let source = r#"
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
/* The address stands in memory that the program itself cannot write. */
int main(int count, char **args) {
    for (int nonblocking = 0; nonblocking < 2; nonblocking++) {
        struct sockaddr_in *a = mmap(0, 4096, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        struct sockaddr_in want = {.sin_family = AF_INET, .sin_port = htons(atoi(args[1]))};
        want.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        *a = want;
        mprotect(a, 4096, PROT_READ);
        int fd = socket(AF_INET, SOCK_STREAM | (nonblocking ? SOCK_NONBLOCK : 0), 0);
        int result = connect(fd, (void *)a, sizeof *a), code = errno;
        struct pollfd p = {fd, POLLOUT, 0};
        poll(&p, 1, -1);
        /* Long after the connect it has certainly been written back. */
        for (int i = 0; i < 5000 && memcmp(a, &want, sizeof want); i++) usleep(1000);
        printf("%d %s %s\n", result, result ? strerror(code) : "-",
               memcmp(a, &want, sizeof want) ? "changed" : "as before");
    }
    return 0;
}
"#;
    let program = compile(folder.path(), "memory", source);
    let (server, closed) = (echo_server("127.0.0.1:0"), ClosedPort::new());
    for port in [server.port(), closed.port()] {
        let (ran, seen) = launcher.same(&[&program, &port.to_string()]);
        assert_eq!(ran.stdout.matches("as before").count(), 2, "{ran:?}");
        assert_eq!(seen.len(), 2);
    }
}

#[test]
fn missing_program_and_its_like_end_as_in_a_shell() {
    let launcher = Launcher::new();
    let folder = open_folder();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    for (program, code, words) in [
        ("no-such-program", 127, "there is no such program (check its name, and PATH)"),
        (plain.to_str().unwrap(), 126, "(is it an executable file?)"),
        ("/", 126, "(is it an executable file?)"),
    ] {
        let ran = Ran::of(&mut launcher.command(&[], &[program]));
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(words) && ran.stderr.lines().count() == 1, "{ran:?}");
    }
}

/// The kernel permits one program to watch the calls of another: a launcher under the launcher is
/// refused before its program starts.
#[test]
fn launcher_under_a_launcher_is_refused_in_one_line() {
    let launcher = Launcher::new();
    let inner = launcher.path.to_str().unwrap();
    let ran = Ran::of(&mut launcher.command(&[], &[inner, "echo", "it ran"]));
    assert_eq!((ran.code, &*ran.stdout), (Some(1), ""), "{ran:?}");
    assert!(ran.stderr.contains("another program already watches the calls"), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1);
}

/// Without /proc nothing can be known of a program: it is refused before it starts. Needs user and
/// mount namespaces.
#[test]
fn missing_proc_is_told_in_one_line() {
    let launcher = Launcher::new();
    let script = "mount -t tmpfs none /proc && exec \"$0\" echo 'it ran'";
    let by = ["unshare", "--map-root-user", "--mount", "sh", "-c", script];
    let ran = Ran::of(&mut command(&[&by[..], &[launcher.path.to_str().unwrap()]].concat()));
    assert_eq!((ran.code, &*ran.stdout), (Some(1), ""), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    assert!(ran.stderr.contains("/proc has to be mounted"), "{ran:?}");
}
