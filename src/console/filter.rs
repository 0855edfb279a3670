//! Choosing what to show.

use std::ops::Range;

use super::expression::Expression;
use super::options::{ConsoleOptions, is_shown};
use crate::event::{ConnectionId, Event, EventKind, Side};

/// What is shown of all that happens.
pub(super) struct Filter {
    only: Option<Side>,
    connection: Option<ConnectionId>,
    grep: Option<Expression>,
    wants_marks: bool,
}

impl Filter {
    pub(super) fn new(options: &ConsoleOptions) -> Self {
        let ConsoleOptions { only, connection, grep, color, .. } = options;
        Self { only: *only, connection: *connection, grep: grep.clone(), wants_marks: *color }
    }

    /// Whether an event is shown, and then what is marked in its data.
    pub(super) fn passes(&self, event: &Event) -> Option<Vec<Range<usize>>> {
        let other = self.connection.is_some_and(|connection| connection != event.connection);
        if other || !is_shown(event) {
            return None;
        }
        let EventKind::Data { direction, bytes, .. } = &event.kind else { return Some(Vec::new()) };
        if self.only.is_some_and(|side| side != direction.sender()) {
            return None;
        }
        match &self.grep {
            None => Some(Vec::new()),
            Some(grep) if self.wants_marks => {
                let marks = grep.matches(bytes);
                (!marks.is_empty()).then_some(marks)
            }
            Some(grep) => grep.is_match(bytes).then(Vec::new),
        }
    }
}
