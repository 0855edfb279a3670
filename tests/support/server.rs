//! Real servers, each started for one test alone, on a free port or on a unix socket.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::events::PATIENCE;

/// A running server, asked to end when dropped.
pub(crate) struct Server {
    child: Child,
    farewell: Signal,
    /// Where it is, as the tunnel wants it.
    pub(crate) address: String,
}

impl Server {
    /// Starts it and waits for the first line with `ready` in it, on stdout or stderr.
    fn start(mut command: Command, ready: &str, address: PathBuf, farewell: Signal) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = command.get_program().to_owned();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let (sender, lines) = channel();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let also = sender.clone();
        // To the end of what it says, so that it never waits for a reader.
        std::thread::spawn(move || each_line(stdout, |line| drop(also.send(line))));
        std::thread::spawn(move || each_line(stderr, |line| drop(sender.send(line))));
        let address = format!("unix:{}", address.display());
        let mut server = Self { child, farewell, address };
        let mut said = Vec::new();
        while let Ok(line) = lines.recv_timeout(PATIENCE) {
            if line.contains(ready) {
                if let Some(address) = address_in(&line) {
                    server.address = address;
                }
                return server;
            }
            said.push(line);
        }
        panic!("{name:?} is not ready: {said:#?}");
    }

    /// Python's web server, on TCP, for the files in `folder`.
    pub(crate) fn python(folder: &Path) -> Self {
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]);
        command.arg(folder);
        Self::start(command, "Serving HTTP on", PathBuf::new(), Signal::TERM)
    }

    /// nginx, on a unix socket whose name ends in HTTP's port, for the files in `folder`.
    pub(crate) fn nginx(folder: &Path) -> Self {
        Self::nginx_on(folder, "http.80", "", "")
    }

    /// The same with TLS 1.2 and 1.3, and a certificate that nobody vouches for.
    pub(crate) fn https(folder: &Path) -> Self {
        Self::https_with(folder, "")
    }

    /// The same, with HTTP/2 for clients that offer it, and with suites that are out of use.
    pub(crate) fn https_and_http2(folder: &Path) -> Self {
        Self::https_with(folder, " http2")
    }

    fn https_with(folder: &Path, more: &str) -> Self {
        make_certificate(folder);
        let files = ["certificate", "certificate_key"].into_iter().zip(["cert.pem", "key.pem"]);
        let files =
            files.map(|(what, name)| format!("ssl_{what} {};", folder.join(name).display()));
        let protocols = "ssl_protocols TLSv1.2 TLSv1.3; ssl_ciphers ALL:@SECLEVEL=0;";
        let config = files.collect::<String>() + protocols;
        Self::nginx_on(folder, "https.443", &format!(" ssl{more}"), &config)
    }

    /// nginx behind a load balancer: it answers with the client that the PROXY protocol names.
    pub(crate) fn nginx_behind(folder: &Path) -> Self {
        let answer = "location / { return 200 \"$proxy_protocol_addr\\n\"; }";
        Self::nginx_on(folder, "http.80", " proxy_protocol", answer)
    }

    /// openssl's server, on TCP, which answers each request with a page about the connection.
    pub(crate) fn openssl(folder: &Path) -> Self {
        Self::openssl_with(folder, &[])
    }

    /// The same with more options.
    pub(crate) fn openssl_with(folder: &Path, options: &[&str]) -> Self {
        make_certificate(folder);
        let mut command = Command::new("openssl");
        command.args([
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-cert",
            "cert.pem",
            "-key",
            "key.pem",
        ]);
        command.arg("-www").args(options).current_dir(folder);
        Self::start(command, "ACCEPT ", PathBuf::new(), Signal::TERM)
    }

    fn nginx_on(folder: &Path, socket: &str, ssl: &str, more: &str) -> Self {
        let home = folder.join("nginx");
        fs::create_dir(&home).unwrap();
        let socket = home.join(socket);
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path {what};"));
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; error_log stderr notice; events {{}}
             http {{ access_log off; {} server {{ listen unix:{}{ssl}; root {}; {more} }} }}",
            paths.concat(),
            socket.display(),
            folder.display()
        );
        fs::write(home.join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(&home);
        Self::start(command, "event method", socket, Signal::TERM)
    }

    /// Python's web server with TLS, on TCP, for the files in `folder`.
    pub(crate) fn python_with_tls(folder: &Path) -> Self {
        make_certificate(folder);
        let serve = "import http.server, ssl, sys\n\
                     h = http.server.SimpleHTTPRequestHandler\n\
                     s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), h)\n\
                     c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
                     c.load_cert_chain('cert.pem', 'key.pem')\n\
                     s.socket = c.wrap_socket(s.socket, server_side=True)\n\
                     print('Serving at port', s.server_port, 'now', flush=True)\n\
                     s.serve_forever()";
        let mut command = Command::new("python3");
        command.args(["-c", serve]).current_dir(folder);
        Self::start(command, "Serving at port", PathBuf::new(), Signal::TERM)
    }

    /// Redis, on a unix socket whose name ends in its port.
    pub(crate) fn redis(folder: &Path) -> Self {
        let socket = folder.join("redis.6379");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket);
        command.arg("--dir").arg(folder);
        Self::start(command, "ready to accept connections", socket, Signal::TERM)
    }

    /// PostgreSQL with an empty database, on a unix socket whose name ends in its port.
    pub(crate) fn postgres(folder: &Path) -> Self {
        let run = |program: &str| {
            let mut command = Command::new(postgres_program(program));
            as_postgres(&mut command, folder);
            command.arg("-D").arg(folder.join("data"));
            command
        };
        let made = run("initdb").args(["-A", "trust", "-U", "postgres", "-N"]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = run("postgres");
        command.args(["-c", "listen_addresses=", "-c", "port=5432", "-k"]).arg(folder);

        let socket = folder.join(".s.PGSQL.5432");
        // SIGTERM would wait for its clients.
        Self::start(command, "ready to accept connections", socket, Signal::INT)
    }

    /// The same on TCP, for clients that ask for TLS, too.
    pub(crate) fn postgres_with_tls(folder: &Path) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        make_certificate(folder);
        // Its data are made, and stay.
        drop(Self::postgres(folder));
        if geteuid().is_root() {
            let owner = fs::metadata(folder).unwrap();
            chown(folder.join("key.pem"), Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let mut command = Command::new(postgres_program("postgres"));
        as_postgres(&mut command, folder);
        let port = format!("port={}", free.port());
        let [certificate, key] = [("cert", "cert.pem"), ("key", "key.pem")]
            .map(|(what, name)| format!("ssl_{what}_file={}", folder.join(name).display()));
        command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
        for setting in ["listen_addresses=127.0.0.1", &port, "ssl=on", &certificate, &key] {
            command.args(["-c", setting]);
        }
        let mut server =
            Self::start(command, "ready to accept connections", PathBuf::new(), Signal::INT);
        server.address = free.to_string();
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), self.farewell);
        let _ = self.child.wait();
    }
}

fn each_line(output: impl std::io::Read, mut take: impl FnMut(String)) {
    BufReader::new(output).lines().map_while(Result::ok).for_each(&mut take);
}

/// The address in a line such as `Serving HTTP on 127.0.0.1 port 40001 (...`.
fn address_in(line: &str) -> Option<String> {
    if let Some(address) = line.strip_prefix("ACCEPT ") {
        return Some(address.to_owned());
    }
    let (_, port) = line.split_once(" port ")?;
    Some(format!("127.0.0.1:{}", port.split(' ').next()?))
}

/// Makes a certificate that nobody vouches for, and its key.
pub(crate) fn make_certificate(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-subj", "/CN=localhost", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", "key.pem", "-out", "cert.pem"])
        .args(["-addext", "subjectAltName=DNS:localhost,DNS:srv.test,IP:127.0.0.1"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Debian keeps the programs of each version apart, and outside of the search path.
fn postgres_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let mut programs: Vec<_> =
        versions.map(|version| version.unwrap().path().join("bin").join(name)).collect();
    programs.sort();
    programs.pop().expect("PostgreSQL is installed")
}

/// PostgreSQL refuses to run as root: gives it its own user, and that one `folder`.
fn as_postgres(command: &mut Command, folder: &Path) {
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    command.current_dir(folder);
    if geteuid().is_root() {
        let id = |what: &str| {
            let id = Command::new("id").args([what, "postgres"]).output().unwrap();
            String::from_utf8(id.stdout).unwrap().trim().parse::<u32>().unwrap()
        };
        let (user, group) = (id("-u"), id("-g"));
        command.uid(user).gid(group);
        chown(folder, Some(user), Some(group)).unwrap();
    }
}
