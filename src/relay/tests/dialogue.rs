//! Connections from accept to close: bytes, FIN, refusal, shutdown.

use super::script::{Dialogue, ends, not_reached, refuses_bytes, resets, says, takes};
use crate::event::CloseReason;
use crate::event::Direction::{ClientToServer, ServerToClient};
use crate::event::Leg::{Received, Sent};
use crate::event::Side::{Client, Server};
use crate::relay::{Fault, Input};

#[test]
fn refused_server_resets_client() {
    Dialogue::accepted()
        .waits_for_ever()
        .when(not_reached(CloseReason::Refused), "rst client, close refused by server")
        .ends_here();
}

#[test]
fn refused_server_that_the_client_was_told_of_ends_with_fin() {
    Dialogue::accepted()
        .when(
            Input::ConnectFailed { reason: CloseReason::Refused, is_answered: true },
            "fin client, close refused by server",
        )
        .ends_here();
}

#[test]
fn connect_timeout_resets_client() {
    Dialogue::accepted()
        .when(not_reached(CloseReason::ConnectTimeout), "rst client, close connect-timeout")
        .ends_here();
}

#[test]
fn client_reset_while_connecting_gives_up_connect() {
    Dialogue::accepted()
        .when(resets(Client), "give up connect, rst client, close reset by client")
        .ends_here();
}

#[test]
fn shutdown_while_connecting_gives_up_connect() {
    Dialogue::accepted()
        .when(Input::ShutdownAsked, "give up connect, rst client, close stopped")
        .ends_here();
}

#[test]
fn time_and_late_answers_while_connecting_change_nothing() {
    Dialogue::accepted()
        .when(Input::TimePassed, "")
        .when(says(Server, "x"), "")
        .and_connected([false, false]);
}

#[test]
fn echo_passes_and_client_closes_first() {
    Dialogue::connected()
        .waits_for_ever()
        .when(says(Client, "hi"), "received client 0 'hi', write server 'hi'")
        .when(takes(Server, 2), "sent client 0 'hi', read client")
        .when(says(Server, "ho"), "received server 0 'ho', write client 'ho'")
        .when(takes(Client, 2), "sent server 0 'ho', read server")
        .when(ends(Client), "fin server, ended client 2/2, watch client")
        .when(ends(Server), "fin client, ended server 2/2, close finished by client")
        .ends_here();
}

#[test]
fn server_speaks_and_closes_first() {
    Dialogue::connected()
        .when(says(Server, "220"), "received server 0 '220', write client '220'")
        .when(takes(Client, 3), "sent server 0 '220', read server")
        .when(ends(Server), "fin client, ended server 3/3, watch server")
        .when(says(Client, "QUIT"), "received client 0 'QUIT', write server 'QUIT'")
        .when(takes(Server, 4), "sent client 0 'QUIT', read client")
        .when(ends(Client), "fin server, ended client 4/4, close finished by server")
        .ends_here();
}

#[test]
fn connection_without_a_byte_finishes() {
    Dialogue::connected()
        .when(ends(Server), "fin client, ended server 0/0, watch server")
        .when(ends(Client), "fin server, ended client 0/0, close finished by server")
        .ends_here();
}

#[test]
fn answer_after_half_close_reaches_client() {
    Dialogue::connected()
        .when(says(Client, "sort"), "received client 0 'sort', write server 'sort'")
        .when(takes(Server, 4), "sent client 0 'sort', read client")
        .when(ends(Client), "fin server, ended client 4/4, watch client")
        .when(says(Server, "osrt"), "received server 0 'osrt', write client 'osrt'")
        .when(takes(Client, 4), "sent server 0 'osrt', read server")
        .when(ends(Server), "fin client, ended server 4/4, close finished by client")
        .ends_here();
}

#[test]
fn both_directions_move_at_once() {
    Dialogue::connected()
        .when(says(Client, "a"), "received client 0 'a', write server 'a'")
        .when(says(Server, "b"), "received server 0 'b', write client 'b'")
        .when(takes(Client, 1), "sent server 0 'b', read server")
        .when(takes(Server, 1), "sent client 0 'a', read client")
        .when(says(Client, "c"), "received client 1 'c', write server 'c'")
        .when(takes(Server, 1), "sent client 1 'c', read client");
}

#[test]
fn partial_writes_are_waited_for_before_the_next_read() {
    Dialogue::connected()
        .when(says(Client, "abcdef"), "received client 0 'abcdef', write server 'abcdef'")
        .when(takes(Server, 2), "")
        .when(takes(Server, 3), "")
        .when(takes(Server, 1), "sent client 0 'abcdef', read client");
}

#[test]
fn fin_waits_for_bytes_on_their_way() {
    Dialogue::connected()
        .when(says(Client, "last"), "received client 0 'last', write server 'last'")
        .when(takes(Server, 4), "sent client 0 'last', read client")
        .when(says(Server, "bye"), "received server 0 'bye', write client 'bye'")
        .when(ends(Client), "fin server, ended client 4/4, watch client")
        .when(takes(Client, 3), "sent server 0 'bye', read server")
        .when(ends(Server), "fin client, ended server 3/3, close finished by client")
        .ends_here();
}

#[test]
fn slow_sink_holds_up_write_and_next_read() {
    Dialogue::connected()
        .with_slow_sinks()
        .when(says(Client, "x"), "received client 0 'x'")
        .when(Input::Recorded { direction: ClientToServer, leg: Received }, "write server 'x'")
        .when(takes(Server, 1), "sent client 0 'x'")
        .when(Input::Recorded { direction: ClientToServer, leg: Sent }, "read client");
}

#[test]
fn slow_sink_of_one_direction_does_not_hold_up_the_other() {
    Dialogue::connected()
        .with_slow_sinks()
        .when(says(Client, "x"), "received client 0 'x'")
        .when(says(Server, "y"), "received server 0 'y'")
        .when(Input::Recorded { direction: ServerToClient, leg: Received }, "write client 'y'");
}

#[test]
fn record_that_nobody_waits_for_changes_nothing() {
    Dialogue::connected()
        .when(Input::Recorded { direction: ClientToServer, leg: Received }, "")
        .when(Input::Recorded { direction: ClientToServer, leg: Sent }, "")
        .when(takes(Server, 3), "");
}

#[test]
fn shutdown_resets_both_sides() {
    Dialogue::connected()
        .when(says(Client, "x"), "received client 0 'x', write server 'x'")
        .when(Input::ShutdownAsked, "rst client, rst server, close stopped")
        .when(takes(Server, 1), "")
        .when(resets(Client), "")
        .ends_here();
}

#[test]
fn shutdown_after_half_close_resets_both_sides() {
    Dialogue::connected()
        .when(ends(Client), "fin server, ended client 0/0, watch client")
        .when(Input::ShutdownAsked, "rst client, rst server, close stopped")
        .ends_here();
}

#[test]
fn failure_other_than_reset_keeps_its_number() {
    let timed_out = Input::Failed { side: Server, fault: Fault::Errno(110) };
    Dialogue::connected()
        .when(timed_out, "rst server, watch client, measure client")
        .when(super::script::has_left(Client, 0), "rst client, close failed by server")
        .ends_here();
}

#[test]
fn unread_bytes_of_peer_that_takes_no_more_are_still_read() {
    Dialogue::connected()
        .when(says(Server, "late"), "received server 0 'late', write client 'late'")
        .when(refuses_bytes(Client), "")
        .when(says(Client, "will"), "received client 0 'will', write server 'will'")
        .when(takes(Server, 4), "sent client 0 'will', read client")
        .when(resets(Client), "rst client, watch server, measure server")
        .when(super::script::has_left(Server, 0), "rst server, close reset by client")
        .ends_here();
}
