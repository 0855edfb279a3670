use super::*;
use crate::sink::replay::{parse, replay};

/// Noon plus a minute.
const NOW: Timestamp = Timestamp(1_767_355_260_000_000_000);

fn table(lines_max: usize, events: &str) -> ConnectionTable {
    let mut table = ConnectionTable::new(lines_max);
    replay(&parse(events).unwrap(), &mut table).unwrap();
    table
}

/// The events of a connection that said `bytes` and ended.
fn ended(id: u64, bytes: u64) -> String {
    format!(
        "2026-01-02T12:00:00Z {id} open client=[::1]:5000 listener=[::1]:80 target=db:1\n\
         2026-01-02T12:00:01.5Z {id} close reason=stopped client={bytes}/0 server=0/0\n"
    )
}

fn opened(id: u64) -> String {
    format!("2026-01-02T12:00:00Z {id} open client=[::1]:5000 listener=[::1]:80 target=db:1\n")
}

/// The numbers of the connections that have a line.
fn numbers(table: &ConnectionTable) -> Vec<u64> {
    let text = table.render(NOW);
    text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn a_table_of_what_ended_and_what_is_open() {
    let events = r#"
        2026-01-02T12:00:00Z 1 open client=127.0.0.1:5000 listener=[::1]:80 target=example.com:80
        2026-01-02T12:00:00Z 12 open client="unix:/a\x1b[2J" listener=unix:/b target=db:5432
        2026-01-02T12:00:01Z 12 shutdown from=client received=70000 sent=70000
        2026-01-02T12:00:01.25Z 1 close reason=reset by=server client=18/18 server=1536/1000
    "#;
    assert_eq!(
        table(20, events).render(NOW),
        "\
connection  client          upstream        duration  client said  server said  end
         1  127.0.0.1:5000  example.com:80   1.250 s         18 B     1.50 KiB  reset by the server
        12  unix:/a\\x1b[2J  db:5432            1m00s     68.4 KiB          ...  open
"
    );
}

#[test]
fn of_many_that_ended_those_that_said_most_are_kept() {
    let events: String = (1..=100).map(|id| ended(id, id * 7 % 101)).collect();
    let table = table(3, &events);
    // They said 98, 99 and 100 bytes.
    assert_eq!(numbers(&table), [14, 43, 72]);
    let text = table.render(NOW);
    let last = text.lines().last().unwrap();
    let others: u64 = (1..=97).sum();
    assert!(last.contains("and 97 more") && others == 4753 && last.contains("4.64 KiB"), "{last}");
    let inner = table.lock();
    assert_eq!((inner.ended.len(), inner.ranks.len(), inner.open.len()), (3, 3, 0));
}

#[test]
fn open_connections_have_up_to_half_of_the_lines() {
    let few: String = (1..=10).map(|id| ended(id, id)).chain([opened(11)]).collect();
    assert_eq!(numbers(&table(4, &few)), [8, 9, 10, 11]);
    let many: String = (1..=10).map(|id| ended(id, id)).chain((11..=20).map(opened)).collect();
    assert_eq!(numbers(&table(4, &many)), [9, 10, 11, 12]);
    let open: String = (1..=3).map(opened).collect();
    assert_eq!(numbers(&table(4, &open)), [1, 2, 3]);
    assert_eq!(numbers(&table(0, &few)), [0_u64; 0]);
}

#[test]
fn it_asks_for_no_data() {
    assert_eq!(ConnectionTable::new(1).interest(), Interest::LIFECYCLE);
}
