//! Starts a program and catches each TCP connect of it and of all its descendants, without any
//! privilege.
//!
//! This layer owns the program's process, a seccomp filter with user notification, and the thread
//! that answers it. A [`Command`] goes in; a [`Request`] comes out for each connect, and the
//! program's socket, once the handler has reached the server. It does not know what is done with
//! the sockets.
//!
//! # How it works
//!
//! The program runs under a filter that stops `connect` and asks this process (seccomp_unotify(2)).
//! The address is read from the program's memory, and the [`Handler`] reaches the server first.
//! Then the program's own socket is connected to a listener of this process, and the accepted
//! socket is delivered. If the server was not reached, `connect` fails as it would have without
//! the launcher. `getpeername` is answered with the address that the program wanted.
//!
//! A socket is connected by its copy where `pidfd_getfd` is permitted. Elsewhere, as in Docker's
//! default profile, the address in the program's memory is replaced for the moment: see
//! [`Mechanism`].
//!
//! # What is left alone
//!
//! Unix, UDP and other sockets, destinations that the handler does not want, programs in another
//! network namespace, and processes that hide themselves from this user (not dumpable). The last
//! two are logged, once.
//!
//! # What differs for the program
//!
//! - `no_new_privs` is set: setuid programs and file capabilities have no effect.
//! - `io_uring_setup` fails with `ENOSYS`, TCP fast open by `MSG_FASTOPEN` with `EOPNOTSUPP`, and
//!   connects of 32-bit programs with `ENOSYS`, so that none pass unseen.
//! - A non-blocking connect whose server has not answered within 200 ms succeeds; a later failure
//!   is a reset. A blocking one waits for the handler, whatever `SO_SNDTIMEO` says.
//! - `getsockname` gives an address of the loopback device, and so do `ss` and /proc/net/tcp.
//! - A socket bound to a device other than the loopback device cannot be sent to this process.
//! - A program cannot watch the calls of another by seccomp itself.
//!
//! # The end
//!
//! The supervision ends with the last process under the filter, which may be later than the end of
//! the program: see [`Child::wait_for_descendants`]. If this process ends earlier, every later
//! connect fails with `ENOSYS`.

mod caller;
mod command;
mod error;
mod filter;
mod gate;
mod inspect;
mod names;
mod pending;
mod redirect;
mod request;
mod setup;
mod signals;
mod sockaddr;
mod supervisor;
mod sys;

pub use caller::Process;
pub use command::{Child, Command, exit_code};
pub use error::LaunchError;
pub use redirect::Mechanism;
pub use request::{Attempt, Handler, Request};
