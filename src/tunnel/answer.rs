//! How a client learns whether its server was reached.

use std::io;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::catching::Caught;
use super::handshaking::{dismiss, write};
use super::shared::Worker;
use crate::event::{CloseReason, Connected};
use crate::ingress::{ConnectFailure, ConnectReply, ProxyRequest};
use crate::net::Socket;

/// Why a server was not reached, and what a proxy on the way said of it.
pub(super) struct Failure {
    pub(super) reason: CloseReason,
    pub(super) proxy_said: Option<ConnectFailure>,
}

impl From<CloseReason> for Failure {
    fn from(reason: CloseReason) -> Self {
        Self { reason, proxy_said: None }
    }
}

/// How a client learns whether its server was reached, and its socket.
pub(super) struct Answer {
    way: Way,
    /// What the client has sent already.
    pub(super) before: Bytes,
}

enum Way {
    /// It gets no answer. Where the server was not reached, it is reset.
    None(Socket),
    /// By the reply of its proxy protocol.
    Proxy { socket: Socket, request: ProxyRequest },
    /// By what its `connect` returns; then there is a socket.
    Caught(Option<Box<dyn Caught>>),
}

impl Answer {
    pub(super) const fn none(socket: Socket, before: Bytes) -> Self {
        Self { way: Way::None(socket), before }
    }

    pub(super) const fn proxy(socket: Socket, before: Bytes, request: ProxyRequest) -> Self {
        Self { way: Way::Proxy { socket, request }, before }
    }

    pub(super) fn caught(caught: Box<dyn Caught>) -> Self {
        Self { way: Way::Caught(Some(caught)), before: Bytes::new() }
    }

    /// The client's socket, where there is one before the server was reached.
    pub(super) const fn socket(&self) -> Option<&Socket> {
        match &self.way {
            Way::None(socket) | Way::Proxy { socket, .. } => Some(socket),
            Way::Caught(_) => None,
        }
    }

    /// Tells a client that its server was reached; its socket.
    pub(super) async fn accept(
        &mut self,
        worker: &Worker,
        connected: &Connected,
    ) -> io::Result<Socket> {
        match &mut self.way {
            Way::None(socket) => Ok(socket.clone()),
            Way::Proxy { socket, request } => {
                let local = connected.local.socket_addr();
                let reply = request.reply(ConnectReply::Connected { local });
                write(worker, socket, reply.into()).await?;
                Ok(socket.clone())
            }
            Way::Caught(caught) => {
                let caught = caught.take().ok_or(io::ErrorKind::NotConnected)?;
                let (taker, taken) = oneshot::channel();
                caught.connected(Box::new(|socket| drop(taker.send(socket))));
                let gone = |_| io::Error::from(io::ErrorKind::NotConnected);
                Socket::adopt(taken.await.map_err(gone)??)
            }
        }
    }

    /// Tells a client that its server was not reached, where there is a way to; whether it knows
    /// now, and is not to be reset.
    pub(super) async fn fail(&mut self, worker: &Worker, failure: &Failure) -> bool {
        let Failure { reason, proxy_said } = failure;
        let failure = proxy_said.unwrap_or_else(|| failure_of(reason));
        match &mut self.way {
            Way::None(_) => false,
            Way::Proxy { socket, request } => {
                let reply = request.reply(ConnectReply::Failed(failure));
                write(worker, socket, reply.into()).await.is_ok()
            }
            Way::Caught(caught) => {
                if let Some(caught) = caught.take() {
                    caught.failed(errno_of(failure, reason));
                }
                true
            }
        }
    }

    /// As [`fail`](Self::fail), for a client that has no connection yet, whose socket is closed.
    pub(super) async fn refuse(&mut self, worker: &Worker, reply: ConnectReply) {
        match &mut self.way {
            Way::None(socket) => socket.abort(),
            Way::Proxy { socket, request } => dismiss(worker, socket, request.reply(reply)).await,
            Way::Caught(caught) => {
                if let Some(caught) = caught.take() {
                    caught.failed(libc::EACCES);
                }
            }
        }
    }
}

/// What a proxy protocol makes of it.
const fn failure_of(reason: &CloseReason) -> ConnectFailure {
    use libc::{EAFNOSUPPORT, ENETDOWN, ENETUNREACH};
    match reason {
        CloseReason::Refused => ConnectFailure::Refused,
        CloseReason::ConnectTimeout => ConnectFailure::TimedOut,
        CloseReason::Unreachable { errno: ENETUNREACH | ENETDOWN } => {
            ConnectFailure::NetworkUnreachable
        }
        CloseReason::Unreachable { errno: EAFNOSUPPORT } => ConnectFailure::AddressFamily,
        CloseReason::Unreachable { .. } => ConnectFailure::HostUnreachable,
        CloseReason::ResolveFailed { .. } => ConnectFailure::ResolveFailed,
        CloseReason::Loop => ConnectFailure::Forbidden,
        _ => ConnectFailure::Other,
    }
}

/// What a program's `connect` gives.
const fn errno_of(failure: ConnectFailure, reason: &CloseReason) -> i32 {
    match (failure, reason) {
        (_, CloseReason::Unreachable { errno }) => *errno,
        (ConnectFailure::Refused | ConnectFailure::Forbidden, _) => libc::ECONNREFUSED,
        (ConnectFailure::TimedOut, _) => libc::ETIMEDOUT,
        (ConnectFailure::NetworkUnreachable, _) => libc::ENETUNREACH,
        (ConnectFailure::HostUnreachable | ConnectFailure::ResolveFailed, _) => libc::EHOSTUNREACH,
        (ConnectFailure::AddressFamily, _) => libc::EAFNOSUPPORT,
        (ConnectFailure::Other, _) => libc::ECONNABORTED,
    }
}
