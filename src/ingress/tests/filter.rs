use std::net::IpAddr;

use super::super::{Destination, Filter, Pattern, Subject};

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().expect(text)).collect()
}

fn matches(pattern: &str, destination: &str) -> bool {
    let destination = match destination.parse() {
        Ok(address) => Destination::Ip(address),
        Err(_) => {
            let (host, port) = destination.rsplit_once(':').unwrap();
            Destination::new(host, port.parse().unwrap()).unwrap()
        }
    };
    Filter::new(patterns(&[pattern]), Vec::new()).matches_destination(&destination)
}

#[test]
fn pattern_matches_its_destinations_and_no_others() {
    for (pattern, yes, no) in [
        (
            "example.com",
            &["example.com:1", "EXAMPLE.com.:2"][..],
            &["www.example.com:1", "example.co:1", "xexample.com:1", "1.2.3.4:1"][..],
        ),
        (
            "*.example.com",
            &["www.example.com:1", "a.b.Example.com:1"],
            &["example.com:1", "xexample.com:1"],
        ),
        ("example.com:443", &["example.com:443"], &["example.com:80", "other.com:443"]),
        ("*.Example.com.:443", &["a.example.com:443"], &["a.example.com:80"]),
        (":443", &["example.com:443", "1.2.3.4:443", "[::1]:443"], &["example.com:80"]),
        ("*:443", &["example.com:443", "[::1]:443"], &["[::1]:80"]),
        ("*", &["example.com:443", "[::1]:80"], &[]),
        ("10.0.0.0/8", &["10.255.0.1:1", "[::ffff:10.0.0.1]:1"], &["11.0.0.1:1", "[::a00:1]:1"]),
        ("10.0.0.1/32:80", &["10.0.0.1:80"], &["10.0.0.1:81", "10.0.0.2:80"]),
        ("0.0.0.0/0", &["1.2.3.4:1"], &["[::1]:1", "example.com:1"]),
        ("::/0", &["[::1]:1"], &["1.2.3.4:1"]),
        ("127.0.0.1", &["127.0.0.1:1"], &["127.0.0.2:1"]),
        ("127.0.0.1:80", &["127.0.0.1:80"], &["127.0.0.1:81"]),
        ("::1", &["[::1]:1"], &["[::2]:1", "127.0.0.1:1"]),
        ("[::1]:80", &["[::1]:80"], &["[::1]:81"]),
        ("[::1]", &["[::1]:80"], &["[::2]:80"]),
        ("2001:db8::/32", &["[2001:db8:1::1]:80"], &["[2001:db9::1]:80"]),
        (
            "[2001:db8::/33]:443",
            &["[2001:db8::1]:443"],
            &["[2001:db8:8000::1]:443", "[2001:db8::1]:80"],
        ),
        ("::ffff:10.0.0.1", &["10.0.0.1:1"], &["10.0.0.2:1"]),
    ] {
        yes.iter().for_each(|yes| assert!(matches(pattern, yes), "{pattern} {yes}"));
        no.iter().for_each(|no| assert!(!matches(pattern, no), "{pattern} {no}"));
        let parsed: Pattern = pattern.parse().unwrap();
        assert_eq!(parsed.to_string().parse(), Ok(parsed.clone()), "{pattern} {parsed}");
    }
}

#[test]
fn bad_pattern_says_what_is_wrong() {
    for (input, words) in [
        ("", "invalid pattern '': unknown form (expected"),
        (":", "invalid port ''"),
        ("a:", "invalid port ''"),
        ("a:http", "invalid port 'http'"),
        (":65536", "invalid port '65536'"),
        (":+1", "invalid port '+1'"),
        ("10.0.0.0/33", "invalid prefix length '33'"),
        ("10.0.0.0/", "invalid prefix length ''"),
        ("10.0.0.0/+8", "invalid prefix length '+8'"),
        ("[::/129]:1", "invalid prefix length '129'"),
        ("10.0.0/8", "invalid pattern"),
        ("1.2.3", "invalid pattern"),
        ("a/8", "invalid pattern"),
        ("http://a", "invalid"),
        ("*a.com", "invalid pattern"),
        ("*.", "invalid pattern"),
        ("a*.com", "invalid pattern"),
        ("[::1]80", "invalid pattern"),
        ("[::1", "invalid pattern"),
        ("a b", "invalid pattern"),
    ] {
        let error = input.parse::<Pattern>().expect_err(input).to_string();
        assert!(error.contains(words), "{input}: {error}");
    }
}

#[test]
fn exclude_wins_over_include() {
    let filter = Filter::new(patterns(&["*.example.com", ":5432"]), patterns(&["b.example.com"]));
    let decide =
        |name: &str, port| filter.matches_destination(&Destination::new(name, port).unwrap());
    assert!(decide("a.example.com", 80));
    assert!(decide("other.com", 5432));
    assert!(!decide("b.example.com", 80));
    assert!(!decide("b.example.com", 5432));
    assert!(!decide("other.com", 80));
    let only_exclude = Filter::new(Vec::new(), patterns(&["127.0.0.0/8"]));
    assert!(only_exclude.matches_destination(&Destination::new("a", 1).unwrap()));
    assert!(!only_exclude.matches_destination(&Destination::new("127.0.0.1", 1).unwrap()));
}

#[test]
fn every_name_of_a_destination_counts() {
    let filter = Filter::new(patterns(&["example.com", "10.0.0.0/8"]), Vec::new());
    let ip = Some(IpAddr::from([192, 0, 2, 1]));
    let subject = Subject { names: &["cdn.net", "Example.com"], ip, port: Some(1) };
    assert!(filter.matches(subject));
    assert!(!filter.matches(Subject { names: &["cdn.net"], ..subject }));
    assert!(filter.matches(Subject { names: &[], ip: Some([10, 1, 1, 1].into()), port: None }));
}

#[test]
fn filter_without_patterns_lets_everything_through() {
    let filter = Filter::default();
    assert!(filter.is_empty());
    assert!(filter.matches(Subject::default()));
    // A unix socket has no host and no port: no pattern but `*` can mean it.
    assert!(
        !Filter::new(patterns(&["a", ":1", "0.0.0.0/0"]), Vec::new()).matches(Subject::default())
    );
    assert!(Filter::new(patterns(&["*"]), Vec::new()).matches(Subject::default()));
}

#[test]
fn names_that_could_be_resolved_are_listed() {
    let filter = Filter::new(patterns(&["A.com", "*.b.com", "10.0.0.1"]), patterns(&["c.com:1"]));
    assert_eq!(filter.host_names().collect::<Vec<_>>(), ["a.com", "c.com"]);
}
