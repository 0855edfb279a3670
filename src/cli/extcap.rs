//! What Wireshark asks a program that wants to be one of its capture interfaces.
//!
//! The questions and the grammar of the answers are those of Wireshark's `extcap(4)`: each answer
//! is a line of `keyword {key=value}...` on stdout, and anything else there, or on stderr, is
//! taken for trouble.

use std::env;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tcp_tunn::os_error::Sentence;

/// Wireshark's questions. All but the first are its own business.
#[derive(Debug, clap::Args)]
pub(super) struct ExtcapArgs {
    /// Show up in this user's Wireshark as a capture interface, and do nothing else
    #[arg(long, hide_short_help = true)]
    install_extcap: bool,

    #[arg(long, hide = true)]
    extcap_interfaces: bool,

    #[arg(long, hide = true)]
    extcap_dlts: bool,

    #[arg(long, hide = true)]
    extcap_config: bool,

    #[arg(long, hide = true)]
    extcap_interface: Option<String>,

    #[arg(long, hide = true)]
    extcap_version: Option<String>,

    #[arg(long, hide = true)]
    extcap_capture_filter: Option<String>,

    /// Captures for Wireshark, which takes every line on stderr for an error.
    #[arg(long, hide = true, requires = "fifo")]
    pub(super) capture: bool,

    #[arg(long, hide = true, requires = "capture")]
    pub(super) fifo: Option<PathBuf>,
}

impl ExtcapArgs {
    /// The answer, if a question was asked.
    pub(super) fn answer(&self) -> Option<io::Result<String>> {
        if self.install_extcap {
            return Some(install().map(|links| {
                let line = |link: &PathBuf| format!("{} -> this program\n", link.display());
                links.iter().map(line).collect()
            }));
        }
        if self.extcap_interfaces {
            return Some(Ok(interfaces()));
        }
        if self.extcap_dlts {
            return Some(Ok(dlts()));
        }
        self.extcap_config.then(|| Ok(config()))
    }
}

/// The name of the interface, as in `tshark -i tcp_tunn`.
const INTERFACE: &str = "tcp_tunn";

/// The answer to `--extcap-interfaces`.
fn interfaces() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "extcap {{version={version}}}{{display=TCP tunnel}}\n\
         interface {{value={INTERFACE}}}{{display=TCP tunnel: relay and capture, no root}}\n"
    )
}

/// The answer to `--extcap-dlts`: every packet is an Ethernet frame.
fn dlts() -> String {
    "dlt {number=1}{name=EN10MB}{display=Ethernet}\n".to_owned()
}

/// One field of the dialogue that Wireshark shows before a capture.
struct Field {
    option: &'static str,
    label: &'static str,
    kind: &'static str,
    tooltip: &'static str,
    group: &'static str,
    more: &'static str,
}

/// A regular expression for `HOST:PORT` and `unix:/path`, so that Wireshark marks what cannot be.
const ADDRESS: &str = r"{validation=^(unix:.+|\\[[0-9A-Fa-f:.]+\\]:[0-9]+|[^:]+:[0-9]+)$}";
/// A duration such as `90s`.
const DURATION: &str = r"{validation=^[0-9]+ *[a-z]+( *[0-9]+ *[a-z]+)*$}";

const FIELDS: [Field; 7] = [
    Field {
        option: "--from",
        label: "Listen on",
        kind: "string",
        tooltip: "Where your client connects to: IP:PORT, [IPv6]:PORT, HOST:PORT or unix:/path",
        group: "Tunnel",
        more: "{required=true}{default=127.0.0.1:8080}",
    },
    Field {
        option: "--to",
        label: "Connect to",
        kind: "string",
        tooltip: "Your server: IP:PORT, [IPv6]:PORT, HOST:PORT or unix:/path",
        group: "Tunnel",
        more: "{required=true}{placeholder=example.com:80}",
    },
    Field {
        option: "--legs",
        label: "Show",
        kind: "selector",
        tooltip: "One stream from client to server, or the tunnel's two sockets apart",
        group: "Capture",
        more: "",
    },
    Field {
        option: "--segment-size",
        label: "Bytes in a segment",
        kind: "unsigned",
        tooltip: "The largest TCP segment that is drawn; 1460 looks like Ethernet",
        group: "Capture",
        more: "{range=64,65475}{default=32768}",
    },
    Field {
        option: "--tls-keylog",
        label: "TLS key log",
        kind: "fileselect",
        tooltip: "The file that SSLKEYLOGFILE names; its keys go into the capture",
        group: "Capture",
        more: "{mustexist=false}{fileext=Key logs (*.log *.txt *.keys)}",
    },
    Field {
        option: "--connect-timeout",
        label: "Connect time-out",
        kind: "string",
        tooltip: "How long an address of the server may take to answer, such as 10s",
        group: "Relay",
        more: "{default=10s}",
    },
    Field {
        option: "--max-connections",
        label: "Connections at once",
        kind: "unsigned",
        tooltip: "Further clients wait",
        group: "Relay",
        more: "{range=1,1000000}{default=10000}",
    },
];

/// The answer to `--extcap-config`.
fn config() -> String {
    let mut answer = String::new();
    for (number, field) in FIELDS.iter().enumerate() {
        let Field { option, label, kind, tooltip, group, more } = field;
        let validation = match *option {
            "--from" | "--to" => ADDRESS,
            "--connect-timeout" => DURATION,
            _ => "",
        };
        answer += &format!(
            "arg {{number={number}}}{{call={option}}}{{display={label}}}{{type={kind}}}\
             {{tooltip={tooltip}}}{{group={group}}}{more}{validation}\n"
        );
        if *option == "--legs" {
            answer += &format!(
                "value {{arg={number}}}{{value=direct}}{{display=client to server}}\
                 {{default=true}}\n\
                 value {{arg={number}}}{{value=both}}{{display=both sockets of the tunnel}}\n"
            );
        }
    }
    answer
}

/// The folders in which Wireshark looks for this user's interfaces: up to 4.0, and since.
fn folders() -> io::Result<[PathBuf; 2]> {
    let home = env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
    let home = home.ok_or_else(|| io::Error::other("HOME is not set"))?;
    let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    let config = config.unwrap_or_else(|| home.join(".config"));
    Ok([config.join("wireshark/extcap"), home.join(".local/lib/wireshark/extcap")])
}

/// Puts a link to this program where this user's Wireshark looks; the links made.
///
/// An older link of the same name is replaced, anything else of that name is left alone.
fn install() -> io::Result<Vec<PathBuf>> {
    let program = env::current_exe()?;
    folders()?.iter().map(|folder| link(&program, folder)).collect()
}

fn link(program: &Path, folder: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let link = folder.join(INTERFACE);
    if link.is_symlink() {
        std::fs::remove_file(&link)?;
    }
    symlink(program, &link).map_err(|error| {
        io::Error::new(error.kind(), format!("{}: {}", link.display(), Sentence(&error)))
    })?;
    Ok(link)
}

#[cfg(test)]
mod tests {
    use tcp_tunn::packet::SegmentSize;

    use super::*;

    #[test]
    fn answers_follow_extcap_grammar() {
        let answers = interfaces() + &dlts() + &config();
        for line in answers.lines() {
            let (keyword, rest) = line.split_once(' ').expect(line);
            assert!(["extcap", "interface", "dlt", "arg", "value"].contains(&keyword), "{line}");
            assert!(rest.starts_with('{') && rest.ends_with('}'), "{line}");
            assert_eq!(rest.matches('{').count(), rest.matches('}').count(), "{line}");
        }
    }

    #[test]
    fn offered_segment_sizes_are_valid() {
        let range = format!("{{range={},{}}}", SegmentSize::MIN, SegmentSize::MAX);
        let config = config();
        let line = config.lines().find(|line| line.contains("--segment-size")).expect("it");
        assert!(line.contains(&range), "{line}");
    }

    #[test]
    fn install_replaces_link_and_keeps_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("deep/extcap");
        let made = link(Path::new("/bin/true"), &place).expect("made");
        assert_eq!(std::fs::read_link(&made).expect("a link"), Path::new("/bin/true"));
        link(Path::new("/bin/false"), &place).expect("replaced");
        assert_eq!(std::fs::read_link(&made).expect("a link"), Path::new("/bin/false"));
        std::fs::remove_file(&made).expect("removed");
        std::fs::write(&made, "mine").expect("written");
        assert!(link(Path::new("/bin/true"), &place).is_err(), "a file was replaced");
    }
}
