//! The system calls that need `unsafe`: seccomp and its notifications, the hook between fork and
//! exec, and the disposition of signals. No other file of this layer has any.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

/// Runs `hook` in the child of `command` between fork and exec.
///
/// # Safety
///
/// This is a safe function for this layer's own use: `hook` must do nothing but system calls on
/// memory that exists already. It must not allocate or lock, because another thread of the parent
/// may have held the allocator's lock at the fork.
pub(super) fn before_exec(
    command: &mut Command,
    hook: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the only caller passes `setup::prepare`, which keeps to the rule above.
    unsafe { command.pre_exec(hook) };
}

/// Puts the calling thread under a filter, for good, and returns the descriptor on which the
/// filter reports. Async-signal-safe.
pub(super) fn install_filter(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let filters = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(u16::MAX),
        // The kernel only reads it.
        filter: program.as_ptr().cast_mut(),
    };
    // With the flag a signal does not interrupt a call that was received, so that it is not
    // reported twice. Linux 5.19 has it.
    let killable = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let mut result = Err(io::Error::from_raw_os_error(libc::EINVAL));
    for flags in [killable, 0] {
        // SAFETY: `filters` and the program that it points to outlive the call, which copies them.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | flags,
                &raw const filters,
            )
        };
        if let Ok(fd @ 0..) = RawFd::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor for the caller.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        result = Err(io::Error::last_os_error());
        if !matches!(&result, Err(error) if error.raw_os_error() == Some(libc::EINVAL)) {
            break;
        }
    }
    result
}

/// A system call that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notification {
    /// Names the waiting call.
    pub(super) id: u64,
    /// The thread that makes it.
    pub(super) tid: u32,
    pub(super) arch: u32,
    pub(super) call: u32,
    pub(super) arguments: [u64; 6],
}

/// How a waiting call ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The kernel carries it out, reading the caller's memory again.
    Continue,
    /// It is not carried out and fails with this error number.
    Fail(i32),
    /// It is not carried out and returns 0.
    Succeed,
}

/// The descriptor on which a filter reports.
#[derive(Debug)]
pub(super) struct Notifications {
    fd: OwnedFd,
    /// What the kernel writes a notification to. Its structure may be longer than the one known
    /// here, so that the kernel is asked for its length. Words, so that it is aligned.
    buffer: Vec<u64>,
    response: Vec<u64>,
}

impl Notifications {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let mut sizes = MaybeUninit::<libc::seccomp_notif_sizes>::zeroed();
        // SAFETY: the kernel fills `sizes`, which lives until after the call.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, sizes.as_mut_ptr())
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all bytes are zero or written by the kernel, and every value is valid.
        let sizes = unsafe { sizes.assume_init() };
        let words = |kernel: u16, ours: usize| {
            vec![0; usize::from(kernel).max(ours).div_ceil(size_of::<u64>())]
        };
        Ok(Self {
            fd,
            buffer: words(sizes.seccomp_notif, size_of::<libc::seccomp_notif>()),
            response: words(sizes.seccomp_notif_resp, size_of::<libc::seccomp_notif_resp>()),
        })
    }

    /// The next call that waits; `ENOENT` if its caller has just died.
    pub(super) fn receive(&mut self) -> io::Result<Notification> {
        // The kernel takes a buffer of zeros only.
        self.buffer.fill(0);
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_RECV, self.buffer.as_ptr().cast_mut().cast())?;
        // SAFETY: the buffer is aligned to 8 bytes and at least as long as the structure, and
        // the kernel has written it; every bit pattern is a valid value.
        let notif = unsafe { self.buffer.as_ptr().cast::<libc::seccomp_notif>().read() };
        Ok(Notification {
            id: notif.id,
            tid: notif.pid,
            arch: notif.data.arch,
            call: notif.data.nr.cast_unsigned(),
            arguments: notif.data.args,
        })
    }

    /// Ends a call; `ENOENT` if it waits no longer.
    pub(super) fn answer(&mut self, id: u64, answer: Answer) -> io::Result<()> {
        let (error, flags) = match answer {
            Answer::Continue => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
            Answer::Fail(errno) => (-errno, 0),
            Answer::Succeed => (0, 0),
        };
        let response = libc::seccomp_notif_resp { id, val: 0, error, flags };
        self.response.fill(0);
        // SAFETY: the buffer is aligned to 8 bytes and at least as long as the structure.
        unsafe { self.response.as_mut_ptr().cast::<libc::seccomp_notif_resp>().write(response) };
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_SEND, self.response.as_ptr().cast_mut().cast())
    }

    /// Whether a call still waits, so that what was read of its thread is not another's.
    pub(super) fn is_waiting(&self, id: u64) -> bool {
        let mut id = id;
        self.ioctl(libc::SECCOMP_IOCTL_NOTIF_ID_VALID, (&raw mut id).cast()).is_ok()
    }

    /// `argument` points to the structure that belongs to `request`.
    fn ioctl(&self, request: libc::Ioctl, argument: *mut libc::c_void) -> io::Result<()> {
        // SAFETY: each caller passes memory of its own, as long as the kernel's structure for
        // `request`, which is not referenced elsewhere during the call.
        match unsafe { libc::ioctl(self.fd.as_raw_fd(), request, argument) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl AsFd for Notifications {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a process does on a signal, to be set again later.
#[derive(Clone, Copy)]
pub(super) struct SavedAction {
    signal: i32,
    action: libc::sigaction,
}

impl SavedAction {
    /// Sets it again. Async-signal-safe.
    pub(super) fn restore(&self) {
        // SAFETY: `action` came from the kernel through the same call.
        unsafe { libc::sigaction(self.signal, &raw const self.action, ptr::null_mut()) };
    }
}

/// Ignores a signal from now on.
pub(super) fn ignore(signal: i32) -> io::Result<SavedAction> {
    set_action(signal, libc::SIG_IGN, 0)
}

/// Passes a signal on to the process of [`set_receiver`], unless it is ignored now: a program
/// that was started to ignore it, as by nohup, goes on doing so.
pub(super) fn pass_on(signal: i32) -> io::Result<SavedAction> {
    let handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) = handle;
    let saved = set_action(signal, handler as libc::sighandler_t, libc::SA_SIGINFO)?;
    if saved.action.sa_sigaction == libc::SIG_IGN {
        saved.restore();
    }
    Ok(saved)
}

fn set_action(signal: i32, action: libc::sighandler_t, flags: i32) -> io::Result<SavedAction> {
    // SAFETY: all zeros is a valid `sigaction`: no flags, an empty mask, the default action.
    let (mut new, mut old): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = flags | libc::SA_RESTART;
    // SAFETY: both structures live until after the call. The handler only reads an atomic and
    // makes one system call.
    match unsafe { libc::sigaction(signal, &raw const new, &raw mut old) } {
        0 => Ok(SavedAction { signal, action: old }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Who is sent the signals that are passed on; 0 is nobody.
static RECEIVER: AtomicI32 = AtomicI32::new(0);
/// The last signal that came while there was nobody; 0 is none.
static MISSED: AtomicI32 = AtomicI32::new(0);

/// Says who is sent the signals that are passed on, and sends what was missed. It must be a child
/// that is not reaped before this is called again, or its number could be another process's.
pub(super) fn set_receiver(pid: Option<i32>) {
    RECEIVER.store(pid.unwrap_or(0), Ordering::SeqCst);
    let missed = MISSED.swap(0, Ordering::SeqCst);
    if let Some(pid) = pid.filter(|_| missed != 0) {
        // SAFETY: it touches no memory of this process.
        unsafe { libc::kill(pid, missed) };
    }
}

extern "C" fn handle(signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid structure to a handler that was set with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    let receiver = RECEIVER.load(Ordering::SeqCst);
    // A terminal's signals reach its whole foreground group, and so the program itself.
    if code == libc::SI_KERNEL {
        return;
    }
    if receiver == 0 {
        MISSED.store(signal, Ordering::SeqCst);
    } else {
        // SAFETY: `kill` is async-signal-safe and touches no memory of this process but errno,
        // which the interrupted code expects to keep.
        unsafe {
            let errno = *libc::__errno_location();
            libc::kill(receiver, signal);
            *libc::__errno_location() = errno;
        }
    }
}
