//! What /proc tells of a thread that makes a system call: its memory, its sockets, its process.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, fstat, getxattr, readlink, stat};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// A thread that waits in a system call, by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub(super) tid: u32,
}

/// The process that a connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its number, as this process sees it.
    pub pid: u32,
    /// Its name (`comm`): the program's file name, of which the kernel keeps 15 bytes, unless the
    /// program changed it.
    pub name: Arc<str>,
}

/// A network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    device: u64,
    inode: u64,
}

/// A TCP socket of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpSocket {
    pub(super) fd: i32,
    /// Identifies the socket, whatever descriptors it has.
    pub(super) inode: u64,
    pub(super) is_ipv6: bool,
}

impl Caller {
    pub(super) fn memory(self) -> io::Result<Memory> {
        let path = format!("/proc/{}/mem", self.tid);
        File::options().read(true).write(true).open(path).map(Memory)
    }

    /// The socket at a descriptor; none if it is not TCP's.
    pub(super) fn tcp_socket(self, fd: i32) -> io::Result<Option<TcpSocket>> {
        // What lsof asks for; it names the protocol as /proc/net/protocols does.
        let path = format!("/proc/{}/fd/{fd}", self.tid);
        let mut name = [0; 32];
        let len = match getxattr(&*path, "system.sockprotoname", &mut name) {
            Ok(len) => len,
            // No socket, or one of a family that does not tell.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NODATA) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let name = name[..len].split(|byte| *byte == 0).next().unwrap_or_default();
        let is_ipv6 = match name {
            b"TCP" | b"MPTCP" => false,
            b"TCPv6" | b"MPTCPv6" => true,
            _ => return Ok(None),
        };
        let inode = self.socket_inode(fd)?;
        Ok(inode.map(|inode| TcpSocket { fd, inode, is_ipv6 }))
    }

    /// The inode of the socket at a descriptor; none if there is no socket.
    pub(super) fn socket_inode(self, fd: i32) -> io::Result<Option<u64>> {
        let link = readlink(format!("/proc/{}/fd/{fd}", self.tid), Vec::new())?;
        let link = link.to_str().unwrap_or_default();
        let number = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        Ok(number.and_then(|number| number.parse().ok()))
    }

    /// Whether calls on the socket wait (the descriptor has no `O_NONBLOCK`).
    pub(super) fn is_blocking(self, fd: i32) -> io::Result<bool> {
        let info = read_start(&format!("/proc/{}/fdinfo/{fd}", self.tid))?;
        let flags = field(&info, "flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok());
        let flags = flags.ok_or(io::ErrorKind::InvalidData)?;
        Ok(flags & OFlags::NONBLOCK.bits() == 0)
    }

    pub(super) fn process(self) -> io::Result<Process> {
        let status = read_start(&format!("/proc/{}/status", self.tid))?;
        let pid = field(&status, "Tgid:").and_then(|pid| pid.parse().ok());
        let pid: u32 = pid.ok_or(io::ErrorKind::InvalidData)?;
        // A thread may have a name of its own; the process has that of its first thread.
        let name = if pid == self.tid {
            field(&status, "Name:").unwrap_or_default().to_owned()
        } else {
            read_start(&format!("/proc/{pid}/comm"))?.trim_end_matches('\n').to_owned()
        };
        Ok(Process { pid, name: name.into() })
    }

    /// The network whose loopback addresses it reaches.
    pub(super) fn network(self) -> io::Result<Network> {
        let found = stat(format!("/proc/{}/ns/net", self.tid))?;
        Ok(Network { device: found.st_dev, inode: found.st_ino })
    }

    /// A descriptor of this process for a socket of the caller's process.
    pub(super) fn copy_socket(self, pid: u32, socket: TcpSocket) -> io::Result<SocketCopy> {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pidfd = pidfd_open(pid.ok_or(io::ErrorKind::InvalidData)?, PidfdFlags::empty())?;
        let copy = pidfd_getfd(pidfd, socket.fd, PidfdGetfdFlags::empty())?;
        // A thread may have descriptors of its own (`unshare(CLONE_FILES)`).
        if fstat(&copy)?.st_ino != socket.inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(SocketCopy(copy))
    }
}

/// A program's socket, under a descriptor of this process.
#[derive(Debug)]
pub(super) struct SocketCopy(OwnedFd);

impl SocketCopy {
    /// Begins to connect it and does not wait. The error is the program's.
    pub(super) fn connect(&self, to: std::net::SocketAddr, is_blocking: bool) -> io::Result<()> {
        let fd = self.0.as_fd();
        if !is_blocking {
            return Ok(rustix::net::connect(fd, &to)?);
        }
        // The flag belongs to the open socket, not to the descriptor. Nobody else is known to use
        // the socket before it is connected.
        let flags = fcntl_getfl(fd)?;
        fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
        let result = rustix::net::connect(fd, &to);
        fcntl_setfl(fd, flags)?;
        Ok(result?)
    }
}

/// The memory of a program.
#[derive(Debug)]
pub(super) struct Memory(File);

impl Memory {
    pub(super) fn read(&self, pointer: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.0.read_exact_at(&mut bytes, pointer)?;
        Ok(bytes)
    }

    pub(super) fn write(&self, pointer: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, pointer)
    }
}

/// The first bytes of a file, which hold what is asked for here.
fn read_start(path: &str) -> io::Result<String> {
    let mut bytes = [0; 512];
    let len = File::open(path)?.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
}

/// The value in a line that begins with `name`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn myself() -> Caller {
        Caller { tid: rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned() }
    }

    #[test]
    fn sockets_are_told_apart() {
        let (ipv4, ipv6) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("[::1]:0"));
        let socket = |fd: i32| myself().tcp_socket(fd).unwrap();
        let ipv4 = ipv4.unwrap();
        let found = socket(ipv4.as_raw_fd()).unwrap();
        assert!(!found.is_ipv6);
        assert_eq!(found.inode, fstat(&ipv4).unwrap().st_ino);
        if let Ok(ipv6) = ipv6 {
            assert!(socket(ipv6.as_raw_fd()).unwrap().is_ipv6);
        }
        assert_eq!(socket(UdpSocket::bind("127.0.0.1:0").unwrap().as_raw_fd()), None);
        assert_eq!(socket(UnixDatagram::unbound().unwrap().as_raw_fd()), None);
        assert_eq!(socket(File::open("/dev/null").unwrap().as_raw_fd()), None);
        assert!(myself().tcp_socket(1_000_000).is_err());
    }

    #[test]
    fn flag_of_a_socket_is_seen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(myself().is_blocking(listener.as_raw_fd()).unwrap());
        listener.set_nonblocking(true).unwrap();
        assert!(!myself().is_blocking(listener.as_raw_fd()).unwrap());
    }

    #[test]
    fn process_of_a_thread_is_named_as_its_first_thread() {
        let pid = std::process::id();
        let main = Caller { tid: pid }.process().unwrap();
        assert_eq!(main.pid, pid);
        let named = std::thread::Builder::new().name("another name".to_owned());
        let of_thread = named.spawn(|| myself().process().unwrap()).unwrap().join().unwrap();
        assert_eq!(of_thread, main);
        assert_eq!(myself().network().unwrap(), Caller { tid: pid }.network().unwrap());
    }

    #[test]
    fn memory_is_read_and_written() {
        let cell = Box::new(*b"before");
        let memory = myself().memory().unwrap();
        let pointer = cell.as_ptr() as u64;
        assert_eq!(memory.read(pointer, 6).unwrap(), b"before");
        memory.write(pointer, b"after!").unwrap();
        assert_eq!(std::hint::black_box(&*cell), b"after!");
        assert!(memory.read(8, 6).is_err());
    }
}
