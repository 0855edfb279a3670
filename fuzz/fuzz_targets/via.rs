//! Answers of upstream proxies: no bytes make a handshake panic, and no split of them changes its
//! outcome. And addresses of such proxies: no text makes the parser panic.
#![no_main]

mod split;

use libfuzzer_sys::fuzz_target;
use tcp_tunn::ingress::{Destination, Via};

fuzz_target!(|input: &[u8]| {
    let destination = Destination::new("example.com", 443).unwrap();
    for via in ["socks5://a:1", "socks5://u:p@a:1", "http://a:1"] {
        let via: Via = via.parse().unwrap();
        split::check(|| via.handshake(&destination), input);
    }
    if let Ok(Err(error)) = std::str::from_utf8(input).map(str::parse::<Via>) {
        assert!(!error.to_string().is_empty());
    }
});
