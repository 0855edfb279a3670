//! What happens in the child between fork and exec, and what it reports.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::filter::{NATIVE, program};
use super::sys::{SavedAction, install_filter};

/// Where the launcher's own connect goes: an address for documentation (RFC 5737). Nothing is sent
/// there.
const PROBE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 9);

/// A step that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    NoNewPrivileges,
    Filter,
    Report,
    Connect,
    PeerName,
}

const STEPS: [Step; 5] =
    [Step::NoNewPrivileges, Step::Filter, Step::Report, Step::Connect, Step::PeerName];

/// What the child does before it becomes the program. All that is needed is made before the fork.
pub(super) struct Setup {
    program: Vec<libc::sock_filter>,
    /// One end of a socket pair, on which the child reports.
    channel: OwnedFd,
    /// A socket of TCP that is not connected.
    probe: OwnedFd,
    /// What this process did on signals before it was the launcher.
    actions: Vec<SavedAction>,
}

impl Setup {
    pub(super) fn new(channel: OwnedFd, actions: Vec<SavedAction>) -> io::Result<Self> {
        let probe = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        Ok(Self { program: program(&NATIVE), channel, probe: probe.into(), actions })
    }

    /// Runs in the child: system calls only, no allocation and no lock.
    pub(super) fn run(&self) -> io::Result<()> {
        self.actions.iter().for_each(SavedAction::restore);
        // The kernel takes a filter from an unprivileged process only with it, and without it a
        // setuid program would run, with privileges, under a filter of its caller's.
        self.check(Step::NoNewPrivileges, || Ok(rustix::thread::set_no_new_privs(true)?))?;
        let notifications = self.check(Step::Filter, || install_filter(&self.program))?;
        self.check(Step::Report, || self.report(0, 0, Some(&notifications)))?;
        drop(notifications);
        self.check(Step::Connect, || Ok(rustix::net::connect(&self.probe, &PROBE)?))?;
        self.check(Step::PeerName, || {
            let peer = rustix::net::getpeername(&self.probe)?;
            match peer.and_then(|peer| SocketAddr::try_from(peer).ok()) {
                Some(peer) if peer == SocketAddr::from(PROBE) => Ok(()),
                _ => Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL)),
            }
        })
    }

    fn check<T>(&self, step: Step, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        run().inspect_err(|error| {
            let index = STEPS.iter().position(|known| *known == step).unwrap_or(0);
            let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
            // The launcher sees at least that there was no report.
            let _ = self.report(index as u8 + 1, errno, None);
        })
    }

    /// Sends a step that failed, or the descriptor of a filter where none has.
    fn report(&self, failed: u8, errno: i32, fd: Option<&OwnedFd>) -> io::Result<()> {
        let [a, b, c, d] = errno.to_ne_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(AsFd::as_fd);
        if !fds.as_slice().is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(fds.as_slice()));
        }
        let message = [failed, a, b, c, d];
        let message = [IoSlice::new(&message)];
        sendmsg(&self.channel, &message, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

/// What the child has reported.
#[derive(Debug)]
pub(super) enum Report {
    /// It is under the filter, which reports on this descriptor.
    Filtered(OwnedFd),
    /// A step failed.
    Failed(Step, io::Error),
    /// It ended, or became the program.
    Closed,
}

/// The next report of a child, on the other end of its channel.
pub(super) fn receive(channel: &OwnedFd) -> io::Result<Report> {
    let mut message = [0; 5];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(channel, &mut [IoSliceMut::new(&mut message)], &mut ancillary, flags)?;
    if received.bytes < message.len() {
        return Ok(Report::Closed);
    }
    let [failed, a, b, c, d] = message;
    if let Some(step) = usize::from(failed).checked_sub(1) {
        let step = STEPS.get(step).copied().unwrap_or(Step::Report);
        let error = io::Error::from_raw_os_error(i32::from_ne_bytes([a, b, c, d]));
        return Ok(Report::Failed(step, error));
    }
    let fds = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fds.map(Report::Filtered).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
