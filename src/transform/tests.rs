//! Framers and [`Messages`], by property: however the bytes arrive, the messages are the same.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

type Boxed = Box<dyn Framer>;

/// What came of a stream.
#[derive(Debug, PartialEq, Default)]
struct Outcome {
    messages: Vec<Vec<u8>>,
    steps: Vec<Step>,
    error: Option<String>,
}

impl Outcome {
    fn forwarded(&self) -> Vec<u8> {
        let bytes = |step: &Step| match step {
            Step::Forward(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        };
        self.steps.iter().flat_map(bytes).collect()
    }
}

/// Feeds `chunks` and the end of the stream to messages whose handler forwards them as they are.
fn run(framer: Boxed, max: usize, chunks: &[&[u8]]) -> Outcome {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sees = Rc::clone(&seen);
    let handler = from_fn(move |message, output| {
        sees.borrow_mut().push(message.to_vec());
        output.forward(message);
        Ok(())
    });
    let mut outcome = drive(&mut Messages::new(framer, handler).max(max), chunks);
    outcome.messages = seen.take();
    outcome
}

fn drive(transform: &mut impl Transform, chunks: &[&[u8]]) -> Outcome {
    let mut outcome = Outcome::default();
    let ends = std::iter::once(None);
    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()).map(Some).chain(ends) {
        let mut output = Output::default();
        let result = match chunk {
            Some(chunk) => transform.transform(chunk, &mut output),
            None => transform.finish(&mut output),
        };
        let ended = output.is_ended();
        outcome.steps.extend(output.into_steps());
        if let Err(error) = result {
            outcome.error = Some(error.to_string());
        }
        if ended || outcome.error.is_some() {
            break;
        }
    }
    outcome
}

/// Every kind of framer; twice the same for the same `kind` and `size`.
fn framer(kind: usize, size: usize) -> Boxed {
    match kind {
        0 => Box::new(LengthPrefix::new(1)),
        1 => Box::new(LengthPrefix::new(2).little_endian()),
        2 => Box::new(LengthPrefix::new(1).offset(size).counts_header()),
        3 => Box::new(LengthPrefix::new(3).adjust(2)),
        4 => Box::new(Delimiter::new("aab")),
        5 => Box::new(Delimiter::new(vec![b'a'; size])),
        6 => Box::new(Lines::new()),
        7 => Box::new(FixedSize::new(size)),
        _ => Box::new(Whole(LengthPrefix::new(1))),
    }
}

fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut from = 0;
    let chunk = |to| &bytes[std::mem::replace(&mut from, to)..to];
    ends.into_iter().map(chunk).collect()
}

/// Few different bytes, so that delimiters and small lengths are found in them.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![0..4_u8, Just(b'a'), Just(b'b'), Just(b'\n'), any::<u8>()], 0..300)
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_messages(
        bytes in stream(),
        cuts in vec(any::<Index>(), 0..20),
        kind in 0..9_usize,
        size in 1..5_usize,
        max in 1..400_usize,
    ) {
        let whole = run(framer(kind, size), max, &[&bytes]);
        for chunks in [cut(&bytes, &cuts), bytes.chunks(1).collect()] {
            let chunked = run(framer(kind, size), max, &chunks);
            prop_assert_eq!(&chunked.messages, &whole.messages);
            prop_assert_eq!(&chunked.error, &whole.error);
            if whole.error.is_none() {
                prop_assert_eq!(chunked.forwarded(), &bytes[..]);
                prop_assert_eq!(whole.forwarded(), &bytes[..]);
            }
        }
    }

    #[test]
    fn framed_messages_are_found_again(
        messages in vec(vec(any::<u8>(), 4..100), 1..20),
        kind in 0..4_usize,
        size in 1..4_usize,
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let mut stream = bytes::BytesMut::new();
        for message in &messages {
            framer(kind, size).frame(message, &mut stream).unwrap();
        }
        let outcome = run(framer(kind, size), 1000, &cut(&stream, &cuts));
        prop_assert_eq!(outcome.messages, messages);
    }

    #[test]
    fn written_lengths_are_read_back(
        width in 1..9_usize,
        little: bool,
        length: u64,
        offset in 0..9_usize,
    ) {
        let mut prefix = LengthPrefix::new(width).offset(offset);
        if little {
            prefix = prefix.little_endian();
        }
        let length = length >> (64 - 8 * width);
        let mut field = bytes::BytesMut::from(&[7; 9][..offset]);
        let bytes = if little { length.to_le_bytes() } else { length.to_be_bytes() };
        field.extend_from_slice(if little { &bytes[..width] } else { &bytes[8 - width..] });
        let total = (offset + width).saturating_add(usize::try_from(length).unwrap());
        let expected =
            if length == 0 { Found::Message(total) } else { Found::Need(total) };
        prop_assert_eq!(prefix.find(&field).unwrap(), expected);
    }
}

#[test]
fn message_beyond_maximum_fails_early() {
    let words = "a message is longer than the 100 bytes that are allowed";
    let prefix = run(Box::new(LengthPrefix::new(8)), 100, &[&[255; 8]]);
    assert_eq!(prefix.error.as_deref(), Some(words));
    let lines = run(Box::new(Lines::new()), 100, &[&[b'x'; 60], &[b'x'; 40], b"\n"]);
    assert_eq!(lines.error.as_deref(), Some(words));
    let fits = run(Box::new(Lines::new()), 100, &[&[b'x'; 60], &[b'x'; 39], b"\n"]);
    assert_eq!(fits.error, None);
}

#[test]
fn length_shorter_than_its_header_fails() {
    let framer = LengthPrefix::new(2).counts_header();
    let outcome = run(Box::new(framer), 100, &[&[0, 1]]);
    assert_eq!(outcome.error.unwrap(), "a message cannot have the length 1 that it claims");
}

#[test]
fn message_too_long_for_length_field_fails() {
    let mut grows = Messages::new(LengthPrefix::new(1), |message: &[u8]| message.repeat(100));
    let error = drive(&mut grows, &[b"\x02ok", b"\x03bad"]).error.unwrap();
    assert_eq!(error, "a message of 300 bytes does not fit a length field of 1 bytes");
}

#[test]
fn framer_beyond_input_fails() {
    struct Wrong(Found);
    impl Framer for Wrong {
        fn find(&mut self, _: &[u8]) -> Result<Found, TransformError> {
            Ok(self.0)
        }
    }
    for wrong in [Found::Message(0), Found::Message(4), Found::Need(3), Found::Need(0)] {
        let outcome = run(Box::new(Wrong(wrong)), 100, &[b"abc"]);
        assert!(outcome.error.unwrap().starts_with("the framer found a message"), "{wrong:?}");
    }
}

#[test]
fn unfinished_message_follows_rest_option() {
    let end = |rest: Option<Rest>, framer: Boxed| {
        let upper = |message: &[u8]| message.to_ascii_uppercase();
        let mut messages = Messages::new(framer, upper);
        if let Some(rest) = rest {
            messages = messages.rest(rest);
        }
        let outcome = drive(&mut messages, &[b"\x01a\x04bc"]);
        (outcome.forwarded(), outcome.error)
    };
    let prefix = || -> Boxed { Box::new(LengthPrefix::new(1)) };
    assert_eq!(end(None, prefix()), (b"\x01A\x04bc".to_vec(), None));
    assert_eq!(end(Some(Rest::Message), prefix()), (b"\x01A\x04BC".to_vec(), None));
    assert_eq!(end(Some(Rest::Drop), prefix()), (b"\x01A".to_vec(), None));
    let words = "the stream ended amid a message, after 3 bytes of it".to_owned();
    assert_eq!(end(Some(Rest::Error), prefix()), (b"\x01A".to_vec(), Some(words)));
    assert_eq!(end(None, Box::<Lines>::default()), (b"\x01A\x04BC".to_vec(), None));
}

#[test]
fn bytes_after_unfinished_line_stay_apart() {
    struct Trailer;
    impl Transform for Trailer {
        fn transform(&mut self, line: &[u8], output: &mut Output) -> Result<(), TransformError> {
            output.forward(line);
            Ok(())
        }
        fn finish(&mut self, output: &mut Output) -> Result<(), TransformError> {
            output.forward("trailer");
            Ok(())
        }
    }
    for (stream, expected) in [("a\nb", "a\nb\ntrailer\n"), ("a\n", "a\ntrailer\n")] {
        let outcome = drive(&mut Messages::new(Lines::new(), Trailer), &[stream.as_bytes()]);
        assert_eq!(outcome.forwarded(), expected.as_bytes());
    }
}

#[test]
fn steps_between_messages_keep_their_places() {
    let handler = from_fn(|line, output| {
        match line {
            b"wait" => output.delay(Duration::from_secs(1)),
            b"ask" => output.reply("answer"),
            b"quit" => output.finish(),
            line => {
                output.forward(line);
                output.forward(line);
            }
        }
        Ok(())
    });
    let stream = b"a\nwait\nb\nask\nquit\nc\n";
    let outcome = drive(&mut Messages::new(Lines::new(), handler), &[stream]);
    let expected = [
        Step::Forward("a\na\n".into()),
        Step::Delay(Duration::from_secs(1)),
        Step::Forward("b\nb\n".into()),
        Step::Reply("answer\n".into()),
        Step::Finish,
    ];
    assert_eq!(outcome.steps, expected);
}

#[test]
fn many_small_messages_take_linear_time() {
    let stream = vec![b'\n'; 1 << 20];
    let outcome = drive(&mut Messages::new(Lines::new(), |_: &[u8]| "x"), &[&stream]);
    assert_eq!(outcome.steps.len(), 1);
    assert_eq!(outcome.forwarded().len(), 2 << 20);
}

#[test]
fn long_message_in_small_reads_takes_linear_time() {
    let mut stream = vec![b'a'; 1 << 20];
    stream.push(b'b');
    let chunks: Vec<_> = stream.chunks(1).collect();
    let outcome = run(Box::new(Delimiter::new("aab")), 1 << 21, &chunks);
    assert_eq!(outcome.messages, [vec![b'a'; (1 << 20) - 2]]);
}
