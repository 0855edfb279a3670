//! Makes a network worse than it is: delays, corrupts, and cuts connections. What a program does
//! then is better known before it happens.
//!
//! Runs by itself: `cargo run --example fault_injector`

use std::time::{Duration, Instant};

use tcp_tunn::event::{ConnectionId, Open};
use tcp_tunn::transform::{Pair, Transform, from_fn};
use tcp_tunn::tunnel::Tunnel;

mod support;

/// Delays each chunk by `delay`, flips a bit of the byte at offset `corrupt`, and resets the
/// connection after `cut` bytes.
fn faults(delay: Duration, corrupt: usize, cut: usize) -> impl Transform {
    let mut passed = 0;
    from_fn(move |bytes, output| {
        let mut bytes = bytes[..bytes.len().min(cut - passed)].to_vec();
        if let Some(byte) = corrupt.checked_sub(passed).and_then(|at| bytes.get_mut(at)) {
            *byte ^= 1;
        }
        passed += bytes.len();
        output.delay(delay);
        output.forward(bytes);
        if passed == cut {
            output.reset();
        }
        Ok(())
    })
}

fn main() -> support::Outcome {
    let codec = |_: ConnectionId, _: &Open| {
        Pair::default().decoder(faults(Duration::from_millis(200), 4, 8))
    };
    let tunnel = Tunnel::builder("127.0.0.1:0", support::echo_server()?).codec(codec).bind()?;
    support::run(tunnel, |address| {
        for words in ["hello", "hello, world"] {
            let start = Instant::now();
            let answer = support::say(address, words);
            println!("said {words:?}, got {answer:?} after {:.1?}", start.elapsed());
        }
        Ok(())
    })
}
