//! Which destinations are recorded.

use std::io::Write;

use tcp_tunn::ingress::Filter;
use tcp_tunn::tunnel::Builder;

use super::ways::ask_by_socks5;
use super::{LOCAL, accept, read, server};
use crate::support::end::patient;
use crate::support::events::{Events, check_contract};
use crate::support::tunnel::Running;

#[test]
fn destination_that_is_excluded_is_relayed_and_not_recorded() {
    let (seen, unseen) = (server(), server());
    let events = Events::default();
    let exclude = vec![format!("127.0.0.0/8:{}", unseen.1.port()).parse().unwrap()];
    let builder = Builder::default().proxy(LOCAL, None).sink(events.sink());
    let tunnel = Running::start(builder.record_only(Filter::new(Vec::new(), exclude)));
    for (listener, address) in [&unseen, &seen] {
        let mut client = patient(tunnel.connect());
        ask_by_socks5(&client, *address);
        client.write_all(b"hello").unwrap();
        assert_eq!(read(&accept(listener)), *b"hello");
    }
    events.wait_for_close();
    let summary = tunnel.stop();
    assert_eq!(summary.counts.connections, 2, "both are counted");
    assert_eq!(summary.sinks[0].dropped_bytes, 0, "what is not wanted is not missed");
    let events = events.all();
    check_contract(&events);
    assert!(events.iter().all(|event| event.connection == events[0].connection), "{events:?}");
}
