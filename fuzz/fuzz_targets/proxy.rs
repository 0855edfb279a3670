//! Clients of the proxy: no bytes make a handshake panic, and no split of them changes its
//! outcome.
#![no_main]

mod split;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tcp_tunn::ingress::{Credentials, ProxyHandshake};

fuzz_target!(|input: &[u8]| {
    let credentials = Arc::new(Credentials::new("user", "pass").unwrap());
    for credentials in [None, Some(credentials)] {
        split::check(|| ProxyHandshake::new(credentials.clone()), input);
    }
});
