//! Runs a program and catches its connects with nothing but the standard library behind: each is
//! dialed, relayed and logged.
//!
//! `catch_connects [--log FILE] [--copy | --rewrite] [--leave PORT]... [--timeout MS] CMD [ARG...]`
//!
//! `--log` is a file for a line a connection (stderr without it), `--copy` and `--rewrite` force a
//! mechanism, `--leave` leaves connects to a port alone, and `--timeout` is how long a server may
//! take to answer.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use tcp_tunn::launch::{Attempt, Command, Handler, Mechanism, Request, exit_code};

struct Options {
    log: Option<OsString>,
    mechanism: Option<Mechanism>,
    left_alone: Vec<u16>,
    timeout: Duration,
    command: Vec<OsString>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = OsString>) -> Self {
        let mut options = Self {
            log: None,
            mechanism: None,
            left_alone: Vec::new(),
            timeout: Duration::from_secs(10),
            command: Vec::new(),
        };
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--log") => options.log = args.next(),
                Some("--copy") => options.mechanism = Some(Mechanism::CopyDescriptor),
                Some("--rewrite") => options.mechanism = Some(Mechanism::RewriteAddress),
                Some("--leave") => options.left_alone.extend(number(args.next())),
                Some("--timeout") => {
                    options.timeout = number(args.next()).map_or(options.timeout, |timeout| {
                        Duration::from_millis(u64::from(timeout))
                    });
                }
                _ => {
                    options.command = [arg].into_iter().chain(args).collect();
                    break;
                }
            }
        }
        options
    }
}

fn number(arg: Option<OsString>) -> Option<u16> {
    arg?.to_str()?.parse().ok()
}

#[derive(Clone)]
struct Direct {
    log: Arc<Mutex<dyn Write + Send>>,
    left_alone: Vec<u16>,
    timeout: Duration,
}

impl Direct {
    fn log(&self, Attempt { destination, process, .. }: &Attempt, outcome: &str) {
        if let Ok(mut log) = self.log.lock() {
            let (pid, name) = (process.pid, &process.name);
            // One write, so that lines of several threads do not mix.
            let line = format!("{pid} {name} {destination} {outcome}\n");
            let _ = log.write_all(line.as_bytes());
        }
    }

    /// Reaches the server, answers the program and relays.
    fn serve(&self, request: Request) {
        let attempt = (*request).clone();
        match dial(attempt.destination, self.timeout) {
            Ok(server) => {
                self.log(&attempt, "connected");
                request.connected(move |client| {
                    if let Ok(client) = client {
                        thread::spawn(move || relay(client, server));
                    }
                });
            }
            Err(error) => {
                self.log(&attempt, &error.to_string());
                request.failed(error.raw_os_error().unwrap_or(libc::ETIMEDOUT));
            }
        }
    }
}

impl Handler for Direct {
    fn wants(&mut self, attempt: &Attempt) -> bool {
        !self.left_alone.contains(&attempt.destination.port())
    }

    fn connect(&mut self, request: Request) {
        let direct = self.clone();
        thread::spawn(move || direct.serve(request));
    }
}

fn dial(destination: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let server = TcpStream::connect_timeout(&destination, timeout)?;
    server.set_nodelay(true)?;
    Ok(server)
}

fn relay(client: TcpStream, server: TcpStream) {
    let _ = client.set_nodelay(true);
    let (client, server) = (Arc::new(client), Arc::new(server));
    let (from, to) = (server.clone(), client.clone());
    let answers = thread::spawn(move || copy(&from, &to));
    copy(&client, &server);
    let _ = answers.join();
}

/// Copies one direction: its end is passed on as an end, a reset as a reset.
fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    if io::copy(&mut from, &mut to).is_ok() {
        let _ = to.shutdown(Shutdown::Write);
        return;
    }
    for stream in [from, to] {
        let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        let _ = stream.shutdown(Shutdown::Both);
    }
}

fn main() -> ExitCode {
    let options = Options::parse(std::env::args_os().skip(1));
    let Some((program, args)) = options.command.split_first() else {
        eprintln!("usage: catch_connects [--log FILE] [--copy|--rewrite] CMD [ARG...]");
        return ExitCode::from(2);
    };
    let log: Arc<Mutex<dyn Write + Send>> = match options.log.map(File::create) {
        None => Arc::new(Mutex::new(io::stderr())),
        Some(Ok(file)) => Arc::new(Mutex::new(file)),
        Some(Err(error)) => {
            eprintln!("cannot write the log: {error}");
            return ExitCode::from(2);
        }
    };
    let mut command = Command::new(program);
    command.args(args).owns_signals();
    if let Some(mechanism) = options.mechanism {
        command.mechanism(mechanism);
    }
    let handler = Direct { log, left_alone: options.left_alone, timeout: options.timeout };
    let status = match command.spawn(handler) {
        // What the program has left behind may still connect.
        Ok(mut child) => child.wait().inspect(|_| child.wait_for_descendants()),
        Err(error) => {
            eprintln!("catch_connects: {error}");
            return ExitCode::from(error.exit_code());
        }
    };
    status.map_or(ExitCode::FAILURE, |status| ExitCode::from(exit_code(status)))
}
