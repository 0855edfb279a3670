//! Patterns of destinations: no text makes the parser panic, and what it takes is written as it
//! was meant.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcp_tunn::ingress::{Filter, Pattern, Subject};

fuzz_target!(|text: &str| {
    match text.parse::<Pattern>() {
        Ok(pattern) => {
            assert_eq!(pattern.to_string().parse(), Ok(pattern.clone()));
            let subject = Subject { names: &[text], ip: None, port: Some(443) };
            Filter::new(vec![pattern], Vec::new()).matches(subject);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
