//! What is still delivered after a reset, and for how long.

use std::time::Duration;

use super::script::{Dialogue, ends, has_left, refuses_bytes, resets, says, takes};
use crate::event::Direction::ClientToServer;
use crate::event::Leg::Received;
use crate::event::Side::{Client, Server};
use crate::relay::{Input, STALL};

const MS: Duration = Duration::from_millis(1);

#[test]
fn rst_from_client_reaches_server() {
    Dialogue::connected()
        .when(resets(Client), "rst client, watch server, measure server")
        .when(has_left(Server, 0), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn rst_from_server_reaches_client() {
    Dialogue::connected()
        .when(says(Server, "x"), "received server 0 'x', write client 'x'")
        .when(takes(Client, 1), "sent server 0 'x', read server")
        .when(resets(Server), "rst server, watch client, measure client")
        .when(has_left(Client, 0), "rst client, close reset by server")
        .ends_here();
}

#[test]
fn rst_from_server_after_half_close_reaches_client() {
    Dialogue::connected()
        .when(ends(Client), "fin server, ended client 0/0, watch client")
        .when(resets(Server), "rst server, watch client, measure client")
        .when(has_left(Client, 0), "rst client, close reset by server")
        .ends_here();
}

#[test]
fn rst_from_client_after_its_half_close_reaches_server() {
    Dialogue::connected()
        .when(ends(Client), "fin server, ended client 0/0, watch client")
        .when(resets(Client), "rst client, watch server, measure server")
        .when(has_left(Server, 0), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn rst_waits_for_bytes_that_came_before_it() {
    Dialogue::connected()
        .when(says(Client, "will"), "received client 0 'will', write server 'will'")
        .when(resets(Client), "rst client")
        .when(takes(Server, 3), "")
        .when(takes(Server, 1), "sent client 0 'will', watch server, measure server")
        .when(has_left(Server, 4), "")
        .after(MS, "measure server")
        .when(has_left(Server, 0), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn rst_waits_for_bytes_that_sinks_are_given() {
    Dialogue::connected()
        .with_slow_sinks()
        .when(says(Client, "x"), "received client 0 'x'")
        .when(resets(Client), "rst client")
        .waits_for_ever()
        .when(Input::Recorded { direction: ClientToServer, leg: Received }, "write server 'x'");
}

#[test]
fn rst_is_kept_from_peer_that_acknowledges_nothing_for_a_second() {
    let mut dialogue = Dialogue::connected()
        .when(resets(Client), "rst client, watch server, measure server")
        .when(has_left(Server, 9), "");
    let mut waited = Duration::ZERO;
    let mut pause = MS;
    while waited + pause < STALL {
        dialogue = dialogue.after(pause, "measure server").when(has_left(Server, 9), "");
        waited += pause;
        pause = (2 * pause).min(50 * MS);
    }
    dialogue
        .after(pause, "measure server")
        .when(has_left(Server, 9), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn rst_is_kept_from_peer_as_long_as_it_acknowledges() {
    let mut dialogue = Dialogue::connected()
        .when(resets(Client), "rst client, watch server, measure server")
        .when(has_left(Server, 100), "");
    for left in (50..100).rev() {
        dialogue = dialogue.after(STALL / 2, "measure server").when(has_left(Server, left), "");
    }
    dialogue
        .after(50 * MS, "measure server")
        .when(has_left(Server, 0), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn write_without_progress_ends_a_second_after_reset() {
    Dialogue::connected()
        .when(says(Client, "stuck"), "received client 0 'stuck', write server 'stuck'")
        .when(resets(Client), "rst client")
        .after(STALL, "rst server, close reset by client")
        .ends_here();
}

#[test]
fn stalled_write_has_its_sender_watched() {
    Dialogue::connected()
        .when(says(Client, "stuck"), "received client 0 'stuck', write server 'stuck'")
        .after(STALL, "watch client")
        .waits_for_ever()
        .when(resets(Client), "rst client")
        .after(Duration::ZERO, "rst server, close reset by client")
        .ends_here();
}

#[test]
fn stalled_write_that_goes_on_loses_nothing() {
    Dialogue::connected()
        .when(says(Client, "slow"), "received client 0 'slow', write server 'slow'")
        .after(STALL, "watch client")
        .when(takes(Server, 2), "")
        .when(takes(Server, 2), "sent client 0 'slow', read client")
        .waits_for_ever();
}

#[test]
fn answer_is_dropped_once_its_receiver_has_reset() {
    Dialogue::connected()
        .when(says(Server, "x"), "received server 0 'x', write client 'x'")
        .when(resets(Client), "rst client, watch server, measure server")
        .when(takes(Client, 1), "")
        .when(says(Server, "y"), "")
        .when(has_left(Server, 0), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn second_peer_that_resets_while_it_is_waited_for_ends_it() {
    Dialogue::connected()
        .when(resets(Client), "rst client, watch server, measure server")
        .when(has_left(Server, 5), "")
        .when(resets(Server), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn shutdown_while_draining_ends_it() {
    Dialogue::connected()
        .when(says(Client, "x"), "received client 0 'x', write server 'x'")
        .when(resets(Client), "rst client")
        .when(Input::ShutdownAsked, "rst server, close reset by client")
        .ends_here();
}

#[test]
fn peer_that_takes_no_bytes_and_says_none_is_reset_after_a_second() {
    Dialogue::connected()
        .when(says(Server, "x"), "received server 0 'x', write client 'x'")
        .when(refuses_bytes(Client), "")
        .after(STALL, "rst client, watch server, measure server")
        .when(has_left(Server, 0), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn peer_that_takes_no_bytes_and_has_ended_is_reset_at_once() {
    Dialogue::connected()
        .when(ends(Client), "fin server, ended client 0/0, watch client")
        .when(says(Server, "x"), "received server 0 'x', write client 'x'")
        .when(refuses_bytes(Client), "rst client, watch server, measure server")
        .when(has_left(Server, 0), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn peer_that_takes_no_bytes_and_then_ends_is_reset() {
    Dialogue::connected()
        .when(says(Server, "x"), "received server 0 'x', write client 'x'")
        .when(refuses_bytes(Client), "")
        .when(ends(Client), "rst client, watch server, measure server");
}

#[test]
fn inputs_that_do_not_belong_to_a_drain_change_nothing() {
    Dialogue::connected()
        .when(resets(Client), "rst client, watch server, measure server")
        .when(Input::TimePassed, "")
        .when(has_left(Client, 0), "")
        .when(Input::Connected { transformed: [false; 2], opening: Vec::new() }, "")
        .when(ends(Server), "");
}
