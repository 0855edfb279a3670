//! Encoders and decoders: what may change the bytes on their way.
//!
//! An *encoder* sees what the client says, a *decoder* what the server says. A closure from bytes
//! to bytes is enough where what arrives together does not matter:
//!
//! ```
//! use tcp_tunn::transform::{Output, Step, Transform};
//!
//! let mut encoder = |bytes: &[u8]| bytes.to_ascii_uppercase();
//! let mut output = Output::default();
//! encoder.transform(b"hello", &mut output).unwrap();
//! assert_eq!(output.into_steps().next(), Some(Step::Forward("HELLO".into())));
//! ```
//!
//! [`from_fn`] makes a transform of a closure that may do more than that: drop, insert, answer to
//! the sender, wait, end the connection. [`Messages`] turns what works on messages into what
//! works on a stream, whose reads begin and end anywhere. A [`Codec`] makes the transforms of
//! each connection, so that they can have state of their own.

mod delimiter;
mod fixed;
mod framer;
mod length;
mod messages;
mod output;
mod plain;
#[cfg(test)]
mod tests;

use std::error::Error;

pub use delimiter::{Delimiter, Lines};
pub use fixed::FixedSize;
pub use framer::{Found, Framer, FramingError, Rest, Whole};
pub use length::LengthPrefix;
pub use messages::Messages;
pub use output::{Output, Step};
pub(crate) use plain::{Function, Plain};

use crate::event::{ConnectionId, Open};

/// Why a transform gave up; its words end up as the reason of the connection's close.
pub type TransformError = Box<dyn Error + Send + Sync>;

/// Changes the bytes of one direction of one connection.
///
/// A transform lives on the thread of its connection, so it must not block; it may hold state,
/// which ends with the connection. An `Err` or a panic resets the connection, with the reason in
/// its [`Close`](crate::event::CloseReason::Transform), and leaves the tunnel and every other
/// connection alone.
pub trait Transform {
    /// Takes the bytes of one read, never none, and puts what is to become of them into
    /// `output`, which comes empty. Where reads begin and end means nothing.
    ///
    /// Inside [`Messages`] the input is one message, which may be empty.
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<(), TransformError>;

    /// The sender is done; what is still held back may go out now. By default nothing is.
    ///
    /// Called at most once, as the last, and not after an error or an end by the transform
    /// itself.
    fn finish(&mut self, output: &mut Output) -> Result<(), TransformError> {
        let _ = output;
        Ok(())
    }
}

/// Every chunk becomes what the closure returns for it.
impl<F, B> Transform for F
where
    F: FnMut(&[u8]) -> B,
    B: AsRef<[u8]>,
{
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<(), TransformError> {
        output.forward(self(input));
        Ok(())
    }
}

impl Transform for Box<dyn Transform> {
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<(), TransformError> {
        (**self).transform(input, output)
    }

    fn finish(&mut self, output: &mut Output) -> Result<(), TransformError> {
        (**self).finish(output)
    }
}

/// A transform from a closure that is given the whole [`Output`].
///
/// ```
/// use tcp_tunn::transform::{Pair, from_fn};
///
/// let guard = from_fn(|input, output| {
///     if input.starts_with(b"DROP TABLE") {
///         output.reply(b"no\r\n");
///         output.finish();
///     } else {
///         output.forward(input);
///     }
///     Ok(())
/// });
/// let pair = Pair::default().encoder(guard);
/// # assert!(pair.decoder.is_none());
/// ```
pub fn from_fn<F>(closure: F) -> FromFn<F>
where
    F: FnMut(&[u8], &mut Output) -> Result<(), TransformError>,
{
    FromFn(closure)
}

/// A closure as a [`Transform`]; made by [`from_fn`].
pub struct FromFn<F>(F);

impl<F> Transform for FromFn<F>
where
    F: FnMut(&[u8], &mut Output) -> Result<(), TransformError>,
{
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<(), TransformError> {
        (self.0)(input, output)
    }
}

/// The transforms of one connection; `None`, as by default, leaves a direction as it is.
#[derive(Default)]
#[non_exhaustive]
pub struct Pair {
    /// From the client to the server.
    pub encoder: Option<Box<dyn Transform>>,
    /// From the server to the client.
    pub decoder: Option<Box<dyn Transform>>,
}

impl Pair {
    /// The same pair with another encoder, for what the client says.
    #[must_use]
    pub fn encoder(mut self, encoder: impl Transform + 'static) -> Self {
        self.encoder = Some(Box::new(encoder));
        self
    }

    /// The same pair with another decoder, for what the server says.
    #[must_use]
    pub fn decoder(mut self, decoder: impl Transform + 'static) -> Self {
        self.decoder = Some(Box::new(decoder));
        self
    }
}

/// Makes the transforms of each connection. A closure will do:
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use tcp_tunn::event::{ConnectionId, Open};
/// use tcp_tunn::transform::{Codec, Pair, from_fn};
///
/// // Both directions share a count; each connection has its own.
/// fn numbered(_: ConnectionId, _: &Open) -> Pair {
///     let requests = Rc::new(Cell::new(0));
///     let answered = Rc::clone(&requests);
///     Pair::default()
///         .encoder(move |bytes: &[u8]| {
///             requests.set(requests.get() + 1);
///             bytes.to_vec()
///         })
///         .decoder(from_fn(move |bytes, output| {
///             output.forward(format!("{}: ", answered.get()));
///             output.forward(bytes);
///             Ok(())
///         }))
/// }
/// # fn is_codec(_: impl Codec) {}
/// # is_codec(numbered);
/// ```
pub trait Codec: Send + Sync {
    /// The transforms of a connection whose upstream has just answered. Both may share state, by
    /// `Rc`: they run on one thread. A panic resets the connection, as one of a transform does.
    fn pair(&self, connection: ConnectionId, open: &Open) -> Pair;
}

/// A closure that makes the pair.
impl<F> Codec for F
where
    F: Fn(ConnectionId, &Open) -> Pair + Send + Sync,
{
    fn pair(&self, connection: ConnectionId, open: &Open) -> Pair {
        self(connection, open)
    }
}
