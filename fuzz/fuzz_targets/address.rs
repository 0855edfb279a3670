//! Addresses: no text makes the parser panic, what it takes is written as it was read, and what
//! it refuses is told in one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcp_tunn::tunnel::Address;

fuzz_target!(|text: &str| {
    match text.parse::<Address>() {
        Ok(address) => {
            let again: Address = address.to_string().parse().expect("it was written badly");
            assert_eq!(again, address);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
