//! Encoders and decoders: what may change the bytes on their way.
//!
//! An *encoder* sees what the client says, a *decoder* what the server says. A closure from bytes
//! to bytes is enough where no state is needed:
//!
//! ```
//! use tcp_tunn::transform::{Output, Transform};
//!
//! let mut encoder = |bytes: &[u8]| bytes.to_ascii_uppercase();
//! let mut output = Output::default();
//! encoder.transform(b"hello", &mut output).unwrap();
//! assert_eq!(&output.forward[..], b"HELLO");
//! ```

use std::error::Error;
use std::time::Duration;

use bytes::BytesMut;

use crate::event::{ConnectionId, Open};

/// Why a transform gave up; its words end up as the reason of the connection's close.
pub type TransformError = Box<dyn Error + Send + Sync>;

/// How a transform ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The receiver is told, after what was forwarded, that nothing more comes in this direction
    /// (FIN). What the sender still says is read and thrown away; the other direction goes on.
    Finish,
    /// Both peers are sent RST at once.
    Reset,
}

/// What a transform made of its input. Empty by default: the input is swallowed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Output {
    /// Bytes for the receiver.
    pub forward: BytesMut,
    /// Bytes for the sender itself, as if the receiver had said them.
    pub reply: BytesMut,
    /// How long to wait before any of it goes out. The direction stands still meanwhile.
    pub delay: Duration,
    /// Whether this is the end, after `forward` and `reply` have gone out.
    pub end: Option<End>,
}

/// Changes the bytes of one direction of one connection.
///
/// A transform lives on the thread of its connection, so it must not block; it may hold state,
/// which ends with the connection. An `Err` or a panic closes the connection with the reason and
/// leaves the tunnel and every other connection alone.
pub trait Transform {
    /// Takes the bytes of one read, never none, and puts what is to become of them into
    /// `output`, which comes empty. Where reads begin and end means nothing.
    fn transform(&mut self, input: &[u8], output: &mut Output) -> Result<(), TransformError>;

    /// The sender is done; what is still held back may go out now. By default nothing is.
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
        output.forward.extend_from_slice(self(input).as_ref());
        Ok(())
    }
}

/// The transforms of one connection; `None` leaves a direction as it is.
#[derive(Default)]
pub struct Pair {
    /// From the client to the server.
    pub encoder: Option<Box<dyn Transform>>,
    /// From the server to the client.
    pub decoder: Option<Box<dyn Transform>>,
}

/// Makes the transforms of each connection.
pub trait Codec: Send + Sync {
    /// The transforms of a connection that has just been accepted. Both may share state, by `Rc`:
    /// they run on one thread.
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
