//! Asks the kernel about sockets of this machine (`NETLINK_SOCK_DIAG`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h, and `NLM_F_REQUEST` of linux/netlink.h.
const BY_FAMILY: u16 = 20;
const REQUEST: u16 = 1;
/// `struct nlmsghdr` of linux/netlink.h.
const HEADER_LEN: usize = 16;
/// That and `struct inet_diag_req_v2` of linux/inet_diag.h.
const QUESTION_LEN: usize = HEADER_LEN + 56;
/// Where `idiag_inode` stands in `struct inet_diag_msg` of linux/inet_diag.h.
const INODE_AT: usize = HEADER_LEN + 68;

/// A connection to the kernel's socket diagnostics.
pub(crate) struct Diagnostics(OwnedFd);

impl Diagnostics {
    /// Fails where a sandbox forbids netlink.
    pub(crate) fn open() -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
        let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
        Ok(Self(socket))
    }

    /// The inode of this machine's TCP socket that is bound to `local` and connected to `remote`;
    /// none where there is no such socket, or no process has it any longer.
    pub(crate) fn inode(&self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u64>> {
        send(&self.0, &question(local, remote), SendFlags::empty())?;
        let mut answer = [0; 1024];
        // The kernel has answered by now, while it took the question.
        let (len, _) = recv(&self.0, &mut answer, RecvFlags::DONTWAIT)?;
        Ok(inode_in(&answer[..len]))
    }
}

fn question(local: SocketAddr, remote: SocketAddr) -> [u8; QUESTION_LEN] {
    let mut question = [0; QUESTION_LEN];
    let mut put = |at: usize, bytes: &[u8]| question[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &(QUESTION_LEN as u32).to_ne_bytes());
    put(4, &BY_FAMILY.to_ne_bytes());
    put(6, &REQUEST.to_ne_bytes());
    let family = if local.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    put(HEADER_LEN, &[family as u8, libc::IPPROTO_TCP as u8]);
    // In any state.
    put(HEADER_LEN + 4, &u32::MAX.to_ne_bytes());
    put(HEADER_LEN + 8, &local.port().to_be_bytes());
    put(HEADER_LEN + 10, &remote.port().to_be_bytes());
    for (at, address) in [(12, local), (28, remote)] {
        match address.ip() {
            IpAddr::V4(ip) => put(HEADER_LEN + at, &ip.octets()),
            IpAddr::V6(ip) => put(HEADER_LEN + at, &ip.octets()),
        }
    }
    // `INET_DIAG_NOCOOKIE`, twice.
    put(HEADER_LEN + 48, &[0xff; 8]);
    question
}

/// The inode in an answer; none in an error, or where a socket belongs to nobody.
fn inode_in(answer: &[u8]) -> Option<u64> {
    let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
    let inode = u32::from_ne_bytes(*answer.get(INODE_AT..)?.first_chunk()?);
    (kind == BY_FAMILY && inode != 0).then_some(inode.into())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn inode_of_each_end_of_a_connection_is_found() {
        let diagnostics = Diagnostics::open().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                assert!(address.starts_with('['), "there may be no IPv6");
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let server = listener.accept().unwrap().0;
            for end in [&client, &server] {
                let (local, remote) = (end.local_addr().unwrap(), end.peer_addr().unwrap());
                let inode = rustix::fs::fstat(end.as_fd()).unwrap().st_ino;
                assert_eq!(diagnostics.inode(local, remote).unwrap(), Some(inode));
            }
            let ends = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            drop((client, server));
            assert_eq!(diagnostics.inode(ends.0, ends.1).unwrap(), None);
        }
    }

    #[test]
    fn error_and_cut_answer_have_no_inode() {
        assert_eq!(inode_in(&[]), None);
        assert_eq!(inode_in(&[1; INODE_AT + 4]), None, "another kind of message");
        let mut answer = [1; INODE_AT + 4];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        assert_eq!(inode_in(&answer), Some(0x0101_0101));
        assert_eq!(inode_in(&answer[..INODE_AT + 3]), None);
        answer[INODE_AT..].fill(0);
        assert_eq!(inode_in(&answer), None);
    }
}
