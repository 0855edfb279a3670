//! Plain functions as the codec of all connections.

use std::sync::Arc;

use super::{Codec, Output, Pair, from_fn};
use crate::event::{ConnectionId, Open};

type Forward = dyn Fn(&[u8], &mut Output) + Send + Sync;

/// A function from bytes to bytes that all connections share.
#[derive(Clone)]
pub(crate) struct Function(Arc<Forward>);

impl Function {
    pub(crate) fn new<F, B>(function: F) -> Self
    where
        F: Fn(&[u8]) -> B + Send + Sync + 'static,
        B: AsRef<[u8]>,
    {
        Self(Arc::new(move |input, output| output.forward(function(input))))
    }

    fn transform(self) -> impl super::Transform + 'static {
        from_fn(move |input, output| {
            (self.0)(input, output);
            Ok(())
        })
    }
}

/// A codec, in some directions replaced by a function.
#[derive(Default)]
pub(crate) struct Plain {
    pub(crate) codec: Option<Box<dyn Codec>>,
    pub(crate) encoder: Option<Function>,
    pub(crate) decoder: Option<Function>,
}

impl Plain {
    /// Whether there is nothing for it to do.
    pub(crate) const fn is_empty(&self) -> bool {
        self.codec.is_none() && self.encoder.is_none() && self.decoder.is_none()
    }

    /// The codec, if there is anything for it to do.
    pub(crate) fn into_codec(self) -> Option<Arc<dyn Codec>> {
        (!self.is_empty()).then(|| Arc::new(self) as Arc<dyn Codec>)
    }
}

impl Codec for Plain {
    fn pair(&self, connection: ConnectionId, open: &Open) -> Pair {
        let mut pair = Pair::default();
        if let Some(codec) = &self.codec {
            pair = codec.pair(connection, open);
        }
        if let Some(encoder) = self.encoder.clone() {
            pair = pair.encoder(encoder.transform());
        }
        if let Some(decoder) = self.decoder.clone() {
            pair = pair.decoder(decoder.transform());
        }
        pair
    }
}
