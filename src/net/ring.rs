//! The data ring of a worker: every payload byte is received and sent through it.
//!
//! tokio-uring's own ring has neither provided buffers nor deferred work, which is what makes many
//! small messages cheap. This ring has both, and lives beside it on the same thread. Operations
//! gather in its queue while the tasks of one turn run; then [`pump`] hands all of them to the
//! kernel in one call, which also runs the work that the kernel has deferred, and wakes the tasks
//! whose operations are done. Only when there is nothing to do does it sleep, in tokio's epoll,
//! until the kernel signals through an eventfd.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};

use super::memory::Buffer;
use super::provided::ProvidedBuffers;
use super::readiness::Readiness;
use super::socket::Socket;
use super::turn::{is_turn_due, yield_to_ring};

/// Operations that fit before they are handed to the kernel early.
const SUBMISSIONS: u32 = 256;
/// Where little memory may be locked, a ring makes do with as few.
const SUBMISSIONS_MIN: u32 = 16;
/// Completions that may wait for each submission; more are kept by the kernel, at a cost.
const COMPLETIONS: u32 = 4;
/// Marks completions that nobody waits for.
const NOBODY: u64 = u64::MAX;

/// What an operation needs for as long as the kernel works on it.
pub(super) enum Keep {
    Nothing,
    /// What is sent.
    Bytes(#[expect(dead_code, reason = "held for the kernel, which reads it")] Bytes),
    /// What is received into.
    Buffer(Buffer),
}

/// How an operation ended.
pub(super) struct Completion {
    /// What the call would have returned, or a negated error number.
    result: i32,
    flags: u32,
    pub(super) keep: Keep,
}

impl Completion {
    pub(super) fn result(&self) -> io::Result<usize> {
        usize::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }

    /// The number of the provided buffer that it used.
    pub(super) fn provided(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Whether the socket has more to read.
    pub(super) fn has_more(&self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }
}

/// One operation.
enum Slot {
    Free {
        next: Option<usize>,
    },
    InFlight {
        waker: Option<Waker>,
        keep: Keep,
        socket: Socket,
    },
    Done(Completion),
    /// Nobody waits for it; what it needs is kept until it ends.
    Orphan {
        _keep: Keep,
        _socket: Socket,
    },
}

impl Slot {
    /// Before it is linked to the other free ones.
    const FREE: Self = Self::Free { next: None };
}

#[derive(Default)]
struct Slots {
    all: Vec<Slot>,
    free: Option<usize>,
    in_flight: usize,
    /// How many of them nobody waits for.
    orphans: usize,
}

/// The ring of one thread.
pub(crate) struct Ring {
    uring: RefCell<IoUring>,
    slots: RefCell<Slots>,
    provided: ProvidedBuffers,
    /// Signals that there are completions. After the ring, which writes to it.
    signal: Signal,
    /// The pump, while it sleeps.
    pump: Cell<Option<Waker>>,
    /// Operations that the kernel has not been given.
    queued: Cell<usize>,
}

/// An eventfd and its registration with epoll, which ends first.
struct Signal {
    readiness: Readiness,
    _fd: OwnedFd,
}

impl Signal {
    fn new() -> io::Result<(Self, RawFd)> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let raw = fd.as_raw_fd();
        // SAFETY: the readiness is dropped before the descriptor.
        let readiness = unsafe { Readiness::new(raw) }?;
        Ok((Self { readiness, _fd: fd }, raw))
    }
}

/// An operation under way. Dropped before it is done, it is canceled, and what it needs is kept
/// until it has ended.
pub(super) struct Operation {
    ring: Rc<Ring>,
    /// Its slot, until it is done.
    index: Option<usize>,
}

impl Ring {
    /// A ring on this thread, with its pump running for as long as the ring lives.
    pub(super) fn start() -> io::Result<Rc<Self>> {
        let mut uring = build()?;
        // Saves the kernel looking the ring up at each call; a few kernels cannot.
        let _ = uring.submitter().register_ring_fd();
        let (signal, raw) = Signal::new()?;
        uring.submitter().register_eventfd(raw)?;
        uring.completion().disable_eventfd();
        let provided = ProvidedBuffers::register(&uring)?;
        let ring = Rc::new(Self {
            uring: RefCell::new(uring),
            slots: RefCell::default(),
            provided,
            signal,
            pump: Cell::new(None),
            queued: Cell::new(0),
        });
        tokio::task::spawn_local(pump(Rc::downgrade(&ring)));
        Ok(ring)
    }

    /// Waits until the kernel is done with every operation that nobody waits for.
    pub(super) async fn drained(&self) {
        while self.slots.borrow().orphans > 0 {
            go_last().await;
            yield_to_ring().await;
        }
    }

    pub(super) const fn provided(&self) -> &ProvidedBuffers {
        &self.provided
    }

    /// Queues an operation on `socket`.
    ///
    /// # Safety
    ///
    /// The entry works on the socket's descriptor, on memory that `keep` holds in its place, and
    /// on nothing else.
    pub(super) unsafe fn submit(
        self: &Rc<Self>,
        entry: squeue::Entry,
        socket: &Socket,
        keep: Keep,
    ) -> Operation {
        let slot = Slot::InFlight { waker: None, keep, socket: socket.clone() };
        let index = self.slots.borrow_mut().insert(slot);
        // SAFETY: as the caller promises; the slot holds socket and memory until it completes.
        unsafe { self.push(&entry.user_data(index as u64)) };
        Operation { ring: Rc::clone(self), index: Some(index) }
    }

    /// # Safety
    ///
    /// As for [`submit`](Self::submit).
    unsafe fn push(&self, entry: &squeue::Entry) {
        let mut uring = self.uring.borrow_mut();
        // SAFETY: as the caller promises.
        while unsafe { uring.submission().push(entry) }.is_err() {
            // Full. An error is one of the kernel's moment, such as EAGAIN, and passes.
            let _ = uring.submit();
        }
        self.queued.set(self.queued.get() + 1);
        if let Some(pump) = self.pump.take() {
            pump.wake();
        }
    }

    /// Hands what is queued to the kernel, runs work that it has deferred, and wakes whose
    /// operations are done; whether there was any, or is more deferred work.
    ///
    /// The kernel does only so much of it at a time, which need not complete anything, and does not
    /// signal again for what is left: only a flag tells.
    fn turn(&self, wait_for: u32) -> bool {
        const GETEVENTS: u32 = 1;
        let uring = &mut *self.uring.borrow_mut();
        let queued = uring.submission().len() as u32;
        self.queued.set(0);
        // SAFETY: no argument is given, so that there is no memory for it to read.
        let entered =
            unsafe { uring.submitter().enter::<libc::sigset_t>(queued, wait_for, GETEVENTS, None) };
        if entered.is_err() {
            // Interrupted, or short of memory for a moment: what was not taken stays queued.
            self.queued.set(uring.submission().len());
        }
        let mut slots = self.slots.borrow_mut();
        let mut has_moved = uring.submission().taskrun();
        for entry in uring.completion() {
            has_moved = true;
            if entry.user_data() != NOBODY {
                let index = entry.user_data() as usize;
                slots.complete(index, entry.result(), entry.flags(), &self.provided);
            }
        }
        has_moved
    }

    /// Ready when the kernel has signaled, or something was queued.
    fn poll_sleep(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.queued.get() > 0 {
            return Poll::Ready(());
        }
        self.pump.set(Some(context.waker().clone()));
        // Edges are reported each on its own, so that the eventfd is never read.
        if let Ok(signaled) = ready!(self.signal.readiness.poll_readable(context)) {
            signaled.clear();
        }
        Poll::Ready(())
    }

    fn set_signaling(&self, on: bool) {
        let mut uring = self.uring.borrow_mut();
        let completion = uring.completion();
        if on { completion.enable_eventfd() } else { completion.disable_eventfd() }
    }

    fn poll_done(&self, index: usize, context: &Context<'_>) -> Poll<Completion> {
        let mut slots = self.slots.borrow_mut();
        if let Slot::InFlight { waker, .. } = &mut slots.all[index] {
            match waker {
                Some(waker) => waker.clone_from(context.waker()),
                None => *waker = Some(context.waker().clone()),
            }
            return Poll::Pending;
        }
        match slots.free(index) {
            Slot::Done(completion) => Poll::Ready(completion),
            _ => unreachable!("an operation is in flight or done until it is polled to its end"),
        }
    }

    /// Nobody waits for an operation any more.
    fn forget(&self, index: usize) {
        let mut slots = self.slots.borrow_mut();
        if !matches!(slots.all[index], Slot::InFlight { .. }) {
            let slot = slots.free(index);
            drop(slots);
            if let Slot::Done(completion) = slot
                && let Some(buffer) = completion.provided()
            {
                self.provided.give_back(buffer);
            }
            return;
        }
        let slot = &mut slots.all[index];
        if let Slot::InFlight { keep, socket, .. } = std::mem::replace(slot, Slot::FREE) {
            *slot = Slot::Orphan { _keep: keep, _socket: socket };
            slots.orphans += 1;
        }
        drop(slots);
        let cancel = opcode::AsyncCancel::new(index as u64).build().user_data(NOBODY);
        // SAFETY: a cancellation works on no descriptor and no memory.
        unsafe { self.push(&cancel) };
    }
}

impl Drop for Ring {
    /// Waits until the kernel is done with all memory and descriptors.
    fn drop(&mut self) {
        let all = types::CancelBuilder::any();
        let uring = self.uring.borrow();
        let _ = uring.submitter().register_sync_cancel(None, all);
        drop(uring);
        if let Some(pump) = self.pump.take() {
            pump.wake();
        }
        while self.slots.borrow().in_flight > 0 {
            self.turn(1);
        }
    }
}

impl Slots {
    fn insert(&mut self, slot: Slot) -> usize {
        self.in_flight += 1;
        let Some(index) = self.free else {
            self.all.push(slot);
            return self.all.len() - 1;
        };
        if let Slot::Free { next } = std::mem::replace(&mut self.all[index], slot) {
            self.free = next;
        }
        index
    }

    /// What was in a slot, which is free from now on.
    fn free(&mut self, index: usize) -> Slot {
        let next = self.free.replace(index);
        std::mem::replace(&mut self.all[index], Slot::Free { next })
    }

    fn complete(&mut self, index: usize, result: i32, flags: u32, provided: &ProvidedBuffers) {
        self.in_flight -= 1;
        match std::mem::replace(&mut self.all[index], Slot::FREE) {
            Slot::InFlight { waker, keep, .. } => {
                self.all[index] = Slot::Done(Completion { result, flags, keep });
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            _ => {
                self.orphans -= 1;
                self.free(index);
                if let Some(buffer) = cqueue::buffer_select(flags) {
                    provided.give_back(buffer);
                }
            }
        }
    }
}

impl Operation {
    /// How it ended; not to be polled after that.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Completion> {
        let Some(index) = self.index else { return Poll::Pending };
        let done = ready!(self.ring.poll_done(index, context));
        self.index = None;
        Poll::Ready(done)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let Some(index) = self.index {
            self.ring.forget(index);
        }
    }
}

/// The largest ring that the kernel allows, with all that is needed of it.
fn build() -> io::Result<IoUring> {
    let mut submissions = SUBMISSIONS;
    loop {
        let built = IoUring::builder()
            .setup_cqsize(submissions * COMPLETIONS)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(submissions);
        match built {
            Err(error)
                if error.raw_os_error() == Some(libc::ENOMEM) && submissions > SUBMISSIONS_MIN =>
            {
                submissions /= 2;
            }
            result => return result,
        }
    }
}

/// Moves a ring along until it is gone.
async fn pump(ring: Weak<Ring>) {
    loop {
        let Some(this) = ring.upgrade() else { return };
        if this.turn(0) {
            drop(this);
            // Behind the tasks that were woken, whose next operations then go together.
            go_last().await;
            if is_turn_due() {
                yield_to_ring().await;
            }
            continue;
        }
        this.set_signaling(true);
        // What came before the signal was on is seen by one more look.
        if !this.turn(0) {
            drop(this);
            poll_fn(|context| {
                ring.upgrade().map_or(Poll::Ready(()), |ring| ring.poll_sleep(context))
            })
            .await;
        }
        if let Some(this) = ring.upgrade() {
            this.set_signaling(false);
        }
    }
}

/// Lets every task that is ready now go first.
async fn go_last() {
    let mut is_last = false;
    poll_fn(|context| {
        if std::mem::replace(&mut is_last, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
