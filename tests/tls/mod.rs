//! The plaintext of TLS, with real programs on both ends.

mod authority;
mod intercepted_ends;
mod intercepts;
mod one_leg;
mod programs;
mod stays_closed;
mod views;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::{TempDir, tempdir};

use crate::support::process::{Ended, Process};
use crate::support::server::Server;

const PAGE: &str = "a page that nobody else should read\n";

/// A line of text for each line of the traffic, without times.
const TEXT: [&str; 4] = ["--console", "text", "--time", "none"];

/// A web server that speaks TLS, a tunnel to it that follows a key log, and the key log.
struct Scene {
    folder: TempDir,
    tunnel: Process,
    _server: Server,
}

impl Scene {
    /// `options` are the tunnel's, beside those for TLS.
    fn new(options: &[&str]) -> Self {
        Self::with(options, Server::https_and_http2)
    }

    fn with(options: &[&str], server: fn(&std::path::Path) -> Server) -> Self {
        let folder = tempdir().unwrap();
        fs::write(folder.path().join("page"), PAGE).unwrap();
        let server = server(folder.path());
        let keys = folder.path().join("keys.log");
        let args = ["--from", "127.0.0.1:0", "--to", &server.address];
        let tls = ["--tls", "decrypt", "--tls-keylog", keys.to_str().unwrap()];
        let tunnel = Process::start(&[&args[..], &tls, options].concat());
        Self { folder, tunnel, _server: server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs curl, which logs its keys, for a page of the server.
    fn curl(&self, args: &[&str], page: &str) -> Output {
        self.run("curl", &[&["-sS", "--insecure", "--noproxy", "*"], args].concat(), page)
    }

    /// Runs a program with a page's URL as its last argument.
    fn run(&self, program: &str, args: &[&str], page: &str) -> Output {
        let ran = self.command(program, args, page).output().expect(program);
        assert!(ran.status.success(), "{program} {args:?}: {ran:?}");
        ran
    }

    fn command(&self, program: &str, args: &[&str], page: &str) -> Command {
        let url = format!("https://{}/{page}", self.tunnel.addresses[0]);
        let mut command = Command::new(program);
        command.env("SSLKEYLOGFILE", self.path("keys.log")).current_dir(self.folder.path());
        command.args(args).arg(url);
        command
    }

    /// What the console said of it all.
    fn shown(self) -> String {
        String::from_utf8_lossy(&self.ended().stdout).into_owned()
    }

    fn ended(self) -> Ended {
        let ended = self.tunnel.stop();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended
    }
}

/// Runs a program under the tunnel; what the console says, if it does.
fn run(options: &[&str], program: &[&str]) -> (Output, String) {
    let folder = tempdir().unwrap();
    let shown = folder.path().join("shown");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcp_tunn"));
    command.env_remove("SSLKEYLOGFILE").arg("run").args(options).arg("-o").arg(&shown);
    let ran = command.arg("--").args(program).output().unwrap();
    (ran, fs::read_to_string(shown).unwrap_or_default())
}

/// A mail server and its client, which begin in clear and then speak TLS (RFC 3207).
const MAIL: &str = r#"
import smtplib, socket, ssl, sys, threading
certificate = sys.argv[1]
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    plain, _ = listener.accept()
    plain.sendall(b"220 ready\r\n")
    assert plain.recv(100).startswith(b"ehlo")
    plain.sendall(b"250-here\r\n250 STARTTLS\r\n")
    assert plain.recv(100) == b"STARTTLS\r\n"
    plain.sendall(b"220 go ahead\r\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate + "/cert.pem", certificate + "/key.pem")
    secret = context.wrap_socket(plain, server_side=True)
    assert secret.recv(100).startswith(b"ehlo")
    secret.sendall(b"250 here, in private\r\n")
    assert secret.recv(100) == b"quit\r\n"
    secret.sendall(b"221 bye\r\n")
    secret.unwrap().close()
thread = threading.Thread(target=serve)
thread.start()
client = smtplib.SMTP("127.0.0.1", listener.getsockname()[1], local_hostname="me")
client.ehlo()
client.starttls(context=ssl._create_unverified_context())
client.ehlo()
client.quit()
thread.join()
"#;

/// What the console says of it.
const MAIL_SAID: [&str; 11] = [
    "<- 220 ready",
    "-> ehlo me",
    "<- 250-here",
    "<- 250 STARTTLS",
    "-> STARTTLS",
    "<- 220 go ahead",
    "TLS 1.3 TLS_AES_256_GCM_SHA384",
    "-> ehlo me",
    "<- 250 here, in private",
    "-> quit",
    "<- 221 bye",
];

/// What the console says of the first connection, without its opening and its end.
fn said(shown: &str) -> Vec<&str> {
    let lines = shown.lines().filter_map(|line| line.strip_prefix("[1] "));
    lines
        .filter(|line| ["-> ", "<- ", "TLS "].iter().any(|start| line.starts_with(start)))
        .collect()
}
