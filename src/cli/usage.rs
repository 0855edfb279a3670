//! Wrong usage, told in one line.

/// What is wrong and what to try, without the usage that clap puts below it.
pub(crate) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut paragraphs = text.split("\n\n").map(joined);
    let what = paragraphs.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what);
    let tip = paragraphs.find_map(|line| line.strip_prefix("tip: ").map(str::to_owned));
    match tip {
        Some(tip) => format!("{what} ({tip})"),
        None if what.ends_with(')') => what.to_owned(),
        None => format!("{what} (try 'tcp_tunn --help')"),
    }
}

fn joined(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::parse;

    #[test]
    fn one_line_says_what_and_what_to_try() {
        for (line, words) in [
            ("", "required arguments were not provided: --from <ADDR> --to <ADDR> (try"),
            ("--form :1 --to h:1", "unexpected argument '--form' found (a similar argument exists"),
            ("--from 127.0.0.1:0 --to h", "for '--to <ADDR>': 'h' has no port (try 'h:80')"),
            ("--from h:1 --to h:2 --from h:3", "2 --from but 1 --to (give"),
            ("--from h:1 --to h:2 --connect-timeout 5", "'5' has no unit (try '5s')"),
            ("--from h:1 --to h:2 --sink-buffer lots", "'lots' is no size (try '64MiB')"),
            ("--from h:1 --to h:2 --on-slow-sink wait", "possible values: block, drop"),
        ] {
            let args = ["tcp_tunn"].into_iter().chain(line.split_whitespace());
            let told = one_line(&parse(args).expect_err(line));
            assert!(told.contains(words), "{line}: {told}");
            assert!(!told.contains('\n') && told.ends_with([')', ']']), "{told}");
        }
    }
}
