//! What is left alone, and what cannot be caught.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{TcpStream, UdpSocket};
use std::process::Stdio;
use std::thread;

use super::caught::{Launcher, MECHANISMS, Ran, echo_server, http_server};

#[test]
fn udp_and_unix_sockets_are_left_alone() {
    let launcher = Launcher::new();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = udp.local_addr().unwrap().port().to_string();
    thread::spawn(move || {
        let mut bytes = [0; 100];
        while let Ok((len, from)) = udp.recv_from(&mut bytes) {
            udp.send_to(&bytes[..len], from).unwrap();
        }
    });
    let script = "
import os, socket, sys, tempfile
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.connect(('127.0.0.1', int(sys.argv[1])))
u.send(b'udp'); print(u.recv(3), u.getpeername()[0])
with tempfile.TemporaryDirectory() as d:
    l = socket.socket(socket.AF_UNIX); l.bind(d + '/s'); l.listen()
    c = socket.socket(socket.AF_UNIX); c.connect(d + '/s')
    l.accept()[0].send(b'unix'); print(c.recv(4), c.getpeername() == d + '/s')
try: socket.socket(socket.AF_UNIX).connect('/no/such/socket')
except OSError as e: print(repr(e))
a, b = socket.socketpair(); a.send(b'pair'); print(b.recv(4), repr(a.getpeername()))
";
    let (ran, seen) = launcher.same(&["python3", "-c", script, &port]);
    assert!(ran.stdout.starts_with("b'udp' 127.0.0.1\nb'unix' True\nFileNotFoundError"), "{ran:?}");
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn destination_that_is_not_wanted_is_left_alone() {
    let launcher = Launcher::new();
    let (wanted, other) = (http_server(), http_server());
    let script = "curl -s $0 | wc -c; curl -s $1 | wc -c";
    let urls = [wanted, other].map(|server| format!("http://{server}/"));
    for mechanism in MECHANISMS {
        let port = other.port().to_string();
        let options = [mechanism, "--leave", &port];
        let ran =
            Ran::of(&mut launcher.command(&options, &["sh", "-c", script, &urls[0], &urls[1]]));
        assert_eq!(ran.stdout, "2048\n2048\n");
        assert_eq!(launcher.seen(), [format!("{wanted} connected")]);
    }
}

#[test]
fn misused_sockets_fail_as_without_the_launcher() {
    let launcher = Launcher::new();
    let server = echo_server("127.0.0.1:0");
    let script = "
import ctypes, errno, os, socket, sys
port = int(sys.argv[1])
def code(s, to): return errno.errorcode.get(s.connect_ex(to), 'none')
s = socket.socket()
print('first', code(s, ('127.0.0.1', port)))
print('again', code(s, ('127.0.0.1', port)))
# AF_UNSPEC disconnects; then the socket may connect elsewhere.
libc = ctypes.CDLL(None, use_errno=True)
def last(): return errno.errorcode[ctypes.get_errno()]
print('disconnect', libc.connect(s.fileno(), b'\\0' * 16, 16))
try: s.getpeername()
except OSError as e: print(repr(e))
print('elsewhere', code(s, ('127.0.0.1', port)), s.getpeername()[1] == port)
s = socket.socket()
print('bad pointer', libc.connect(s.fileno(), ctypes.c_void_p(8), 16), last())
print('short', libc.connect(s.fileno(), b'\\2\\0', 2), last())
print('long', libc.connect(s.fileno(), b'\\2\\0', 200), last())
print('no socket', libc.connect(0, b'\\2\\0' + b'\\0' * 14, 16), last())
print('no descriptor', libc.connect(999, b'\\2\\0' + b'\\0' * 14, 16), last())
l = socket.socket(); l.listen()
print('listening', code(l, ('127.0.0.1', port)))
six = (b'\\x0a\\0' + b'\\0\\x50' + b'\\0' * 24)
print('other family', libc.connect(socket.socket().fileno(), six, 28), last())
buf = ctypes.create_string_buffer(b'x' * 32, 32); n = ctypes.c_int(4)
c = socket.socket(); c.connect(('127.0.0.1', port))
print('short name', libc.getpeername(c.fileno(), buf, ctypes.byref(n)), n.value, buf.raw[4:8])
n = ctypes.c_int(-1)
print('bad length', libc.getpeername(c.fileno(), buf, ctypes.byref(n)), last())
print('unspecified', code(socket.socket(), ('0.0.0.0', port)))
b = socket.socket(); b.bind(('127.0.0.1', 0))
print('bound', code(b, ('127.0.0.1', port)), b.getsockname()[0])
";
    let (ran, _) = launcher.same(&["python3", "-c", script, &server.port().to_string()]);
    assert!(ran.stdout.starts_with("first none\nagain EISCONN\ndisconnect 0\n"), "{ran:?}");
    assert!(ran.stdout.contains("elsewhere none True\n"), "{ran:?}");
}

#[test]
fn ways_past_connect_are_closed() {
    let launcher = Launcher::new();
    let server = echo_server("127.0.0.1:0");
    let script = "
import ctypes, errno, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(425, 8, ctypes.create_string_buffer(200)), errno.errorcode[ctypes.get_errno()])
try: socket.socket().sendto(b'hello', 0x20000000, ('127.0.0.1', int(sys.argv[1])))
except OSError as e: print(e.errno == errno.EOPNOTSUPP)
try: socket.socket().sendmsg([b'hello'], [], 0x20000000, ('127.0.0.1', int(sys.argv[1])))
except OSError as e: print(e.errno == errno.EOPNOTSUPP)
";
    let port = server.port().to_string();
    let ran = Ran::of(&mut launcher.command(&[], &["python3", "-c", script, &port]));
    assert_eq!(ran.stdout, "-1 ENOSYS\nTrue\nTrue\n", "{ran:?}");
    assert!(launcher.seen().is_empty());
}

/// Needs a kernel that runs 32-bit programs (CONFIG_IA32_EMULATION).
#[cfg(target_arch = "x86_64")]
#[test]
fn connect_of_another_architecture_is_refused() {
    let launcher = Launcher::new();
    let source = r#"
#include <stdio.h>
static long call(long nr, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c)
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}
int main(void) {
    /* getpid, connect, socketcall(connect), socketcall(bind), io_uring_setup as i386 has them */
    printf("%d %ld %ld %ld %ld\n", call(20, 0, 0, 0) > 0, call(362, -1, 0, 0), call(102, 3, 0, 0),
           call(102, 2, 0, 0), call(425, 1, 0, 0));
    return 0;
}
"#;
    let program = super::caught::compile(launcher.folder.path(), "i386", source);
    let ran = Ran::of(&mut launcher.command(&[], &[&program]));
    // 38 is ENOSYS, 14 is EFAULT: the call for another purpose was carried out.
    assert_eq!(ran.stdout, "1 -38 -38 -14 -38\n", "{ran:?}");
}

/// Needs user and network namespaces.
#[test]
fn program_in_another_network_is_left_alone() {
    let launcher = Launcher::new();
    let script = "
import socket
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
c = socket.socket(); c.connect(l.getsockname()); print(c.getpeername() == l.getsockname())
";
    let program = [
        "unshare",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        "ip link set lo up && exec python3 -c \"$0\"",
        script,
    ];
    let (ran, seen) = launcher.same(&program);
    assert_eq!(ran.stdout, "True\n", "{ran:?}");
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn own_listener_of_a_program_is_a_server_too() {
    let launcher = Launcher::new();
    let script = "
import socket, threading
l = socket.socket(); l.bind(('127.0.0.1', 0)); l.listen()
c = socket.socket(); c.connect(l.getsockname())
s, _ = l.accept(); c.sendall(b'hello'); print(s.recv(5)); s.close(); print(c.recv(5))
";
    // Its port is another one in each run.
    for mechanism in MECHANISMS {
        let ran = Ran::of(&mut launcher.command(&[mechanism], &["python3", "-c", script]));
        assert_eq!(ran.stdout, "b'hello'\nb''\n", "{ran:?}");
        assert_eq!(launcher.seen().len(), 1);
    }
}

/// A stranger who connects to the launcher's own listener is reset.
#[test]
fn stranger_at_the_gate_is_reset() {
    let launcher = Launcher::new();
    let mut program = launcher.command(&[], &["sh", "-c", "ss -Htln; read line"]);
    let mut program = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
    // No other listener on this machine is bound to the device.
    let mut ports =
        lines.filter_map(|line| line.split_once("%lo:").map(|(_, rest)| rest.to_owned()));
    let port = ports.next().expect("the launcher listens on the loopback device");
    let port: u16 = port.split_whitespace().next().unwrap().parse().unwrap();
    let mut stranger = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let error = stranger.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    drop(program.stdin.take());
    program.wait().unwrap();
}
