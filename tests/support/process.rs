//! The real program as a process of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::events::PATIENCE;
use super::terminal::without_habits;

/// A running `tcp_tunn`, killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// What the listening lines told, in order; unix sockets left out.
    pub(crate) addresses: Vec<SocketAddr>,
    /// All of stderr so far.
    pub(crate) stderr: Vec<String>,
    stderr_lines: Receiver<String>,
    stdout: Option<Receiver<Vec<u8>>>,
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` where a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<String>,
}

impl Process {
    /// Starts it and waits until it listens on everything that it is to listen on.
    pub(crate) fn start(args: &[&str]) -> Self {
        let (mut process, stdout) = Self::spawn(args);
        process.stdout = Some(read_all(stdout));
        process.wait_until_listening(args);
        process
    }

    /// As [`start`](Self::start), in a directory.
    pub(crate) fn start_in(folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcp_tunn"));
        command.current_dir(folder);
        let (mut process, stdout) = Self::spawn_by(command, args);
        process.stdout = Some(read_all(stdout));
        process.wait_until_listening(args);
        process
    }

    /// As [`start`](Self::start), by a program that becomes it, such as nohup, and its arguments.
    pub(crate) fn start_by(program: &[&str], args: &[&str]) -> Self {
        let (mut process, stdout) = Self::start_piped_by(program, args);
        process.stdout = Some(read_all(stdout));
        process
    }

    /// As [`start_by`](Self::start_by), but stdout is the caller's.
    pub(crate) fn start_piped_by(program: &[&str], args: &[&str]) -> (Self, ChildStdout) {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_tcp_tunn"));
        let (mut process, stdout) = Self::spawn_by(command, args);
        process.wait_until_listening(args);
        (process, stdout)
    }

    /// As [`start`](Self::start), but stdout is the caller's, to be read or closed.
    pub(crate) fn start_piped(args: &[&str]) -> (Self, ChildStdout) {
        let (mut process, stdout) = Self::spawn(args);
        process.wait_until_listening(args);
        (process, stdout)
    }

    /// As [`start`](Self::start), with a terminal of so many columns for stderr. The lines of
    /// stderr are then what is between line feeds.
    pub(crate) fn start_on_terminal(args: &[&str], columns: u16) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        unlockpt(&terminal).unwrap();
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let stderr = ioctl_tiocgptpeer(&terminal, flags).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcp_tunn"));
        without_habits(&mut command).stderr(stderr).env("TERM", "xterm");
        let (mut process, stdout) = Self::spawn_with(command, args, |_| File::from(terminal));
        process.stdout = Some(read_all(stdout));
        process.wait_until_listening(args);
        process
    }

    /// Runs it to an end that it comes to by itself.
    pub(crate) fn run(args: &[&str]) -> Ended {
        let (mut process, stdout) = Self::spawn(args);
        process.stdout = Some(read_all(stdout));
        process.wait()
    }

    fn spawn(args: &[&str]) -> (Self, ChildStdout) {
        Self::spawn_by(Command::new(env!("CARGO_BIN_EXE_tcp_tunn")), args)
    }

    fn spawn_by(mut command: Command, args: &[&str]) -> (Self, ChildStdout) {
        command.stderr(Stdio::piped());
        Self::spawn_with(command, args, |child| child.stderr.take().unwrap())
    }

    /// Spawns it, with stderr where the caller finds it again.
    fn spawn_with<R: Read + Send + 'static>(
        mut command: Command,
        args: &[&str],
        stderr: impl FnOnce(&mut Child) -> R,
    ) -> (Self, ChildStdout) {
        let command = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let stderr = BufReader::new(stderr(&mut child));
        let (sender, stderr_lines) = channel();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let (addresses, stderr) = (Vec::new(), Vec::new());
        (Self { child, addresses, stderr, stderr_lines, stdout: None }, stdout)
    }

    fn wait_until_listening(&mut self, args: &[&str]) {
        for _ in args.iter().filter(|arg| ["--from", "--proxy", "--transparent"].contains(arg)) {
            let line = self.wait_for_line("listening on ");
            let (address, _) = line["listening on ".len()..].split_once(" -> ").unwrap();
            self.addresses.extend(address.parse::<SocketAddr>().ok());
        }
    }

    /// Waits for the next line on stderr that has `words` in it.
    pub(crate) fn wait_for_line(&mut self, words: &str) -> String {
        loop {
            let line = self.stderr_lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no '{words}' in {:?}", self.stderr));
            self.stderr.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// A client of the first address.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addresses[0]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a signal, such as `TERM`, to this process and no other.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status();
        assert!(sent.unwrap().success(), "SIG{name} was not sent");
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Ended {
        // The pipe's end is the process's: waiting for it has a time limit, `Child::wait` none.
        while let Ok(line) = self.stderr_lines.recv_timeout(PATIENCE) {
            self.stderr.push(line);
        }
        let stdout = self.stdout.take().map(|all| all.recv_timeout(PATIENCE).unwrap());
        Ended {
            code: self.child.wait().unwrap().code(),
            stdout: stdout.unwrap_or_default(),
            stderr: std::mem::take(&mut self.stderr),
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_all(mut stdout: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, all) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout
            .read_to_end(&mut bytes)
            .and_then(|_| sender.send(bytes).map_err(std::io::Error::other))
    });
    all
}
