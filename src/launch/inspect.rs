//! What a waiting call is about.

use std::io;
use std::net::SocketAddr;

use super::caller::{Caller, Network, Process};
use super::filter::NATIVE;
use super::names::BoundedMap;
use super::redirect::Target;
use super::request::Attempt;
use super::sockaddr::{MAX_LEN, Wanted, canonical, encode, parse, with_loopback};
use super::sys::{Answer, Notification, Notifications};

/// What is known of programs' sockets.
#[derive(Debug)]
pub(super) struct Known {
    /// By a connected socket's inode, the address that its program wanted, in its own family.
    pub(super) peers: BoundedMap<u64, SocketAddr>,
    /// By an address of this process, the address that a program wanted when it was sent there.
    pub(super) wanted: BoundedMap<SocketAddr, SocketAddr>,
    /// This process's own network.
    network: Network,
}

impl Known {
    pub(super) fn new() -> io::Result<Self> {
        let network = Caller { tid: std::process::id() }.network()?;
        Ok(Self { peers: BoundedMap::new(), wanted: BoundedMap::new(), network })
    }
}

/// What a waiting call is about.
pub(super) enum Call {
    /// A connect that may be caught.
    Connect(Target, Attempt),
    /// It is answered at once.
    Answer(Answer),
    /// It is answered at once, and could not be looked at.
    Unseen(Unseen),
}

/// A connect that cannot be caught, for the log.
#[derive(Debug)]
pub(super) struct Unseen {
    pub(super) what: &'static str,
    pub(super) error: Option<io::Error>,
    pub(super) answer: Answer,
}

const LEFT_ALONE: Call = Call::Answer(Answer::Continue);

pub(super) fn inspect(
    notification: &Notification,
    notifications: &Notifications,
    known: &mut Known,
) -> Call {
    let caller = Caller { tid: notification.tid };
    if notification.arch != NATIVE.audit {
        let what = "a program of another architecture is refused to connect";
        let answer = Answer::Fail(libc::ENOSYS);
        return Call::Unseen(Unseen { what, error: None, answer });
    }
    if notification.call == NATIVE.getpeername {
        let named = name_peer(caller, notification, notifications, known);
        return Call::Answer(if named.unwrap_or(false) {
            Answer::Succeed
        } else {
            Answer::Continue
        });
    }
    let found = connect(caller, notification, notifications, known);
    found.unwrap_or_else(|error| {
        // Dead callers need no answer, and are no reason to complain.
        if !notifications.is_waiting(notification.id) {
            return LEFT_ALONE;
        }
        // There is no such descriptor: the kernel says so itself.
        if error.kind() == io::ErrorKind::NotFound {
            return LEFT_ALONE;
        }
        let what = "a connect cannot be looked at and is left alone";
        Call::Unseen(Unseen { what, error: Some(error), answer: Answer::Continue })
    })
}

/// An argument that is an `int`.
fn int(argument: u64) -> i32 {
    (argument as u32).cast_signed()
}

fn connect(
    caller: Caller,
    notification: &Notification,
    notifications: &Notifications,
    known: &mut Known,
) -> io::Result<Call> {
    let [fd, pointer, len, ..] = notification.arguments;
    let (fd, len) = (int(fd), int(len));
    // The kernel refuses other lengths.
    let Ok(len @ 2..=128) = usize::try_from(len) else { return Ok(LEFT_ALONE) };
    let memory = caller.memory()?;
    if !notifications.is_waiting(notification.id) {
        return Ok(LEFT_ALONE);
    }
    // What cannot be read, the kernel cannot read either.
    let Ok(bytes) = memory.read(pointer, len.min(MAX_LEN)) else { return Ok(LEFT_ALONE) };
    let wanted = match parse(&bytes) {
        Wanted::Ip(address) => address,
        Wanted::Disconnect => {
            if let Some(inode) = caller.socket_inode(fd)? {
                known.peers.remove(&inode);
            }
            return Ok(LEFT_ALONE);
        }
        Wanted::Other => return Ok(LEFT_ALONE),
    };
    let Some(socket) = caller.tcp_socket(fd)? else { return Ok(LEFT_ALONE) };
    // A socket of the other family, or one that is connected: the kernel says what is wrong.
    if socket.is_ipv6 != wanted.is_ipv6() || known.peers.get(&socket.inode).is_some() {
        return Ok(LEFT_ALONE);
    }
    if caller.network()? != known.network {
        let what = "a program in another network namespace is left alone";
        let answer = Answer::Continue;
        return Ok(Call::Unseen(Unseen { what, error: None, answer }));
    }
    // A thread may use memory that still holds the address to which another was sent.
    let wanted = known.wanted.get(&canonical(wanted)).unwrap_or_else(|| with_loopback(wanted));
    let process: Process = caller.process()?;
    let is_blocking = caller.is_blocking(fd)?;
    let attempt = Attempt { destination: canonical(wanted), process, is_blocking };
    let pid = attempt.process.pid;
    let target = Target { caller, pid, socket, is_blocking, wanted, memory, pointer };
    Ok(Call::Connect(target, attempt))
}

/// Writes the wanted address where `getpeername` is to put it; whether that was done.
fn name_peer(
    caller: Caller,
    notification: &Notification,
    notifications: &Notifications,
    known: &Known,
) -> io::Result<bool> {
    let [fd, pointer, len_pointer, ..] = notification.arguments;
    let Some(inode) = caller.socket_inode(int(fd))? else { return Ok(false) };
    let Some(wanted) = known.peers.get(&inode) else { return Ok(false) };
    let memory = caller.memory()?;
    if !notifications.is_waiting(notification.id) {
        return Ok(false);
    }
    let len = memory.read(len_pointer, size_of::<i32>())?;
    let len = len.first_chunk().map_or(-1, |len| i32::from_ne_bytes(*len));
    let Ok(len) = usize::try_from(len) else { return Ok(false) };
    let bytes = encode(wanted);
    memory.write(pointer, &bytes[..len.min(bytes.len())])?;
    memory.write(len_pointer, &(bytes.len() as i32).to_ne_bytes())?;
    Ok(true)
}
