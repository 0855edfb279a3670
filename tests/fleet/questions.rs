//! The questions of `docs/fleet.md`, put to DuckDB.

use std::fs;
use std::path::Path;
use std::process::Command;

use tcp_tunn::event::{CloseReason, Side};
use tcp_tunn::fleet::{Archive, Collected, CollectorOptions};
use tcp_tunn::sink::Sink;
use tempfile::tempdir;

use super::nats::Nats;
use super::{give, host, talk};
use crate::support::talk::interleave;

fn archived(nats: &Nats, folder: &Path) -> Collected {
    Archive::new(CollectorOptions::new(nats.server()), folder).unwrap().run().unwrap()
}

/// What DuckDB answers to each question: as many lines of Python's tuples.
fn ask(folder: &Path, questions: &[&str]) -> Vec<String> {
    let mut script = "import duckdb\nconnection = duckdb.connect()\n".to_owned();
    for question in questions {
        script += &format!("rows = connection.execute(r'''{question}\n''').fetchall()\n");
        script += "print(len(rows), rows[:3])\n";
    }
    let python = std::env::var("TCP_TUNN_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let asked = Command::new(python).args(["-c", &script]).current_dir(folder).output().unwrap();
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(asked.status.success(), "{said} (is duckdb installed?)");
    String::from_utf8(asked.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn questions_have_answers() {
    let (nats, folder) = (Nats::start(), tempdir().unwrap());
    for number in 1..=3 {
        let mut talks: Vec<_> = (1..=10).map(|id| talk(number, id, 20_000)).collect();
        let mut odd = talk(number, 11, 5000);
        odd.events.truncate(odd.events.len() - 3);
        odd.say(Side::Client, b"\xff\0token=1");
        odd.close(CloseReason::Reset { by: Side::Server });
        talks.push(odd);
        let mut sink = host(&nats, &format!("web{number}"));
        give(&mut sink, &interleave(&talks));
        sink.finish().unwrap();
    }
    archived(&nats, &folder.path().join("tables"));
    let document = fs::read_to_string("docs/fleet.md").unwrap();
    let blocks = document.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let blocks: Vec<_> = blocks.collect();
    assert_eq!(blocks.len(), 11, "the views and ten questions");
    let answers = ask(folder.path(), &blocks);
    assert_eq!(answers.len(), 11);
    for (question, answer) in blocks.iter().zip(&answers).skip(1) {
        // Nothing is missing.
        assert_eq!(answer.starts_with("0 "), question.contains("first_missing"), "{question}");
    }
    let answer_to = |words: &str| &answers[blocks.iter().position(|q| q.contains(words)).unwrap()];
    assert!(answer_to("AS resets").starts_with("3 [('web"), "{answers:#?}");
    assert!(answer_to("token=").starts_with("3 "), "{answers:#?}");
    assert_eq!(answer_to("reason <> 'finished'"), "1 [('reset', 'server', 3, 3)]");
    // Each byte is there, once.
    let sums =
        "SELECT sum(len)::BIGINT, count(DISTINCT (host, conn)) FROM chunks WHERE side = 'client'";
    let views = blocks[0];
    assert_eq!(ask(folder.path(), &[views, sums])[1], "1 [(615027, 33)]");
}

#[test]
fn later_run_goes_on_where_one_stopped() {
    let (nats, folder) = (Nats::start(), tempdir().unwrap());
    let tables = folder.path().join("tables");
    for number in 1..=3 {
        let talk = talk(number, 1, 20_000);
        let mut sink = host(&nats, &format!("web{number}"));
        give(&mut sink, &talk.events);
        sink.finish().unwrap();
        assert_eq!(archived(&nats, &tables).batches, 1);
    }
    assert_eq!(archived(&nats, &tables).batches, 0);
    let views = "CREATE VIEW chunks AS SELECT * FROM 'tables/chunks/*/*/*.parquet'";
    let sums = "SELECT sum(len)::BIGINT, count(DISTINCT host) FROM chunks WHERE side = 'client'";
    assert_eq!(ask(folder.path(), &[views, sums])[1], "1 [(60000, 3)]");
}
