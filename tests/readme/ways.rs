//! The table "Ways to look": each row's tunnel and its reader without a screen are run as they
//! stand there. What needs one is the first reader of each row, Wireshark itself.

use super::{document, run_in_a_network_of_its_own};

/// Of all rows but that of TLS, which has a server of its own.
const ENDS: &str = "--from 127.0.0.1:8080 --to 127.0.0.1:8000";

/// A web server that speaks TLS, and how a reader is given the time to start.
const HELPERS: &str = r#"
openssl req -x509 -nodes -subj /CN=localhost -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
    -keyout key.pem -out cert.pem 2>/dev/null
openssl s_server -accept 127.0.0.1:443 -key key.pem -cert cert.pem -www >s_server.log 2>&1 &
until curl -sk -o /dev/null https://127.0.0.1/; do sleep 0.05; done
export HOME=$PWD
get() { curl -s -o /dev/null http://127.0.0.1:8080/; }
# Visits until what is read has the visit.
visit_until_seen() {
    for _ in $(seq 300); do
        get || true
        if grep -q 'GET /' seen; then return; fi
        sleep 0.1
    done
    return 1
}
"#;

/// What is written as code in a cell.
fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(|code| code.replace("\\|", "|")).collect()
}

/// The code in the two columns behind the name of each way.
fn rows() -> Vec<(Vec<String>, Vec<String>)> {
    let capture = document("docs/capture.md");
    let (_, section) = capture.split_once("## Ways to look").unwrap();
    let (_, table) = section.split_once("|---|---|---|\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let cells = |row: &str| {
        let row = row.strip_prefix("| ").unwrap().strip_suffix(" |").unwrap();
        let [_, tunnel, readers] = row.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        (code(tunnel), code(readers))
    };
    table.lines().map(cells).collect()
}

/// What a person does who follows a row.
fn script(tunnel: &[String], readers: &[String]) -> String {
    let (tunnel, reader) = (&tunnel[0], readers.last().unwrap());
    assert!(reader.contains("tshark "), "no reader without a screen: {readers:?}");
    if tunnel.starts_with("tcp_tunn ") {
        return format!(
            "{tunnel}\n{reader} >seen 2>seen.err &\n\
             visit_until_seen\nkill -INT $!\nwait $!\n"
        );
    }
    if reader.starts_with("| ") {
        // The first visit, which looks whether it listens, is the one that ends it.
        return format!(
            "tcp_tunn {ENDS} {tunnel} --stop-after connections:1 2>tunnel.err {reader} >seen &\n\
             until get; do sleep 0.05; done\nwait $!\ngrep 'GET /' seen\n"
        );
    }
    if reader.contains(" -i ") || reader.starts_with("nc ") {
        return format!(
            "start tcp_tunn {ENDS} {tunnel}\n{reader} >seen &\nreader=$!\n\
             visit_until_seen\nfinish\nwait $reader\n"
        );
    }
    let merge = readers.iter().filter(|command| command.starts_with("mergecap ")).cloned();
    let read = [merge.collect(), format!("{reader} >seen"), "grep 'GET /' seen\n".to_owned()];
    let visit = if tunnel.contains("--tls-keylog") {
        "SSLKEYLOGFILE=keys.log curl -sk -o /dev/null https://127.0.0.1:8443/".to_owned()
    } else {
        "get".to_owned()
    };
    let ends = if visit == "get" { ENDS } else { "--from 127.0.0.1:8443 --to 127.0.0.1:443" };
    format!("start tcp_tunn {ends} {tunnel}\n{visit}\nfinish\n{}", read.join("\n"))
}

#[test]
fn ways_to_look_run_as_written() {
    let rows = rows();
    assert_eq!(
        rows.len(),
        8,
        "file, pipe, TCP@, pushed, extcap, rotated, compressed, decrypted: {rows:?}"
    );
    let mut all = HELPERS.to_owned();
    for (number, (tunnel, readers)) in rows.iter().enumerate() {
        let script = script(tunnel, readers);
        all += &format!("mkdir way{number}; pushd way{number}; touch seen\n{script}popd\n");
    }
    run_in_a_network_of_its_own(&all);
}
