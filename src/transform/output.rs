//! What a transform wants done.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// What a transform wants done with its input, in order. Empty at first: the input is swallowed.
///
/// ```
/// use std::time::Duration;
/// use tcp_tunn::transform::{Output, Step};
///
/// let mut output = Output::default();
/// output.forward(b"to the receiver, ");
/// output.forward(b"in one write");
/// output.delay(Duration::from_millis(100));
/// output.reply(b"to the sender itself");
/// output.finish();
/// let steps: Vec<Step> = output.into_steps().collect();
/// assert_eq!(steps[0], Step::Forward("to the receiver, in one write".into()));
/// assert_eq!(steps.len(), 4);
/// ```
#[derive(Debug, Default)]
pub struct Output {
    /// The bytes of all [`Mark::Forward`].
    forward: BytesMut,
    /// The bytes of all [`Mark::Reply`].
    reply: BytesMut,
    marks: Vec<Mark>,
    ended: bool,
}

/// A [`Step`] whose bytes are still among the others, so that many small ones cost one
/// allocation and become one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Forward(usize),
    Reply(usize),
    Delay(Duration),
    Finish,
    Reset,
}

/// One thing that an [`Output`] wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Bytes go to the receiver.
    Forward(Bytes),
    /// Bytes go back to the sender.
    Reply(Bytes),
    /// The direction stands still.
    Delay(Duration),
    /// The receiver is sent FIN.
    Finish,
    /// Both peers are sent RST.
    Reset,
}

impl Output {
    /// Sends bytes to the receiver. What is forwarded without another step between goes out as
    /// one write.
    pub fn forward(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if !self.is_ended() {
            self.forward.extend_from_slice(bytes);
            self.marks.push(Mark::Forward(bytes.len()));
        }
    }

    /// Sends bytes to the sender itself, as if the receiver had said them: never amid bytes of
    /// one write of the receiver's, but anywhere between two. Nothing is sent once the receiver
    /// has ended its direction.
    pub fn reply(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if !self.is_reset() {
            self.reply.extend_from_slice(bytes);
            self.marks.push(Mark::Reply(bytes.len()));
        }
    }

    /// Waits before the next step. The direction stands still meanwhile: nothing more is read
    /// from the sender. The other direction goes on.
    pub fn delay(&mut self, delay: Duration) {
        if !self.is_reset() {
            self.marks.push(Mark::Delay(delay));
        }
    }

    /// Tells the receiver that nothing more comes in this direction (FIN). What the sender still
    /// says is read, recorded and thrown away, and the transform is not called again. Whatever
    /// is forwarded after it is thrown away too. The other direction goes on.
    pub fn finish(&mut self) {
        if !self.is_ended() {
            self.marks.push(Mark::Finish);
            self.ended = true;
        }
    }

    /// Sends RST to both peers: the connection is over. No step comes after it. What was sent
    /// before may be lost, as RST overtakes what a peer has not read yet.
    pub fn reset(&mut self) {
        if !self.is_reset() {
            self.marks.push(Mark::Reset);
            self.ended = true;
        }
    }

    /// Whether the direction is ended by one of the steps: [`finish`](Self::finish) or
    /// [`reset`](Self::reset).
    pub const fn is_ended(&self) -> bool {
        self.ended
    }

    fn is_reset(&self) -> bool {
        self.marks.last() == Some(&Mark::Reset)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// What is to be done, in order. Neighbors that forward are one step, and so are those that
    /// reply; no step carries zero bytes.
    pub fn into_steps(self) -> impl Iterator<Item = Step> {
        let Self { mut forward, mut reply, marks, .. } = self;
        let mut marks = marks.into_iter().peekable();
        let steps = std::iter::from_fn(move || {
            Some(match marks.next()? {
                Mark::Forward(mut len) => {
                    while let Some(Mark::Forward(more)) = marks.peek() {
                        len += more;
                        marks.next();
                    }
                    Step::Forward(forward.split_to(len).freeze())
                }
                Mark::Reply(mut len) => {
                    while let Some(Mark::Reply(more)) = marks.peek() {
                        len += more;
                        marks.next();
                    }
                    Step::Reply(reply.split_to(len).freeze())
                }
                Mark::Delay(delay) => Step::Delay(delay),
                Mark::Finish => Step::Finish,
                Mark::Reset => Step::Reset,
            })
        });
        steps.filter(|step| match step {
            Step::Forward(bytes) | Step::Reply(bytes) => !bytes.is_empty(),
            _ => true,
        })
    }

    /// How often [`forward`](Self::forward) was called.
    pub(super) fn forwards(&self) -> usize {
        self.marks.iter().filter(|mark| matches!(mark, Mark::Forward(_))).count()
    }

    /// Moves everything to the end of `into`; `frame` is given what was forwarded and replied by
    /// each single call, tells whether it was forwarded, and writes what is to go instead.
    pub(super) fn move_framed<E>(
        &mut self,
        into: &mut Self,
        mut frame: impl FnMut(bool, &[u8], &mut BytesMut) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut forwarded, mut replied) = (0, 0);
        for mark in self.marks.drain(..) {
            let (forward, len, from, at, to) = match mark {
                Mark::Forward(len) => (true, len, &self.forward, &mut forwarded, &mut into.forward),
                Mark::Reply(len) => (false, len, &self.reply, &mut replied, &mut into.reply),
                other => {
                    into.marks.push(other);
                    continue;
                }
            };
            let before = to.len();
            frame(forward, &from[*at..*at + len], to)?;
            *at += len;
            let len = to.len() - before;
            into.push(if forward { Mark::Forward(len) } else { Mark::Reply(len) });
        }
        into.ended |= std::mem::take(&mut self.ended);
        self.forward.clear();
        self.reply.clear();
        Ok(())
    }

    /// Adds a mark, or makes the last one longer: a read may hold very many small messages.
    fn push(&mut self, mark: Mark) {
        match (self.marks.last_mut(), mark) {
            (Some(Mark::Forward(last)), Mark::Forward(len)) => *last += len,
            (Some(Mark::Reply(last)), Mark::Reply(len)) => *last += len,
            _ => self.marks.push(mark),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(make: impl FnOnce(&mut Output)) -> Vec<Step> {
        let mut output = Output::default();
        make(&mut output);
        output.into_steps().collect()
    }

    #[test]
    fn neighbors_become_one_step() {
        let steps = steps(|output| {
            output.forward("a");
            output.forward("");
            output.forward("b");
            output.reply("x");
            output.reply("y");
            output.forward("c");
        });
        let expected =
            [Step::Forward("ab".into()), Step::Reply("xy".into()), Step::Forward("c".into())];
        assert_eq!(steps, expected);
    }

    #[test]
    fn empty_output_makes_no_step() {
        assert_eq!(steps(|output| output.forward("")), []);
    }

    #[test]
    fn finish_drops_later_forwards() {
        let steps = steps(|output| {
            output.finish();
            output.forward("late");
            output.reply("bye");
            output.finish();
        });
        assert_eq!(steps, [Step::Finish, Step::Reply("bye".into())]);
    }

    #[test]
    fn reset_drops_later_steps() {
        let steps = steps(|output| {
            output.finish();
            output.reset();
            output.reply("bye");
            output.delay(Duration::MAX);
            output.reset();
        });
        assert_eq!(steps, [Step::Finish, Step::Reset]);
    }
}
