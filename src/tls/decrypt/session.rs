//! A connection that speaks TLS: both directions and what they have in common.

use std::sync::Arc;

use super::backlog::{Backlog, Piece};
use super::closed::Closed;
use super::half::{Content, Half, Step};
use super::handshake::{Handshake, TLS13};
use super::hello::ClientHello;
use super::seen::{Limits, Seen, later, wire};
use crate::event::{Direction, Side, Timestamp, Tls, TlsState};
use crate::tls::keylog::{KeyLog, Random};

pub(super) struct Session {
    handshake: Handshake,
    /// By side.
    halves: [Half; 2],
    /// The bytes of the plaintext conversation, by side.
    plain: [u64; 2],
    /// What the next records wait for, by side.
    steps: [Step; 2],
    begun: Timestamp,
    /// Since when a record waits for its keys.
    stalled: Option<Timestamp>,
    /// Whether it was reported that the handshake is slow.
    is_slow: bool,
    /// The client's random number in the handshake that was reported.
    reported: Option<Random>,
    /// How many of its lines were reported.
    lines: usize,
}

impl Session {
    /// A session that begins with these bytes of the client and at this place of the server's.
    pub(super) fn new(
        hello: ClientHello,
        client: Backlog,
        server: Backlog,
        begun: Timestamp,
    ) -> Self {
        let plain = [client.start(), server.start()];
        Self {
            handshake: Handshake::new(hello),
            halves: [Half::new(Side::Client, client), Half::new(Side::Server, server)],
            plain,
            steps: [Step::NeedsBytes; 2],
            begun,
            stalled: None,
            is_slow: false,
            reported: None,
            lines: 0,
        }
    }

    pub(super) fn push(&mut self, direction: Direction, piece: Piece) {
        self.halves[direction.sender() as usize].backlog.push(piece);
    }

    pub(super) const fn needs_keys(&self) -> bool {
        self.stalled.is_some()
    }

    /// Reads all records that can be read now.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        keys: &KeyLog,
        seen: &mut Vec<Seen>,
    ) -> Result<(), Closed> {
        self.steps = [Step::Done; 2];
        while self.steps.contains(&Step::Done) {
            // The server first: the client's early data waits for what it says.
            for side in [Side::Server, Side::Client] {
                let half = &mut self.halves[side as usize];
                let (step, content) = half.step(&mut self.handshake, keys)?;
                self.steps[side as usize] = step;
                // Of the server's part the keys may be missing.
                self.handshake.is_known |= matches!(content, Content::Plain(_));
                // Its certificates come last of all that is told.
                let is_told_whole = !self.handshake.is_tls13()
                    || self.handshake.has_server_finished
                    || !matches!(content, Content::Nothing);
                if is_told_whole {
                    self.report(keys, seen);
                }
                self.hand_on(side, content, seen);
            }
        }
        if self.handshake.is_known {
            // What is clear is of no use any longer.
            self.halves.iter_mut().for_each(|half| half.backlog.forget_read());
        }
        let is_stalled = self.steps.iter().any(|step| matches!(step, Step::NeedsKeys { .. }));
        self.stalled = is_stalled.then(|| self.stalled.unwrap_or(now));
        Ok(())
    }

    /// Reports a handshake as soon as it is understood, and each line of its keys.
    fn report(&mut self, keys: &KeyLog, seen: &mut Vec<Seen>) {
        if !self.handshake.is_known {
            return;
        }
        let random = self.handshake.hello.random;
        let is_new = self.reported != Some(random);
        if is_new {
            (self.reported, self.lines) = (Some(random), 0);
        }
        let lines = keys.lines(&random);
        if lines.len() > self.lines {
            seen.push(Seen::Secrets(lines[self.lines..].into()));
            self.lines = lines.len();
        }
        if is_new {
            seen.push(Seen::Tls(self.facts(TlsState::Decrypted, None)));
        }
    }

    /// Hands on what a record held.
    fn hand_on(&mut self, side: Side, content: Content, seen: &mut Vec<Seen>) {
        let direction = Direction::from(side);
        let half = &mut self.halves[side as usize];
        match content {
            Content::Nothing => {}
            Content::Plain(bytes) => {
                let offset = self.plain[side as usize];
                self.plain[side as usize] += bytes.len() as u64;
                seen.push(Seen::Plain { direction, offset, bytes });
            }
            Content::End => {
                half.backlog.forget_read();
                seen.push(Seen::End { direction, offset: self.plain[side as usize] });
            }
            Content::Cut(why) => {
                half.backlog.forget_read();
                seen.push(Seen::Tls(self.facts(TlsState::Decrypted, Some(why))));
            }
        }
        let half = &mut self.halves[side as usize];
        if half.has_ended() && half.backlog.len() > 0 {
            wire(direction, half.backlog.start(), half.backlog.take(), seen);
        }
    }

    /// What is known of the handshake.
    pub(super) fn facts(&self, state: TlsState, why: Option<Closed>) -> Arc<Tls> {
        let handshake = &self.handshake;
        let text = |text: &Option<String>| text.as_deref().map(Arc::from);
        let mut tls = Tls::new(state);
        if let Some(chosen) = handshake.chosen {
            let version = if chosen.version == TLS13 { "TLS 1.3" } else { "TLS 1.2" };
            (tls.version, tls.suite) = (Some(version.into()), Some(chosen.suite.name.into()));
        }
        (tls.sni, tls.alpn) = (text(&handshake.hello.server_name), text(&handshake.alpn));
        tls.certificates = handshake.certificates.as_slice().into();
        tls.why = why.map(|why| why.to_string().into());
        Arc::new(tls)
    }

    /// Why nothing is held back any longer, if so.
    pub(super) fn overdue(&self, now: Timestamp, limits: Limits) -> Option<Closed> {
        let held: usize = self.halves.iter().map(|half| half.backlog.len()).sum();
        let is_full = held > limits.bytes;
        match self.stalled {
            Some(since) if is_full || later(since, limits.wait) <= now => Some(self.no_keys()),
            None if is_full => Some(Closed::Overlong),
            _ => None,
        }
    }

    /// Whether it is still to be reported, some time, that the handshake is slow.
    pub(super) const fn may_be_slow(&self) -> bool {
        !self.is_slow && !self.handshake.is_known && self.stalled.is_none()
    }

    /// Reports a handshake that is not done after a while, so that one that hangs is seen. It is
    /// followed all the same.
    pub(super) fn report_slow(&mut self, now: Timestamp, limits: Limits, seen: &mut Vec<Seen>) {
        if self.may_be_slow() && later(self.begun, limits.wait) <= now {
            self.is_slow = true;
            seen.push(Seen::Tls(self.facts(TlsState::Closed, Some(Closed::Slow))));
        }
    }

    /// Ends a direction that was cut short; the other goes on.
    pub(super) fn cut(&mut self, sender: Side, why: Closed, seen: &mut Vec<Seen>) {
        seen.push(Seen::Tls(self.facts(TlsState::Decrypted, Some(why))));
        let half = &mut self.halves[sender as usize];
        half.cut();
        half.backlog.forget_read();
        wire(Direction::from(sender), half.backlog.start(), half.backlog.take(), seen);
    }

    fn no_keys(&self) -> Closed {
        let has_wrong = self.steps.contains(&Step::NeedsKeys { has_wrong: true });
        if has_wrong { Closed::WrongKeys } else { Closed::NoKeys }
    }

    /// What is missing now that `sender` has ended its direction, if anything.
    pub(super) fn cut_short(&self, sender: Side) -> Option<Closed> {
        let half = &self.halves[sender as usize];
        if half.has_ended() {
            return None;
        }
        if self.stalled.is_some() {
            return Some(self.no_keys());
        }
        if !self.handshake.is_known {
            return Some(Closed::Unfinished);
        }
        (half.backlog.unread() > 0).then_some(Closed::Truncated { sender })
    }

    /// Hands out what was held back, in the order in which it came.
    pub(super) fn give_up(&mut self, seen: &mut Vec<Seen>) {
        let mut held = Vec::new();
        for side in [Side::Client, Side::Server] {
            let backlog = &mut self.halves[side as usize].backlog;
            if self.handshake.is_known {
                // Clear parts of a handshake that was reported.
                backlog.forget_read();
            }
            let mut offset = backlog.start();
            for piece in backlog.take() {
                let len = piece.bytes.len() as u64;
                held.push((piece.order, Direction::from(side), offset, piece));
                offset += len;
            }
        }
        held.sort_by_key(|(order, ..)| *order);
        for (_, direction, offset, piece) in held {
            wire(direction, offset, vec![piece], seen);
        }
    }
}
