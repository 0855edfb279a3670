//! The seccomp filter that a started program and all its descendants run under, as classic BPF.

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
    SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF, sock_filter,
};

/// The numbers of the system calls that matter, as one architecture has them.
pub(super) struct Arch {
    /// Its name in `struct seccomp_data` (linux/audit.h).
    pub(super) audit: u32,
    pub(super) connect: u32,
    pub(super) getpeername: u32,
    io_uring_setup: u32,
    sendmmsg: u32,
    sendmsg: u32,
    sendto: u32,
    /// Whether numbers with bit 30 set are another ABI (x32).
    has_x32: bool,
    /// The 32-bit architecture whose programs the kernel may run too.
    compat: Compat,
}

/// A 32-bit architecture: its connects are reported, to be refused and logged.
struct Compat {
    audit: u32,
    connect: u32,
    io_uring_setup: u32,
    /// i386's call for all socket calls; its first argument says which.
    socketcall: Option<u32>,
}

const X32: u32 = 0x4000_0000;
/// `SYS_CONNECT` of `socketcall` (linux/net.h).
const SOCKETCALL_CONNECT: u32 = 3;

#[cfg(any(test, target_arch = "x86_64"))]
const X86_64: Arch = Arch {
    audit: 0xc000_003e,
    connect: 42,
    getpeername: 52,
    io_uring_setup: 425,
    sendmmsg: 307,
    sendmsg: 46,
    sendto: 44,
    has_x32: true,
    compat: Compat { audit: 0x4000_0003, connect: 362, io_uring_setup: 425, socketcall: Some(102) },
};

#[cfg(any(test, target_arch = "aarch64"))]
const AARCH64: Arch = Arch {
    audit: 0xc000_00b7,
    connect: 203,
    getpeername: 205,
    io_uring_setup: 425,
    sendmmsg: 269,
    sendmsg: 211,
    sendto: 206,
    has_x32: false,
    compat: Compat { audit: 0x4000_0028, connect: 283, io_uring_setup: 425, socketcall: None },
};

#[cfg(target_arch = "x86_64")]
pub(super) const NATIVE: Arch = X86_64;
#[cfg(target_arch = "aarch64")]
pub(super) const NATIVE: Arch = AARCH64;

/// Where `struct seccomp_data` has its fields.
const NR: u32 = 0;
const ARCH: u32 = 4;
/// The lower half of an argument; both architectures are little-endian.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const NO_SUCH_CALL: u32 = SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const NOT_SUPPORTED: u32 = SECCOMP_RET_ERRNO | libc::EOPNOTSUPP as u32;

/// The program. `connect` and `getpeername` are reported; rings, through which a connect would
/// pass unseen, do not exist; a send that would connect (TCP fast open) is not supported.
pub(super) fn program(arch: &Arch) -> Vec<sock_filter> {
    let compat = compat_rules(&arch.compat);
    let mut program = vec![load(ARCH), jump(BPF_JEQ, arch.audit, compat.len(), 0)];
    program.extend(compat);
    program.push(load(NR));
    if arch.has_x32 {
        program.extend([jump(BPF_JSET, X32, 0, 1), answer(NO_SUCH_CALL)]);
    }
    for (call, action) in [
        (arch.connect, SECCOMP_RET_USER_NOTIF),
        (arch.getpeername, SECCOMP_RET_USER_NOTIF),
        (arch.io_uring_setup, NO_SUCH_CALL),
    ] {
        program.extend([jump(BPF_JEQ, call, 0, 1), answer(action)]);
    }
    for (call, flags) in [(arch.sendto, 3), (arch.sendmsg, 2), (arch.sendmmsg, 3)] {
        let is_fast_open = jump(BPF_JSET, libc::MSG_FASTOPEN as u32, 0, 1);
        program.extend([
            jump(BPF_JEQ, call, 0, 4),
            load(argument(flags)),
            is_fast_open,
            answer(NOT_SUPPORTED),
            answer(SECCOMP_RET_ALLOW),
        ]);
    }
    program.push(answer(SECCOMP_RET_ALLOW));
    program
}

/// What happens to calls that are not of the native architecture, which is loaded.
fn compat_rules(compat: &Compat) -> Vec<sock_filter> {
    let mut rules = vec![
        jump(BPF_JEQ, compat.audit, 1, 0),
        answer(SECCOMP_RET_ALLOW),
        load(NR),
        jump(BPF_JEQ, compat.connect, 0, 1),
        answer(SECCOMP_RET_USER_NOTIF),
        jump(BPF_JEQ, compat.io_uring_setup, 0, 1),
        answer(NO_SUCH_CALL),
    ];
    if let Some(socketcall) = compat.socketcall {
        rules.extend([
            jump(BPF_JEQ, socketcall, 0, 3),
            load(argument(0)),
            jump(BPF_JEQ, SOCKETCALL_CONNECT, 0, 1),
            answer(SECCOMP_RET_USER_NOTIF),
        ]);
    }
    rules.push(answer(SECCOMP_RET_ALLOW));
    rules
}

const fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

/// Compares what is loaded with `value`, and skips as many instructions as the outcome says.
fn jump(test: u32, value: u32, if_true: usize, if_false: usize) -> sock_filter {
    // The longest skip here is over a dozen instructions.
    let skip = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
    let code = (BPF_JMP | test | BPF_K) as u16;
    sock_filter { code, jt: skip(if_true), jf: skip(if_false), k: value }
}

const fn answer(action: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: action }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program of the few instructions that are used here.
    fn run(program: &[sock_filter], arch: u32, nr: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend_from_slice(&nr.to_le_bytes());
        data.extend_from_slice(&arch.to_le_bytes());
        data.extend_from_slice(&[0; 8]);
        arguments.iter().for_each(|argument| data.extend_from_slice(&argument.to_le_bytes()));
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let code = u32::from(step.code);
            let is = if code == BPF_LD | BPF_W | BPF_ABS {
                let offset = step.k as usize;
                loaded = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                continue;
            } else if code == BPF_JMP | BPF_JEQ | BPF_K {
                loaded == step.k
            } else if code == BPF_JMP | BPF_JSET | BPF_K {
                loaded & step.k != 0
            } else {
                assert_eq!(code, BPF_RET | BPF_K);
                return step.k;
            };
            at += usize::from(if is { step.jt } else { step.jf });
        }
    }

    #[test]
    fn native_calls_get_their_actions() {
        for arch in [X86_64, AARCH64] {
            let program = program(&arch);
            let action = |nr, arguments| run(&program, arch.audit, nr, arguments);
            assert_eq!(action(arch.connect, [0; 6]), SECCOMP_RET_USER_NOTIF);
            assert_eq!(action(arch.getpeername, [0; 6]), SECCOMP_RET_USER_NOTIF);
            assert_eq!(action(arch.io_uring_setup, [0; 6]), NO_SUCH_CALL);
            let known = [arch.connect, arch.getpeername, arch.io_uring_setup];
            for nr in (0..500).filter(|nr| !known.contains(nr)) {
                assert_eq!(action(nr, [0; 6]), SECCOMP_RET_ALLOW, "{nr}");
            }
        }
    }

    #[test]
    fn send_that_would_connect_is_not_supported() {
        let flag = 0x2000_0000 | 0x4000;
        for arch in [X86_64, AARCH64] {
            let program = program(&arch);
            for (nr, index) in [(arch.sendto, 3), (arch.sendmsg, 2), (arch.sendmmsg, 3)] {
                let mut arguments = [0x4000; 6];
                assert_eq!(run(&program, arch.audit, nr, arguments), SECCOMP_RET_ALLOW);
                arguments[index] = flag;
                assert_eq!(run(&program, arch.audit, nr, arguments), NOT_SUPPORTED, "{nr}");
                arguments = [flag; 6];
                arguments[index] = 0;
                assert_eq!(run(&program, arch.audit, nr, arguments), SECCOMP_RET_ALLOW, "{nr}");
            }
        }
    }

    #[test]
    fn calls_of_other_architectures_are_reported_or_refused() {
        let x86 = program(&X86_64);
        let i386 = |nr, first| run(&x86, X86_64.compat.audit, nr, [first, 0, 0, 0, 0, 0]);
        assert_eq!(i386(362, 0), SECCOMP_RET_USER_NOTIF);
        assert_eq!(i386(102, 3), SECCOMP_RET_USER_NOTIF);
        assert_eq!(i386(102, 2), SECCOMP_RET_ALLOW);
        assert_eq!(i386(425, 0), NO_SUCH_CALL);
        assert_eq!(i386(42, 0), SECCOMP_RET_ALLOW, "mkdir's sibling, not connect");
        assert_eq!(run(&x86, X86_64.audit, X32 | 42, [0; 6]), NO_SUCH_CALL);
        assert_eq!(run(&x86, 0x1234, 42, [0; 6]), SECCOMP_RET_ALLOW);

        let aarch64 = program(&AARCH64);
        let arm = |nr| run(&aarch64, AARCH64.compat.audit, nr, [0; 6]);
        assert_eq!(arm(283), SECCOMP_RET_USER_NOTIF);
        assert_eq!(arm(425), NO_SUCH_CALL);
        assert_eq!(arm(203), SECCOMP_RET_ALLOW);
    }

    #[test]
    fn numbers_are_those_of_this_architecture() {
        for (ours, system) in [
            (NATIVE.connect, libc::SYS_connect),
            (NATIVE.getpeername, libc::SYS_getpeername),
            (NATIVE.io_uring_setup, libc::SYS_io_uring_setup),
            (NATIVE.sendto, libc::SYS_sendto),
            (NATIVE.sendmsg, libc::SYS_sendmsg),
            (NATIVE.sendmmsg, libc::SYS_sendmmsg),
        ] {
            assert_eq!(i64::from(ours), system);
        }
    }
}
