//! The help, and what is generated of it.

use crate::support::process::Process;

#[test]
fn help_and_generated_texts_name_all_options() {
    let help = Process::run(&["--help"]);
    let version = Process::run(&["--version"]);
    let expected = format!("tcp_tunn {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((version.code, String::from_utf8(version.stdout).unwrap()), (Some(0), expected));
    let generated = ["man", "complete-bash", "complete-zsh", "complete-fish"]
        .map(|what| Process::run(&["--generate", what]));
    for ended in generated.into_iter().chain([help]) {
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.is_empty(), "{ended:?}");
        let text = String::from_utf8(ended.stdout).unwrap().replace('\\', "");
        for option in OPTIONS {
            assert!(text.contains(option), "{option} is missing in {text}");
        }
    }
}

#[test]
fn manual_page_explains_each_option_and_keeps_example_lines() {
    let page = String::from_utf8(Process::run(&["--generate", "man"]).stdout).unwrap();
    let (_, examples) = page.split_once(".SH EXAMPLES\n.nf\n  See ").unwrap();
    assert!(examples.contains("\n    tcp_tunn \\-\\-from 127.0.0.1:8080 "), "{examples}");
    assert!(examples.contains(" example.com:80 \\-\\-pcap out.pcapng\n\n"), "{examples}");
    let mut entries = page.split(".TP\n").skip(1);
    let unexplained = entries.find(|entry| entry.trim_end().lines().count() < 2);
    assert_eq!(unexplained, None);
}

/// Scripts depend on these names.
const OPTIONS: &[&str] = &[
    "from",
    "to",
    "console",
    "quiet",
    "color",
    "time",
    "max-print",
    "only",
    "connection",
    "grep",
    "hide-data",
    "pcap",
    "legs",
    "segment-size",
    "snaplen",
    "pcap-over-ip",
    "push",
    "rotate-size",
    "rotate-interval",
    "rotate-files",
    "stop-after",
    "tls-keylog",
    "connect-timeout",
    "idle-timeout",
    "half-close-timeout",
    "max-connections",
    "workers",
    "shutdown-timeout",
    "on-slow-sink",
    "sink-buffer",
    "on-sink-error",
    "sample",
    "verbose",
    "generate",
    "version",
    "help",
];
