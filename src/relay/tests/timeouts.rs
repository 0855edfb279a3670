//! Silence that ends a connection, and what puts it off.

use std::time::Duration;

use super::script::{Dialogue, HALF_CLOSE, IDLE, ends, says, takes};
use crate::event::Direction::ClientToServer;
use crate::event::Leg::Received;
use crate::event::Side::{Client, Server};
use crate::relay::{Input, STALL, Timeouts};

const MOMENT: Duration = Duration::from_millis(1);

fn idle() -> Dialogue {
    Dialogue::accepted_with(Timeouts { idle: Some(IDLE), half_close: HALF_CLOSE })
        .and_connected([false, false])
}

#[test]
fn silent_connection_is_reset_after_idle_timeout_and_not_before() {
    idle()
        .wait(IDLE - MOMENT)
        .after(MOMENT, "rst client, rst server, close idle-timeout")
        .ends_here();
}

#[test]
fn activity_puts_idle_timeout_off() {
    idle()
        .wait(IDLE - MOMENT)
        .when(says(Client, "x"), "received client 0 'x', write server 'x'")
        .when(takes(Server, 1), "sent client 0 'x', read client")
        .wait(IDLE - MOMENT)
        .after(MOMENT, "rst client, rst server, close idle-timeout")
        .ends_here();
}

#[test]
fn progress_of_a_write_puts_idle_timeout_off() {
    idle()
        .when(says(Client, "xy"), "received client 0 'xy', write server 'xy'")
        .after(STALL, "watch client")
        .wait(IDLE - STALL - MOMENT)
        .when(takes(Server, 1), "")
        .wait(IDLE - MOMENT)
        .after(MOMENT, "rst client, rst server, close idle-timeout")
        .ends_here();
}

#[test]
fn waiting_for_a_sink_is_no_silence() {
    idle()
        .with_slow_sinks()
        .when(says(Client, "x"), "received client 0 'x'")
        .waits_for_ever()
        .wait(10 * IDLE)
        .when(Input::Recorded { direction: ClientToServer, leg: Received }, "write server 'x'")
        .after(STALL, "watch client")
        .wait(IDLE - STALL - MOMENT)
        .after(MOMENT, "rst client, rst server, close idle-timeout")
        .ends_here();
}

#[test]
fn forgotten_half_close_is_reset_after_its_timeout() {
    Dialogue::connected()
        .waits_for_ever()
        .when(ends(Client), "fin server, ended client 0/0, watch client")
        .wait(HALF_CLOSE - MOMENT)
        .after(MOMENT, "rst client, rst server, close half-close-timeout")
        .ends_here();
}

#[test]
fn answer_puts_half_close_timeout_off() {
    Dialogue::connected()
        .when(ends(Client), "fin server, ended client 0/0, watch client")
        .wait(HALF_CLOSE - MOMENT)
        .when(says(Server, "x"), "received server 0 'x', write client 'x'")
        .when(takes(Client, 1), "sent server 0 'x', read server")
        .wait(HALF_CLOSE - MOMENT)
        .when(ends(Server), "fin client, ended server 1/1, close finished by client")
        .ends_here();
}

#[test]
fn shorter_of_both_timeouts_ends_a_half_closed_connection() {
    idle()
        .when(ends(Client), "fin server, ended client 0/0, watch client")
        .after(IDLE, "rst client, rst server, close idle-timeout")
        .ends_here();
    let timeouts = Timeouts { idle: Some(2 * HALF_CLOSE), half_close: HALF_CLOSE };
    Dialogue::accepted_with(timeouts)
        .and_connected([false, false])
        .when(ends(Client), "fin server, ended client 0/0, watch client")
        .after(HALF_CLOSE, "rst client, rst server, close half-close-timeout")
        .ends_here();
}

#[test]
fn endless_timeout_never_ends_anything() {
    let timeouts = Timeouts { idle: Some(Duration::MAX), half_close: Duration::MAX };
    Dialogue::accepted_with(timeouts)
        .and_connected([false, false])
        .wait(Duration::from_secs(1 << 40));
}
