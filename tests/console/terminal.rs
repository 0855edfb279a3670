//! The program on a real terminal: what it is sent is what it shows, whatever the traffic.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

use regex::Regex;
use tempfile::{TempDir, tempdir};

use super::is_harmless;
use crate::support::terminal::{Screen, Terminal};

/// What moves the cursor, sets colors or the title, asks the terminal for answers, runs
/// backwards, or is no UTF-8.
const COMMANDS: &[u8] =
    b"\x1b[2J\x1b[H\x1b[10A\x1b[31m\x1b]0;title\x07\x1b[6n\x1b[c\x9b31m\xc2\x9b2J\
    \x1b(0\x1b[?1049h\x1bc\r\x08\x08\x7f\x0e\x0c\x0b\t\
    \xe2\x80\xae\xe2\x80\x8b\xef\xbb\xbf\xf3\xa0\x80\xa1\xc0\x80\xed\xa0\x80\xf5\xff\xe2\x82";

/// All bytes, commands, rows that repeat, words to the end of a row and beyond.
fn hostile() -> Vec<u8> {
    let all = (0..=u8::MAX).collect::<Vec<_>>();
    [&all[..], COMMANDS, b"\n", &[b'='; 200], b"\n", &all, COMMANDS].concat()
}

/// What a path may hold, too.
const NAME: &str = "\x1b[2J\x07\u{9b}31m\u{202e}";

/// A connection through a tunnel between two unix sockets, to a server with a hostile name.
struct Hostile {
    folder: TempDir,
    server: JoinHandle<()>,
}

impl Hostile {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(NAME)).unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.write_all(&hostile()).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        });
        Self { folder, server }
    }

    fn arguments(&self) -> String {
        format!("--from unix:{0}/tunnel --to 'unix:{0}/{NAME}'", self.folder.path().display())
    }

    /// Says it all, and waits until the server has ended.
    fn talk(self) {
        let mut client = UnixStream::connect(self.folder.path().join("tunnel")).unwrap();
        client.write_all(&hostile()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        assert!(heard == hostile());
        self.server.join().unwrap();
    }
}

/// What a terminal shows of a hostile conversation; `wrap` has the command at its `{}`.
fn shown(columns: usize, arguments: &str, wrap: &str) -> Screen {
    let hostile = Hostile::new();
    let program = env!("CARGO_BIN_EXE_tcp_tunn");
    let command = format!("{program} {} {arguments}", hostile.arguments());
    let terminal = Terminal::start(columns, &wrap.replace("{}", &command));
    terminal.wait_for("listening on ");
    hostile.talk();
    terminal.wait_for("Close: finished");
    terminal.interrupt()
}

fn without_colors(text: &str) -> String {
    Regex::new("\x1b\\[[0-9;]*m").unwrap().replace_all(text, "").into_owned()
}

#[test]
fn hostile_traffic_and_names_move_no_cursor_at_any_width() {
    for format in ["hexdump", "text"] {
        for columns in [40, 80, 132] {
            let screen = shown(columns, &format!("--console {format}"), "{}");
            let sent = without_colors(&screen.sent).replace("\r\n", "\n");
            assert!(is_harmless(&sent), "{sent:?}");
            let sent: Vec<_> = sent.lines().map(str::trim_end).collect();
            assert_eq!(screen.lines, sent, "{format}, {columns} columns");
            let name = r"/\x1b[2J\x07\u{9b}31m\u{202e}";
            for start in ["listening on ", "[1] ", "   1  unix:"] {
                let mut lines = sent.iter().filter(|line| line.starts_with(start));
                assert!(lines.any(|line| line.contains(name)), "{start}: {sent:#?}");
            }
        }
    }
}

#[test]
fn rows_fit_the_terminal() {
    for (columns, at_least) in [(40, 120), (60, 100), (80, 60)] {
        let screen = shown(columns, "", "{}");
        let dumped = |line: &&String| line.contains('|') && line.starts_with("000");
        let rows: Vec<_> = screen.rows.iter().filter(dumped).collect();
        assert!(rows.len() > at_least, "{} {rows:#?}", rows.len());
        assert!(rows.iter().all(|row| row.ends_with('|')), "{rows:#?}");
        assert_eq!(rows, screen.lines.iter().filter(dumped).collect::<Vec<_>>());
    }
}

#[test]
fn colors_appear_on_terminals_only() {
    let has_colors = |screen: &Screen| screen.sent.contains("\x1b[");
    for (arguments, wrap, colors) in [
        ("", "{}", true),
        ("", "NO_COLOR=1 {}", false),
        ("", "NO_COLOR= {}", true),
        ("", "CLICOLOR=0 {}", false),
        ("", "TERM=dumb {}", false),
        ("", "{} | cat", false),
        ("", "CLICOLOR_FORCE=1 {} | cat", true),
        ("--color never", "{}", false),
        ("--color always", "NO_COLOR=1 {} | cat", true),
        ("--console json", "{}", false),
    ] {
        let hostile = Hostile::new();
        let program = env!("CARGO_BIN_EXE_tcp_tunn");
        let more = format!("{arguments} --stop-after connections:1");
        let command = format!("{program} {} {more}", hostile.arguments());
        let terminal = Terminal::start(100, &wrap.replace("{}", &command));
        terminal.wait_for("listening on ");
        hostile.talk();
        let screen = terminal.end();
        assert_eq!(has_colors(&screen), colors, "{wrap} {arguments}: {}", screen.sent);
    }
}

#[test]
fn socket_of_tunnel_is_removed_at_end() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("seen.sock");
    // Somebody was killed and left it.
    drop(UnixListener::bind(&path).unwrap());
    assert!(Path::new(&path).exists());
    let program = env!("CARGO_BIN_EXE_tcp_tunn");
    let terminal =
        Terminal::start(80, &format!("{program} --from unix:{} --to h:1", path.display()));
    terminal.wait_for("listening on unix:");
    assert!(path.exists());
    terminal.interrupt();
    assert!(!path.exists());
}
