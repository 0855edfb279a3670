//! Wrong usage, told in one line.

/// What is wrong and what to try, without the usage that clap puts below it.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n").map(joined);
    let what = paragraphs.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let what = &without_logins(&with_expected_values(what));
    let tip = paragraphs.find_map(|line| line.strip_prefix("tip: ").map(str::to_owned));
    match tip {
        Some(tip) => format!("{what} ({tip})"),
        None if what.ends_with(')') => what.to_owned(),
        None => format!("{what} (try 'tcp_tunn --help')"),
    }
}

/// `[possible values: a, b, c]` as `(expected a, b or c)`.
fn with_expected_values(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" [possible values: ") else {
        return text.to_owned();
    };
    let Some((values, after)) = rest.split_once(']') else { return text.to_owned() };
    let values = values
        .rsplit_once(", ")
        .map_or_else(|| values.to_owned(), |(others, last)| format!("{others} or {last}"));
    format!("{before} (expected {values}){after}")
}

/// The text with no user and password in its URLs.
fn without_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |shown, part| {
        let end = part.find(['/', '\'', ' ']).unwrap_or(part.len());
        let host = part[..end].rfind('@').map_or(0, |at| at + 1);
        shown + "://" + &part[host..]
    })
}

fn joined(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::parse;

    #[test]
    fn password_is_not_shown() {
        for option in ["--to", "--via"] {
            let args = ["tcp_tunn", "--from", "h:1", option, "http://me:secret@/x y"];
            let shown = one_line(&parse(args).expect_err(option));
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn usage_error_is_one_line_with_remedy() {
        for (line, words) in [
            ("", "nothing to relay (give '--from ADDR --to ADDR'"),
            ("--form :1 --to h:1", "unexpected argument '--form' found (a similar argument exists"),
            ("--from 127.0.0.1:0 --to h", "'h' for '--to <ADDR>': missing port (try 'h:80')"),
            ("--from h:1 --to h:2 --from h:3", "2 --from but 1 --to (give"),
            ("--from h:1 --to h:2 --connect-timeout 5", "missing unit (try '5s')"),
            (
                "--from h:1 --to h:2 --idle-timeout -1",
                "'-1' for '--idle-timeout <DUR>': must be positive",
            ),
            (
                "--from h:1 --to h:2 --idle-timeout --pcap x",
                "value is required for '--idle-timeout",
            ),
            ("--from h:1 --to h:2 --sink-buffer lots", "not a number (expected 1 to"),
            ("--from h:1 --to h:2 --on-slow-sink wait", "(expected block or drop)"),
        ] {
            let args = ["tcp_tunn"].into_iter().chain(line.split_whitespace());
            let told = one_line(&parse(args).expect_err(line));
            assert!(told.contains(words), "{line}: {told}");
            assert!(!told.contains('\n') && told.ends_with([')', ']']), "{told}");
        }
    }
}
