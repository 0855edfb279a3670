//! Wrong usage: what is told, and what to try.

use crate::support::process::Process;

const LOCAL: &str = "127.0.0.1:0";

#[test]
fn wrong_usage_is_told_in_one_line() {
    for (args, words) in [
        (&[][..], "required arguments were not provided: --from <ADDR> --to <ADDR>"),
        (&["--from", LOCAL], "required arguments were not provided: --to <ADDR>"),
        (&["--from", LOCAL, "--to", "example.com"], "has no port (try 'example.com:80')"),
        (&["--from", "::1:80", "--to", "h:1"], "needs brackets (try '[::1]:80')"),
        (&["--from", LOCAL, "--to", "h:1", "--to", "h:2"], "1 --from but 2 --to (give them in pai"),
        (&["--from", LOCAL, "--to", "h:1", "--workers", "0"], "'0' is no number from 1 up (try"),
        (&["--from", LOCAL, "--to", "h:1", "--idle-timeout", "9"], "'9' has no unit (try '9s')"),
        (&["--from", LOCAL, "--to", "h:1", "--segment-size", "9"], "9 is no segment size"),
        (&["--from", LOCAL, "--to", "h:1", "--grep", "("], "': unclosed group (the syntax is"),
        (&["--from", LOCAL, "--to", "h:1", "--connection", "0"], "no number from 1 up (try"),
        (&["--from", LOCAL, "--to", "h:1", "--max-print", "0"], "nothing (try '--hide-data')"),
        (
            &["--from", LOCAL, "--to", "h:1", "--console", "raw", "--hide-data"],
            "--hide-data leaves nothing of --console raw (try",
        ),
        (&["--from", LOCAL, "--to", "h:1", "-q", "--console", "raw"], "cannot be used with"),
        (&["--from", LOCAL, "--to", "h:1", "--rotate-size", "1MB"], "--pcap <FILE|->"),
        (
            &["--from", LOCAL, "--to", "h:1", "--pcap", "-", "--rotate-size", "1MB"],
            "stdout cannot rotate",
        ),
        (
            &["--from", LOCAL, "--to", "h:1", "--pcap", "/dev/null", "--rotate-size", "1MB"],
            "'/dev/null' is no file and cannot rotate",
        ),
        (
            &["--from", LOCAL, "--to", "h:1", "--pcap", "/x/y", "--tls-keylog", "/"],
            "'/' is no file (name the one of",
        ),
        (
            &["--from", LOCAL, "--to", "h:1", "--tls-keylog", "k"],
            "no capture to put keys into (try",
        ),
        (&["--from", LOCAL, "--to", "h:1", "--snaplen", "1"], "no capture to keep small (try '--p"),
        (&["--from", LOCAL, "--to", "h:1", "--legs", "both"], "no capture to show them in (try"),
        (
            &["--from", LOCAL, "--to", "h:1", "--pcap", "/x/y", "--rotate-files", "2"],
            "--rotate-files needs a size or an interval",
        ),
        (&["--from", LOCAL, "--to", "h:1", "--stop-after", "packets:1"], "(try '--pcap FILE', or"),
        (&["--from", LOCAL, "--to", "h:1", "--stop-after", "files:1"], "none of duration:, size:"),
        (&["--form", LOCAL], "unexpected argument '--form' found (a similar argument exists: '--f"),
    ] {
        let ended = Process::run(args);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert_eq!(ended.stderr.len(), 1, "{ended:?}");
        assert!(
            ended.stderr[0].starts_with("tcp_tunn: ") && ended.stderr[0].contains(words),
            "{ended:?}"
        );
        assert!(ended.stdout.is_empty(), "{ended:?}");
    }
}
