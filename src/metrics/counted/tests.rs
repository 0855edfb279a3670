use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::event::{self, CloseReason, Connected, Progress, Side, Totals};

fn endpoint(address: &str) -> Endpoint {
    Endpoint::Tcp(address.parse().expect("an address"))
}

fn event(id: u64, at: u64, kind: EventKind) -> Event {
    Event { connection: ConnectionId(id), time: Timestamp(at), kind }
}

fn open(id: u64, listener: &str) -> Event {
    let open = event::Open::new(endpoint("192.0.2.9:1"), endpoint(listener), "h:1");
    event(id, 0, EventKind::Open(Arc::new(open)))
}

fn totals(said: u64, answered: u64) -> BothTotals {
    let totals = |bytes| Totals { received: bytes, sent: bytes };
    BothTotals { client_to_server: totals(said), server_to_client: totals(answered) }
}

fn progress(id: u64, said: u64, answered: u64) -> Sample {
    let (connection, open_for) = (ConnectionId(id), Duration::ZERO);
    let totals = totals(said, answered);
    Sample { open: vec![Progress { connection, open_for, totals }], sinks: Vec::new() }
}

fn counted() -> Counted {
    let tunnels = [("127.0.0.1:80", "one"), ("0.0.0.0:81", "all")];
    let tunnels = tunnels.map(|(address, name)| (endpoint(address), name.to_owned()));
    let (other, backend) = ("run".to_owned(), "epoll".to_owned());
    Counted::new(MetricsOptions { tunnels: tunnels.into(), other, backend })
}

/// The value of a metric with its labels, as Prometheus reads it.
fn value(counted: &Counted, metric: &str) -> Option<f64> {
    let mut text = String::new();
    counted.encode(Format::Prometheus, &mut text).expect("a string takes all");
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map(|value| value.parse().expect("a number"))
}

fn bytes(counted: &Counted, tunnel: &str, direction: &str) -> Option<f64> {
    let metric = format!(r#"tcp_tunn_bytes_total{{tunnel="{tunnel}",direction="{direction}"}}"#);
    value(counted, &metric)
}

#[test]
fn bytes_move_while_a_connection_is_open_and_count_once() {
    let mut counted = counted();
    assert_eq!(bytes(&counted, "one", "client_to_server"), Some(0.0), "from the start");
    counted.event(&open(1, "127.0.0.1:80"));
    for (said, answered) in [(10, 0), (15, 3), (15, 3)] {
        counted.update(progress(1, said, answered));
        assert_eq!(bytes(&counted, "one", "client_to_server"), Some(said as f64));
        assert_eq!(bytes(&counted, "one", "server_to_client"), Some(answered as f64));
    }
    let reason = CloseReason::Reset { by: Side::Server };
    counted.event(&event(1, 9, EventKind::Close { reason, totals: totals(20, 4) }));
    // A scrape that was under way comes late.
    counted.update(progress(1, 15, 3));
    assert_eq!(bytes(&counted, "one", "client_to_server"), Some(20.0));
    assert_eq!(bytes(&counted, "one", "server_to_client"), Some(4.0));
    assert_eq!(value(&counted, "tcp_tunn_connections_active"), Some(0.0));
    assert_eq!(value(&counted, "tcp_tunn_connections_total"), Some(1.0));
    let closed = r#"tcp_tunn_connections_closed_total{reason="reset",by="server"}"#;
    assert_eq!(value(&counted, closed), Some(1.0));
}

#[test]
fn connections_belong_to_the_tunnel_of_their_listener() {
    let mut counted = counted();
    for (id, listener) in (1..).zip(["127.0.0.1:80", "192.0.2.1:81", "192.0.2.1:443"]) {
        counted.event(&open(id, listener));
        counted.update(progress(id, id, 0));
    }
    let said = |tunnel| bytes(&counted, tunnel, "client_to_server");
    assert_eq!([said("one"), said("all"), said("run")], [Some(1.0), Some(2.0), Some(3.0)]);
}

#[test]
fn connects_are_measured_and_sinks_counted() {
    let mut counted = counted();
    counted.event(&open(1, "127.0.0.1:80"));
    let ends = Connected { server: endpoint("192.0.2.1:1"), local: endpoint("192.0.2.2:2") };
    counted.event(&event(1, 3_000_000, EventKind::Connected(Arc::new(ends))));
    let bucket =
        |bound| value(&counted, &format!(r#"tcp_tunn_connect_seconds_bucket{{le="{bound}"}}"#));
    assert_eq!(
        [bucket("0.0025"), bucket("0.005"), bucket("+Inf")],
        [Some(0.0), Some(1.0), Some(1.0)]
    );
    for dropped_bytes in [5, 7, 7] {
        let name = "the \"page\"\n".to_owned();
        let (queued_bytes, buffer_bytes, has_ended) = (3, 9, false);
        let sink =
            crate::sink::SinkStats { name, queued_bytes, buffer_bytes, dropped_bytes, has_ended };
        counted.update(Sample { open: Vec::new(), sinks: vec![sink] });
        let of = |metric| value(&counted, &format!(r#"{metric}{{sink="the \"page\"\n"}}"#));
        assert_eq!(of("tcp_tunn_sink_dropped_bytes_total"), Some(dropped_bytes as f64));
        assert_eq!(of("tcp_tunn_sink_queue_bytes"), Some(3.0));
    }
    let build = concat!(r#"{version=""#, env!("CARGO_PKG_VERSION"), r#"",backend="epoll"}"#);
    assert_eq!(value(&counted, &format!("tcp_tunn_build_info{build}")), Some(1.0));
    assert!(value(&counted, "process_open_fds").is_some_and(|open| open > 2.0));
}

#[test]
fn round_trips_and_retransmissions_are_told_by_leg() {
    let mut counted = counted();
    counted.event(&open(1, "127.0.0.1:80"));
    for (leg, retransmits) in [(Side::Server, 2), (Side::Client, 1), (Side::Server, 5)] {
        let figure = |name| match name {
            "rtt_us" => Some(300),
            "retransmits" => Some(retransmits),
            _ => None,
        };
        let info = Info::new(leg, event::TcpInfo::from_figures(figure));
        counted.event(&event(1, 1, EventKind::Info(Arc::new(info))));
    }
    let count = |metric: &str| value(&counted, metric);
    assert_eq!(count(r#"tcp_tunn_tcp_retransmits_total{leg="server"}"#), Some(5.0));
    assert_eq!(count(r#"tcp_tunn_tcp_retransmits_total{leg="client"}"#), Some(1.0));
    assert_eq!(count(r#"tcp_tunn_tcp_rtt_seconds_count{leg="server"}"#), Some(2.0));
    assert_eq!(count(r#"tcp_tunn_tcp_rtt_seconds_bucket{leg="client",le="0.0005"}"#), Some(1.0));
}
