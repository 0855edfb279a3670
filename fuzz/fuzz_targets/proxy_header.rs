//! The PROXY protocol: no bytes make the reader panic, no split of them changes its outcome, and
//! what is written is read as it was meant.
#![no_main]

mod split;

use libfuzzer_sys::fuzz_target;
use tcp_tunn::ingress::{
    Handshake, Progress, ProxyHeader, ProxyHeaderReader, ProxyVersion, encode_proxy_header,
};

fuzz_target!(|input: &[u8]| {
    split::check(ProxyHeaderReader::new, input);
    let progress = ProxyHeaderReader::new().feed(input);
    let Progress::Done { output, .. } = progress else { return };
    let ProxyHeader::Proxied { source, destination } = &output else { return };
    let again = encode_proxy_header(ProxyVersion::V2, source, destination);
    let again = ProxyHeaderReader::new().feed(&again);
    assert_eq!(again, Progress::Done { output, leftover: Vec::new() });
});
