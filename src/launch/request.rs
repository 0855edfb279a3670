//! A program's connect, as the handler sees and answers it.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::caller::Process;

/// Decides on the connects of a program and its descendants.
///
/// Its methods are called on the launcher's own thread, one after the other, and every other
/// connect of the program waits meanwhile: they must not block.
pub trait Handler: Send + 'static {
    /// Whether a connect is to be caught. Otherwise it is left wholly alone: the program connects
    /// to its server by itself.
    fn wants(&mut self, attempt: &Attempt) -> bool {
        let _ = attempt;
        true
    }

    /// Takes over a connect: reach its destination, then answer the request, from any thread and
    /// at any time.
    fn connect(&mut self, request: Request);
}

/// What is known of a program's connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where the program wants to connect to. An IPv4 address in an IPv6 socket is IPv4 here.
    pub destination: SocketAddr,
    /// The process.
    pub process: Process,
    /// Whether the program waits for the result. Otherwise it has the time that a non-blocking
    /// connect may take: after 200 ms without an answer it is connected all the same.
    pub is_blocking: bool,
}

/// Names a connect from its notification until it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RequestId(pub(super) u64);

/// Takes a program's socket, or the reason why there is none.
pub(super) type Deliver = Box<dyn FnOnce(io::Result<TcpStream>) + Send>;

/// How the handler decided.
pub(super) enum Decision {
    Connected(Deliver),
    Failed(i32),
}

/// The way from requests back to the supervisor.
#[derive(Clone)]
pub(super) struct Answers {
    pub(super) sender: Sender<(RequestId, Decision)>,
    /// An eventfd on which the supervisor waits.
    pub(super) wake: Arc<OwnedFd>,
}

impl Answers {
    fn send(&self, id: RequestId, decision: Decision) {
        // After the supervisor's end there is no program left that waits.
        if self.sender.send((id, decision)).is_ok() {
            let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        }
    }
}

/// A connect that waits for its answer. Dropped unanswered, it fails with `ECONNABORTED`.
#[must_use = "the program waits for the answer"]
pub struct Request {
    attempt: Attempt,
    id: RequestId,
    answers: Option<Answers>,
}

impl Request {
    pub(super) const fn new(attempt: Attempt, id: RequestId, answers: Answers) -> Self {
        Self { attempt, id, answers: Some(answers) }
    }

    /// The server was reached: the program's connect succeeds.
    ///
    /// `deliver` is then called once, on the launcher's thread, so that it must not block: with a
    /// blocking socket whose other end is the program's, or with an error where the program went
    /// away meanwhile, so that the server's connection is of no use.
    pub fn connected(mut self, deliver: impl FnOnce(io::Result<TcpStream>) + Send + 'static) {
        self.answer(Decision::Connected(Box::new(deliver)));
    }

    /// The server was not reached, with an error number of the operating system such as
    /// `ECONNREFUSED`: the program's connect fails in the same way.
    ///
    /// A program that was connected because it waited too long sees its connection reset.
    pub fn failed(mut self, errno: i32) {
        self.answer(Decision::Failed(errno));
    }

    fn answer(&mut self, decision: Decision) {
        if let Some(answers) = self.answers.take() {
            answers.send(self.id, decision);
        }
    }
}

impl Deref for Request {
    type Target = Attempt;

    fn deref(&self) -> &Attempt {
        &self.attempt
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.answer(Decision::Failed(libc::ECONNABORTED));
    }
}
