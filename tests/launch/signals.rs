//! Signals, terminals and ends.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use super::caught::{Launcher, Ran, echo_server, http_server};

#[test]
fn exit_status_is_the_programs() {
    let launcher = Launcher::new();
    for (script, code) in
        [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
    {
        let ran = Ran::of(&mut launcher.command(&[], &["sh", "-c", script]));
        assert_eq!(ran, Ran { stdout: String::new(), stderr: String::new(), code: Some(code) });
    }
}

/// A launcher whose program has said its first line.
struct Started {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

fn start(mut command: Command) -> Started {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    Started { child, stdout }
}

impl Started {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn end(mut self) -> (String, ExitStatus) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap())
    }
}

/// It does not pause for good: Python calls `on` between two steps, and one that comes just before
/// a pause would wait for its end.
const TRAPS: &str = "
import signal, sys, time
def on(s, f): print(signal.Signals(s).name, flush=True); sys.exit(9)
for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(s, on)
print('ready', flush=True)
while True: time.sleep(0.01)
";

#[test]
fn requests_to_end_are_passed_on() {
    let launcher = Launcher::new();
    for (signal, name) in [(Signal::TERM, "SIGTERM\n"), (Signal::HUP, "SIGHUP\n")] {
        let started = start(launcher.command(&[], &["python3", "-c", TRAPS]));
        started.signal(signal);
        let (rest, status) = started.end();
        assert_eq!((&*rest, status.code()), (name, Some(9)));
    }
    let started = start(launcher.command(&[], &["sh", "-c", "echo ready; exec sleep 1000"]));
    started.signal(Signal::TERM);
    assert_eq!(started.end().1.code(), Some(143));
}

/// The mask of /proc/self/status without signals 32 and 33, which are the C library's own.
fn ignored_signals(ran: &Ran) -> u64 {
    let mask = ran.stdout.trim().strip_prefix("SigIgn:\t").unwrap();
    u64::from_str_radix(mask, 16).unwrap() & !(0b11 << 31)
}

#[test]
fn ignored_signals_stay_ignored_and_others_are_the_programs_own() {
    let launcher = Launcher::new();
    let ignored = "grep SigIgn: /proc/self/status";
    // A shell that is not interactive starts what it puts into the background this way.
    for prefix in ["", "trap '' INT QUIT; ", "trap '' HUP TSTP; "] {
        let script = format!("{prefix}\"$@\"");
        let direct = ["sh", "-c", &script, "sh", "sh", "-c", ignored];
        let launched = [&direct[..4], &[launcher.path.to_str().unwrap()], &direct[4..]].concat();
        let run = |words: &[&str]| ignored_signals(&Ran::of(&mut super::caught::command(words)));
        assert_eq!(run(&launched), run(&direct), "{prefix}");
    }
}

/// A program on a terminal of its own, in a session of its own.
fn on_terminal(mut command: Command) -> (Child, File) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    unlockpt(&terminal).unwrap();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let other: OwnedFd = ioctl_tiocgptpeer(&terminal, flags).unwrap();
    let end = || Stdio::from(other.try_clone().unwrap());
    command.stdin(end()).stdout(end()).stderr(end());
    // A session without the terminal takes it when its leader opens it: setsid(1) does both.
    let child = command.spawn().unwrap();
    (child, File::from(terminal))
}

/// What a terminal shows until `words` come.
fn read_until(terminal: &mut File, words: &str) -> String {
    let mut shown = String::new();
    let mut byte = [0];
    while !shown.contains(words) {
        let read = terminal.read(&mut byte);
        assert!(matches!(read, Ok(1)), "no '{words}': {read:?} after {shown}");
        shown.push(char::from(byte[0]));
    }
    shown
}

fn in_session(launcher: &Launcher, program: &[&str]) -> Command {
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait", launcher.path.to_str().unwrap()]).args(program);
    command
}

#[test]
fn interrupt_of_a_terminal_ends_the_program_and_then_the_launcher() {
    let launcher = Launcher::new();
    let (mut child, mut terminal) = on_terminal(in_session(&launcher, &["python3", "-c", TRAPS]));
    read_until(&mut terminal, "ready");
    terminal.write_all(b"\x03").unwrap();
    // The program has all the time that it wants to end.
    read_until(&mut terminal, "SIGINT");
    assert_eq!(child.wait().unwrap().code(), Some(9));

    let sleep = ["sh", "-c", "echo ready; exec sleep 1000"];
    let (mut child, mut terminal) = on_terminal(in_session(&launcher, &sleep));
    read_until(&mut terminal, "ready");
    terminal.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Ctrl-Z stops both, and both go on.
#[test]
fn job_control_sees_one_job() {
    let launcher = Launcher::new();
    let (mut child, mut terminal) = on_terminal({
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", "bash", "--norc", "--noprofile", "-i"]);
        command.env("PS1", "prompt> ").env("TERM", "dumb");
        command
    });
    read_until(&mut terminal, "prompt> ");
    let path = launcher.path.to_str().unwrap();
    let line = format!("{path} sh -c 'echo be''gun; read line; echo read $line'\n");
    terminal.write_all(line.as_bytes()).unwrap();
    read_until(&mut terminal, "begun");
    terminal.write_all(b"\x1a").unwrap();
    read_until(&mut terminal, "Stopped");
    read_until(&mut terminal, "prompt> ");
    terminal.write_all(b"fg\n").unwrap();
    read_until(&mut terminal, "launcher sh -c");
    terminal.write_all(b"hello\n").unwrap();
    read_until(&mut terminal, "read hello");
    read_until(&mut terminal, "prompt> ");
    terminal.write_all(b"exit\n").unwrap();
    child.wait().unwrap();
}

#[test]
fn connect_after_the_launchers_death_fails_and_does_not_hang() {
    let launcher = Launcher::new();
    let server = echo_server("127.0.0.1:0");
    let script = "
import socket, sys
to = ('127.0.0.1', int(sys.argv[1]))
socket.create_connection(to); print('connected', flush=True)
sys.stdin.readline()
try: socket.create_connection(to)
except OSError as e: print(repr(e))
";
    let port = server.port().to_string();
    let mut started = start(launcher.command(&[], &["python3", "-c", script, &port]));
    let mut stdin = started.child.stdin.take().unwrap();
    started.signal(Signal::KILL);
    assert_eq!(started.child.wait().unwrap().signal(), Some(9));
    stdin.write_all(b"go on\n").unwrap();
    let (rest, _) = started.end();
    assert_eq!(rest, "OSError(38, 'Function not implemented')\n");
}

#[test]
fn program_left_behind_is_caught_until_it_ends() {
    let launcher = Launcher::new();
    let server = http_server();
    let url = format!("http://{server}/");
    // The daemon connects when its input ends, which is after the program's end.
    let script = r#"setsid sh -c 'read line; curl -s "$0" | wc -c' "$0" <&3 & echo left; exit 4"#;
    let script = format!("exec 3<&0; {script}");
    let mut started = start(launcher.command(&[], &["sh", "-c", &script, &url]));
    drop(started.child.stdin.take());
    let (rest, status) = started.end();
    assert_eq!((rest.trim(), status.code()), ("2048", Some(4)));
    assert_eq!(launcher.seen(), [format!("{server} connected")]);
}

#[test]
fn program_that_dies_in_its_connect_is_forgotten() {
    let launcher = Launcher::new();
    let server = http_server();
    // 192.0.2.1 does not answer, or cannot be reached: either way the launcher must go on.
    let script = r#"
silent='import socket; socket.create_connection(("192.0.2.1", 80))'
timeout -s KILL 0.3 python3 -c "$silent" 2>/dev/null
curl -s "$0" | wc -c"#;
    let ran = Ran::of(
        &mut launcher
            .command(&["--timeout", "1000"], &["bash", "-c", script, &format!("http://{server}/")]),
    );
    assert_eq!((ran.stdout.trim(), ran.code), ("2048", Some(0)), "{ran:?}");
}

/// Needs nothing of the launcher: that a stopped process is seen is what the tests above rest on.
#[test]
fn stop_of_the_program_alone_does_not_stop_the_launcher() {
    let launcher = Launcher::new();
    let mut command = launcher.command(&[], &["sh", "-c", "echo $$; read line; echo $line"]);
    let mut child =
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut pid = String::new();
    stdout.read_line(&mut pid).unwrap();
    let program = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    kill_process(program, Signal::STOP).unwrap();
    kill_process(program, Signal::CONT).unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "hello\n");
    let group = Pid::from_child(&child);
    let ended = waitid(WaitId::Pid(group), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    assert_eq!(ended.and_then(|status| status.exit_status()), Some(0));
    let _ = kill_process_group(group, Signal::KILL);
    child.wait().unwrap();
}
