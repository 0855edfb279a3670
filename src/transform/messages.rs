//! Transforms on messages.

use bytes::{Buf, BytesMut};

use super::framer::{Found, Framer, FramingError, Rest};
use super::output::Output;
use super::{Transform, TransformError};

/// The most bytes of a message, unless told otherwise.
const MAX_DEFAULT: usize = 16 * 1024 * 1024;

/// Makes a transform on messages one on a stream.
///
/// The framer cuts the stream into messages, however its bytes arrive; the handler, a
/// [`Transform`] too, is called once for each, without its framing. Everything that it forwards
/// or replies, by each single call, is a message again and is framed. A message that it does not
/// forward is dropped.
///
/// ```
/// use tcp_tunn::transform::{LengthPrefix, Messages, Output, Step, Transform, from_fn};
///
/// let handler = from_fn(|message, output| {
///     match message {
///         b"ping" => output.reply(b"pong"),
///         b"noise" => {}
///         other => output.forward([other, b"!"].concat()),
///     }
///     Ok(())
/// });
/// let mut messages = Messages::new(LengthPrefix::new(1), handler);
/// let mut output = Output::default();
/// messages.transform(b"\x04ping\x05noise\x02h", &mut output)?;
/// messages.transform(b"i", &mut output)?;
/// let steps: Vec<Step> = output.into_steps().collect();
/// assert_eq!(steps, [Step::Reply("\x04pong".into()), Step::Forward("\x03hi!".into())]);
/// # Ok::<(), tcp_tunn::transform::TransformError>(())
/// ```
///
/// # At the end of the stream
///
/// Bytes after the last whole message become what [`Framer::rest`] says, or
/// [`rest`](Self::rest): for delimiters and lines a message like the others, for lengths and
/// fixed sizes they pass as they are. Then the handler's [`finish`](Transform::finish) is called.
///
/// # Memory
///
/// Held back are the bytes of one unfinished message, at most [`max`](Self::max).
pub struct Messages<F, H> {
    framer: F,
    handler: H,
    max: usize,
    rest: Option<Rest>,
    /// The beginning of a message.
    held: BytesMut,
    /// How many bytes that message has at least.
    needed: usize,
    /// What the handler made of one message.
    made: Output,
}

impl<F: Framer, H: Transform> Messages<F, H> {
    /// Hands the messages that `framer` finds to `handler`.
    pub fn new(framer: F, handler: H) -> Self {
        Self {
            framer,
            handler,
            max: MAX_DEFAULT,
            rest: None,
            held: BytesMut::new(),
            needed: 0,
            made: Output::default(),
        }
    }

    /// Allows messages of at most `max` bytes, framing included; a longer one closes the
    /// connection, as soon as it is known to be. By default 16 MiB.
    #[must_use]
    pub const fn max(mut self, max: usize) -> Self {
        self.max = max;
        self
    }

    /// Says what becomes of an unfinished message at the end of the stream. By default the
    /// framer does.
    #[must_use]
    pub const fn rest(mut self, rest: Rest) -> Self {
        self.rest = Some(rest);
        self
    }

    /// Handles the whole messages at the beginning of `bytes`; how many bytes they have.
    fn handle_all(&mut self, bytes: &[u8], output: &mut Output) -> Result<usize, TransformError> {
        let mut used = 0;
        self.needed = 0;
        while used < bytes.len() && !output.is_ended() {
            let left = &bytes[used..];
            // No more than a message may have, or what is found would depend on how bytes arrive.
            let left = &left[..left.len().min(self.max)];
            match self.framer.find(left)? {
                Found::Need(len) | Found::Message(len) if len > self.max => {
                    return Err(FramingError::TooLong { max: self.max }.into());
                }
                Found::Message(len) if len > 0 && len <= left.len() => {
                    self.handle(&left[..len], output)?;
                    used += len;
                }
                Found::Need(len) if len > left.len() => {
                    self.needed = len;
                    break;
                }
                Found::Message(found) | Found::Need(found) => {
                    return Err(FramingError::BadFramer { found, available: left.len() }.into());
                }
            }
        }
        Ok(used)
    }

    fn handle(&mut self, message: &[u8], output: &mut Output) -> Result<(), TransformError> {
        let Self { framer, handler, made, .. } = self;
        handler.transform(&framer.unframe(message), made)?;
        made.move_framed(output, |_, payload, stream| framer.frame(payload, stream))
    }

    /// Handles an unfinished message and the end, after which nothing comes that would have to be
    /// told apart from it.
    fn handle_rest(&mut self, rest: &[u8], output: &mut Output) -> Result<(), TransformError> {
        let Self { framer, handler, made, .. } = self;
        handler.transform(rest, made)?;
        let of_rest = made.forwards();
        if !made.is_ended() {
            handler.finish(made)?;
        }
        let unframed = (made.forwards() == of_rest).then_some(of_rest);
        let mut count = 0;
        made.move_framed(output, |forward, payload, stream| {
            count += usize::from(forward);
            if forward && Some(count) == unframed {
                stream.extend_from_slice(payload);
                return Ok(());
            }
            framer.frame(payload, stream)
        })
    }
}

impl<F: Framer, H: Transform> Transform for Messages<F, H> {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<(), TransformError> {
        if self.held.is_empty() {
            let used = self.handle_all(input, output)?;
            self.held.extend_from_slice(&input[used..]);
            return Ok(());
        }
        self.held.extend_from_slice(input);
        if self.held.len() >= self.needed {
            let mut held = std::mem::take(&mut self.held);
            let used = self.handle_all(&held, output)?;
            held.advance(used);
            self.held = held;
        }
        Ok(())
    }

    fn finish(&mut self, output: &mut Output) -> Result<(), TransformError> {
        let rest = std::mem::take(&mut self.held);
        if !rest.is_empty() {
            match self.rest.unwrap_or_else(|| self.framer.rest()) {
                Rest::Message => return self.handle_rest(&rest, output),
                Rest::Pass => output.forward(&rest),
                Rest::Drop => {}
                Rest::Error => {
                    return Err(FramingError::Unfinished { len: rest.len() }.into());
                }
            }
        }
        let Self { framer, handler, made, .. } = self;
        handler.finish(made)?;
        made.move_framed(output, |_, payload, stream| framer.frame(payload, stream))
    }
}
