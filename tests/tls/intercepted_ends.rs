//! How a connection ends whose TLS is intercepted: as it was ended, on the other side.

use std::process::Command;

use tempfile::tempdir;

use crate::support::process::Process;
use crate::support::server::make_certificate;

/// Connects through the tunnel and has the one who is named end the connection in one of the ways;
/// prints how the other learned of it.
const ENDS: &str = r#"
import select, socket, ssl, struct, sys, threading
folder, tunnel, by, how = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
listener = socket.socket(fileno=int(sys.argv[5]))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
sides = {}
def serve():
    plain, _ = listener.accept()
    sides["server"] = context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False)
thread = threading.Thread(target=serve)
thread.start()
trust = ssl.create_default_context(cafile=folder + "/ca/ca.pem")
plain = socket.create_connection(("127.0.0.1", tunnel))
client = trust.wrap_socket(plain, server_hostname="srv.test", suppress_ragged_eofs=False)
thread.join()
sides["client"] = client
client.sendall(b"hello")
assert sides["server"].recv(100) == b"hello"
sides["server"].sendall(b"hello")
assert client.recv(100) == b"hello"
one, other = (sides["client"], sides["server"])
if by == "server":
    one, other = other, one
if how == "close_notify":
    one.settimeout(60)
    threading.Thread(target=lambda: one.unwrap().close(), daemon=True).start()
elif how == "fin":
    one.shutdown(socket.SHUT_WR)
else:
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.close()
poll = select.poll()
poll.register(other, select.POLLIN)
if poll.poll()[0][1] & select.POLLERR:
    # What ssl makes of a reset is the same as what it makes of FIN.
    print("rst")
    sys.exit()
try:
    print("close_notify" if other.recv(100) == b"" else "data")
except ssl.SSLEOFError:
    print("fin")
"#;

#[test]
fn end_by_each_peer_is_the_same_end_for_the_other() {
    let folder = tempdir().unwrap();
    make_certificate(folder.path());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let args = ["--from", "127.0.0.1:0", "--to", &address, "-q", "--tls", "intercept"];
    let files = ["--tls-trust", "cert.pem", "--tls-ca", "ca"];
    let tunnel = Process::start_in(folder.path(), &[&args[..], &files].concat());
    let port = tunnel.addresses[0].port().to_string();
    let descriptor = inherited(&listener);
    for by in ["client", "server"] {
        for how in ["close_notify", "fin", "rst"] {
            let ran = Command::new("python3")
                .args(["-c", ENDS, folder.path().to_str().unwrap(), &port, by, how, &descriptor])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), how, "by the {by}: {ran:?}");
        }
    }
    assert_eq!(tunnel.stop().code, Some(0));
}

/// The number of a descriptor that programs that are started inherit.
fn inherited(listener: &std::net::TcpListener) -> String {
    use std::os::fd::AsRawFd;
    rustix::io::fcntl_setfd(listener, rustix::io::FdFlags::empty()).unwrap();
    listener.as_raw_fd().to_string()
}
