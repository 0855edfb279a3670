//! A batch of events from the network: whatever it holds, reading it neither panics nor takes more
//! memory than a batch may.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tcp_tunn::fleet::wire::{BODY_MAX, BatchEncoder, Record, decode};

fuzz_target!(|bytes: &[u8]| {
    let _ = decode(bytes);
    // The same as a body that was compressed well.
    let mut batch = b"TTB\x01".to_vec();
    batch.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    batch.extend_from_slice(&zstd::bulk::compress(bytes, 1).expect("memory is enough"));
    let Ok(read) = decode(&batch) else { return };
    // What was read can be written, and is the same when it is read again.
    let mut encoder = BatchEncoder::default();
    let events: Vec<_> = (read.records.into_iter())
        .filter_map(|record| if let Record::Event(event) = record { Some(event) } else { None })
        .collect();
    events.iter().for_each(|event| encoder.push(event));
    assert!(encoder.len() <= BODY_MAX);
    let again = decode(&encoder.seal(read.number).expect("memory is enough")).expect("it is good");
    let again = again.records.into_iter();
    let again: Vec<_> = again
        .filter_map(|record| if let Record::Event(event) = record { Some(event) } else { None })
        .collect();
    assert_eq!(again, events);
});
