//! Transforms: where reads begin and end means nothing, so every cutting of a stream gives the
//! same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tcp_tunn::transform::{
    Delimiter, FixedSize, Framer, LengthPrefix, Lines, Messages, Output, Step, Transform,
};

fn forwarded(output: Output, all: &mut Vec<u8>) {
    for step in output.into_steps() {
        if let Step::Forward(bytes) = step {
            all.extend_from_slice(&bytes);
        }
    }
}

/// What comes out of `stream` when it is cut by `cut`, and whether it ended well.
fn run(framer: Box<dyn Framer>, stream: &[u8], mut cut: impl FnMut() -> usize) -> (Vec<u8>, bool) {
    let upper = |message: &[u8]| message.to_ascii_uppercase();
    let mut transform = Messages::new(framer, upper);
    let mut all = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let chunk;
        (chunk, rest) = rest.split_at(cut().clamp(1, rest.len()));
        let mut output = Output::default();
        let result = transform.transform(chunk, &mut output);
        if result.is_err() {
            return (all, false);
        }
        forwarded(output, &mut all);
    }
    let mut output = Output::default();
    let ended_well = transform.finish(&mut output).is_ok();
    if ended_well {
        forwarded(output, &mut all);
    }
    (all, ended_well)
}

fn framer(kind: u8) -> Box<dyn Framer> {
    match kind % 5 {
        0 => Box::new(Lines::new()),
        1 => Box::new(Delimiter::new("ab")),
        2 => Box::new(FixedSize::new(7)),
        3 => Box::new(LengthPrefix::new(1)),
        _ => Box::new(LengthPrefix::new(2)),
    }
}

fuzz_target!(|data: &[u8]| {
    let [kind, seed, stream @ ..] = data else { return };
    let whole = run(framer(*kind), stream, || usize::MAX);
    let mut state = u32::from(*seed);
    let cut = run(framer(*kind), stream, || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
        (state >> 16) as usize % 9
    });
    assert_eq!(whole.1, cut.1, "one of them ended badly");
    // Where it ends badly, one cutting may have come further before.
    assert!(!whole.1 || whole.0 == cut.0);
});
