//! Transforms: what they forward, reply, put off and end.

use std::time::Duration;

use bytes::Bytes;

use super::script::{
    Dialogue, ends, forward, has_left, refuses_bytes, reply, resets, says, steps, takes,
};
use crate::event::Direction::{ClientToServer, ServerToClient};
use crate::event::Side::{Client, Server};
use crate::relay::{Input, Step};

const DELAY: Duration = Duration::from_millis(200);

fn encoded() -> Dialogue {
    Dialogue::accepted().and_connected([true, false])
}

#[test]
fn transformed_bytes_are_sent_instead_of_received_ones() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(steps(ClientToServer, [forward("AA")]), "write server 'AA'")
        .when(takes(Server, 2), "sent client 0 'AA', read client")
        .when(says(Client, "b"), "received client 1 'b', transform client 'b'")
        .when(steps(ClientToServer, [forward("B")]), "write server 'B'")
        .when(takes(Server, 1), "sent client 2 'B', read client");
}

#[test]
fn transform_that_keeps_bytes_back_reads_on() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(steps(ClientToServer, []), "read client")
        .when(says(Client, "b"), "received client 1 'b', transform client 'b'")
        .when(steps(ClientToServer, [forward(""), forward("ab")]), "write server 'ab'");
}

#[test]
fn transform_has_the_last_word_before_fin() {
    encoded()
        .when(ends(Client), "transform client end")
        .when(steps(ClientToServer, [forward("rest")]), "write server 'rest'")
        .when(takes(Server, 4), "sent client 0 'rest', fin server, ended client 0/4, watch client");
}

#[test]
fn reply_goes_back_to_the_sender_and_counts_for_the_other_direction() {
    encoded()
        .when(says(Client, "ping"), "received client 0 'ping', transform client 'ping'")
        .when(steps(ClientToServer, [reply("pong")]), "write client 'pong'")
        .when(takes(Client, 4), "sent server 0 'pong', read client");
}

#[test]
fn reply_waits_for_a_write_under_way() {
    encoded()
        .when(says(Server, "long"), "received server 0 'long', write client 'long'")
        .when(says(Client, "ping"), "received client 0 'ping', transform client 'ping'")
        .when(steps(ClientToServer, [reply("pong"), forward("x")]), "")
        .when(takes(Client, 4), "sent server 0 'long', write client 'pong', read server")
        .when(takes(Client, 4), "sent server 4 'pong', write server 'x'");
}

#[test]
fn both_sides_of_an_exchange_are_written_at_once() {
    let exchange = |reply, forward| Step::Exchange(Bytes::from(reply), Bytes::from(forward));
    encoded()
        .when(says(Client, "ping"), "received client 0 'ping', transform client 'ping'")
        .when(
            steps(ClientToServer, [exchange("pong", "x"), forward("y")]),
            "write client 'pong', write server 'x'",
        )
        .when(takes(Server, 1), "sent client 0 'x'")
        .when(takes(Client, 4), "sent server 0 'pong', write server 'y'")
        .when(takes(Server, 1), "sent client 1 'y', read client");
    encoded()
        .when(says(Client, "ping"), "received client 0 'ping', transform client 'ping'")
        .when(steps(ClientToServer, [exchange("", "")]), "read client");
}

#[test]
fn reply_that_cannot_be_said_any_more_is_not_waited_for() {
    encoded()
        .when(says(Client, "ping"), "received client 0 'ping', transform client 'ping'")
        .when(steps(ClientToServer, [reply("pong"), forward("x")]), "write client 'pong'")
        .when(resets(Client), "rst client, write server 'x'")
        .when(takes(Server, 1), "sent client 0 'x', watch server, measure server");
    encoded()
        .when(says(Client, "ping"), "received client 0 'ping', transform client 'ping'")
        .when(steps(ClientToServer, [reply("pong"), forward("x")]), "write client 'pong'")
        .when(refuses_bytes(Client), "write server 'x'")
        .when(takes(Server, 1), "sent client 0 'x', read client");
}

#[test]
fn reply_after_fin_is_left_out() {
    encoded()
        .when(ends(Server), "fin client, ended server 0/0, watch server")
        .when(says(Client, "ping"), "received client 0 'ping', transform client 'ping'")
        .when(steps(ClientToServer, [reply("pong"), forward("x")]), "write server 'x'");
}

#[test]
fn delay_puts_off_what_comes_after_it() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(steps(ClientToServer, [Step::Delay(DELAY), forward("a")]), "")
        .wait(DELAY / 2)
        .after(DELAY / 2, "write server 'a'");
}

#[test]
fn opening_comes_before_what_the_client_says() {
    let opening = vec![forward("hello")];
    Dialogue::accepted()
        .when(
            Input::Connected { transformed: [true, true], opening },
            "connected, write server 'hello', read server",
        )
        .when(takes(Server, 5), "sent client 0 'hello', read client");
}

#[test]
fn hold_waits_for_the_other_direction() {
    let both = || Dialogue::accepted().and_connected([true, true]);
    both()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(steps(ClientToServer, [Step::Hold]), "watch client")
        .when(says(Server, "b"), "received server 0 'b', transform server 'b'")
        .when(steps(ServerToClient, [Step::Release, reply("a")]), "read client, write server 'a'");
    both()
        .when(says(Server, "b"), "received server 0 'b', transform server 'b'")
        .when(steps(ServerToClient, [Step::Release]), "read server");
}

#[test]
fn hold_that_was_released_before_it_began_is_none() {
    Dialogue::accepted()
        .and_connected([true, true])
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(steps(ClientToServer, [forward("A"), Step::Hold]), "write server 'A'")
        .when(says(Server, "b"), "received server 0 'b', transform server 'b'")
        .when(steps(ServerToClient, [Step::Release]), "read server")
        .when(takes(Server, 1), "sent client 0 'A', read client")
        // It counts once.
        .when(says(Client, "c"), "received client 1 'c', transform client 'c'")
        .when(steps(ClientToServer, [Step::Hold]), "watch client");
}

#[test]
fn hold_ends_with_a_reset() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(steps(ClientToServer, [Step::Hold]), "watch client")
        .when(resets(Client), "rst client, watch server, measure server");
}

#[test]
fn finish_ends_the_direction_and_later_bytes_are_only_recorded() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(steps(ClientToServer, [forward("a"), Step::Finish]), "write server 'a'")
        .when(takes(Server, 1), "sent client 0 'a', fin server, read client")
        .when(says(Client, "b"), "received client 1 'b', read client")
        .when(ends(Client), "ended client 2/1, watch client");
}

#[test]
fn finish_as_last_word_ends_the_direction_once() {
    encoded()
        .when(ends(Client), "transform client end")
        .when(steps(ClientToServer, [Step::Finish, reply("x")]), "fin server, write client 'x'")
        .when(takes(Client, 1), "sent server 0 'x', ended client 0/0, watch client");
}

#[test]
fn reset_by_a_transform_resets_both_sides() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(steps(ClientToServer, [Step::Reset]), "rst client, rst server, close transform")
        .ends_here();
}

#[test]
fn broken_transform_resets_both_sides() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(
            Input::Broken { direction: ClientToServer, message: "it panicked".into() },
            "rst client, rst server, close transform",
        )
        .ends_here();
}

#[test]
fn rst_waits_for_what_a_transform_makes_of_bytes_before_it() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(resets(Client), "rst client")
        .when(steps(ClientToServer, [reply("no"), forward("A")]), "write server 'A'")
        .when(takes(Server, 1), "sent client 0 'A', watch server, measure server")
        .when(has_left(Server, 0), "rst server, close reset by client")
        .ends_here();
}

#[test]
fn delay_is_not_waited_for_after_a_reset() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(steps(ClientToServer, [Step::Delay(DELAY), forward("a")]), "")
        .when(resets(Client), "rst client, watch server, measure server");
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(resets(Client), "rst client")
        .when(steps(ClientToServer, [Step::Delay(DELAY)]), "watch server, measure server");
}

#[test]
fn transform_that_breaks_while_draining_ends_its_direction() {
    encoded()
        .when(says(Client, "a"), "received client 0 'a', transform client 'a'")
        .when(resets(Client), "rst client")
        .when(
            Input::Broken { direction: ClientToServer, message: "it panicked".into() },
            "watch server, measure server",
        );
}

#[test]
fn steps_that_nobody_waits_for_change_nothing() {
    Dialogue::connected().when(steps(ServerToClient, [forward("x")]), "");
}
