//! The README and the docs: every command in them works as it is written, every option stands in
//! them, and every test that they name exists.
//!
//! A fenced block is marked by what it needs: `sh` is run here, `sh display` needs a screen,
//! `sh service` a server or a daemon that this machine may not have, `sh setup` is what sets this
//! very machine up.

mod ways;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;

use crate::support::process::Process;
use crate::support::skip::skip;

const MARKS: [&str; 3] = ["display", "service", "setup"];

fn document(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn readme() -> String {
    document("README.md")
}

/// The paths of the README and of all documents in `docs`, in order.
fn paths() -> Vec<String> {
    let folder = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut docs: Vec<_> =
        folder.map(|entry| format!("docs/{}", name(entry).to_str().unwrap())).collect();
    docs.retain(|path| path.ends_with(".md"));
    docs.sort();
    assert!(docs.len() > 5, "{docs:?}");
    docs.insert(0, "README.md".to_owned());
    docs
}

/// The README and all of `docs`, in order.
fn documents() -> String {
    paths().iter().map(|path| document(path)).collect()
}

/// The fenced blocks, each with what stands behind its fence.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    let mut parts = text.split("\n```").skip(1);
    let mut found = Vec::new();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        found.push(block.split_once('\n').unwrap());
    }
    found
}

/// What a person with two terminals does: the tunnels run until all else is done.
fn as_script(block: &str) -> String {
    let mut script = String::new();
    for line in block.replace("\\\n", " ").lines() {
        if line.starts_with("tcp_tunn --") {
            writeln!(script, "start {line}").unwrap();
        } else {
            writeln!(script, "{line}").unwrap();
        }
    }
    script + "finish\n"
}

/// A network of its own, so that ports are those of the README, and the servers it speaks of.
const PROLOGUE: &str = r#"
set -euo pipefail
ip link set lo up
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
mkdir www && echo '<h1>hello</h1>' > www/index.html
python3 -m http.server --bind 127.0.0.1 --directory www 8000 2>http.log >&2 &
redis-server --port 6379 --save '' >redis.log &
until curl -s -o /dev/null http://127.0.0.1:8000/ && redis-cli ping >/dev/null 2>&1; do
    sleep 0.05
done
tunnels=()
start() {
    # What the tunnel before it said must not be taken for what this one says.
    rm -f tunnel.err
    "$@" 2>tunnel.err &
    tunnels+=("$!:$*")
    until grep -qs 'listening on' tunnel.err; do kill -0 "$!"; sleep 0.05; done
}
finish() {
    local tunnel
    for tunnel in ${tunnels[@]+"${tunnels[@]}"}; do
        [[ $tunnel == *--stop-after* ]] || kill -TERM "${tunnel%%:*}"
        wait "${tunnel%%:*}"
    done
    tunnels=()
}
"#;

const EPILOGUE: &str = r#"
# What the README promises of what its commands left behind.
cmp heard said
jq -se 'map(.event) | .[0] == "open" and .[-1] == "close"' events.json >/dev/null
has() { tshark -r "$1" -Y "$2" 2>/dev/null | grep -q .; }
has out.pcapng http && has run.pcapng http && has unix.pcapng http && has redis.pcapng resp
"#;

#[test]
fn documented_commands_run_as_written() {
    let documents = documents();
    let runnable: Vec<_> =
        blocks(&documents).into_iter().filter(|(mark, _)| *mark == "sh").collect();
    assert!(runnable.len() >= 8, "the blocks were not found: {runnable:?}");
    let mut script = String::new();
    runnable.iter().for_each(|(_, block)| script += &as_script(block));
    run_in_a_network_of_its_own(&(script + EPILOGUE));
}

/// Runs a script after the prologue, in a folder of its own, too.
fn run_in_a_network_of_its_own(script: &str) {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("script"), PROLOGUE.to_owned() + script).unwrap();
    let tunnel = Path::new(env!("CARGO_BIN_EXE_tcp_tunn")).parent().unwrap();
    let path = format!("{}:{}", tunnel.display(), std::env::var("PATH").unwrap());
    // Root needs no user namespace, in which the limit of locked memory would count: the kernel
    // gives back late what the tunnel before had.
    let allowed = |how: &&str| {
        let probe = Command::new("unshare").args([how, "true"]).output();
        probe.is_ok_and(|probe| probe.status.success())
    };
    let Some(namespace) = ["-n", "-rn"].into_iter().find(allowed) else {
        skip("this machine does not allow a network namespace");
        return;
    };
    let ran = Command::new("timeout")
        .args(["120", "unshare"])
        .arg(namespace)
        .args(["bash", "-x", "script"])
        .current_dir(folder.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let trace = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}\n{trace}", ran.status);
}

#[test]
fn fenced_blocks_are_run_or_say_what_they_need() {
    for (mark, block) in blocks(&documents()) {
        let known = ["text", "rust", "sh", "sql", "toml", "yaml"].contains(&mark)
            || mark.strip_prefix("sh ").is_some_and(|needs| MARKS.contains(&needs));
        assert!(known, "'{mark}' is no mark that a test knows:\n{block}");
    }
}

#[test]
fn options_of_the_help_are_documented() {
    let documents = documents();
    let help = String::from_utf8(Process::run(&["--help"]).stdout).unwrap();
    let (known, told) = (options(&help), options(&documents));
    assert!(known.len() > 20, "{known:?}");
    let missing: Vec<_> = known.difference(&told).collect();
    assert!(missing.is_empty(), "the docs say nothing of {missing:?}");
}

#[test]
fn options_of_the_table_exist() {
    let table = document("docs/options.md");
    let help = |args: &[&str]| String::from_utf8(Process::run(args).stdout).unwrap();
    let help = help(&["--help"]) + &help(&["run", "--help"]);
    let unknown: Vec<_> = options(&table).difference(&options(&help)).copied().collect();
    assert!(unknown.is_empty(), "docs/options.md has options that do not exist: {unknown:?}");
}

/// All that looks like a long option.
fn options(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 4).collect()
}

#[test]
fn library_guide_shows_the_example_that_runs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/library.rs");
    let example = fs::read_to_string(path).unwrap();
    let (_, code) = example.split_once("\n\n").unwrap();
    assert!(
        blocks(&document("docs/library.md")).contains(&("rust", code.trim_end())),
        "they differ"
    );
}

#[test]
fn picture_shows_what_the_program_prints() {
    assert!(readme().contains("](scripts/screenshot.svg)"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/screenshot.svg");
    let picture = fs::read_to_string(path).unwrap().replace("&#160;", " ");
    for words in
        ["listening on 127", "Open 127", "Client -&gt; Server ", "Close: finished", "conn "]
    {
        assert!(picture.contains(words), "{words} (made anew by scripts/screenshot.sh)");
    }
}

#[test]
fn readme_fits_in_200_lines() {
    assert!(readme().lines().count() <= 200);
}

#[test]
fn links_between_documents_lead_to_files() {
    for path in paths() {
        let text = document(&path);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
        let links = text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap());
        for link in links.filter(|link| !link.contains("://")) {
            let target = link.split('#').next().unwrap();
            assert!(file.parent().unwrap().join(target).exists(), "{path} leads to {link}");
        }
    }
}

#[test]
fn readme_links_to_every_document() {
    let readme = readme();
    for path in paths().iter().skip(1) {
        assert!(readme.contains(&format!("]({path})")), "no link leads to {path}");
    }
}

#[test]
fn library_example_compiles_alone() {
    let readme = readme();
    let (_, example) = *blocks(&readme).iter().find(|(mark, _)| *mark == "rust").unwrap();
    let (folder, root) = (tempdir().unwrap(), env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(folder.path().join("src")).unwrap();
    fs::write(folder.path().join("src/main.rs"), example).unwrap();
    let manifest = format!(
        "[package]\nname = \"alone\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\ntcp_tunn = {{ path = \"{root}\" }}\n\n\
         [profile.dev]\nopt-level = 1\n"
    );
    fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
    // The same versions and profile as here: nothing is fetched, and dependencies that clippy has
    // checked in this folder are not checked again.
    fs::copy(Path::new(root).join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["check", "--quiet", "--offline"])
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap())
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// The source of every test.
fn sources(folder: &Path, all: &mut String) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *all += &fs::read_to_string(path).unwrap();
        }
    }
}

#[test]
fn guarantees_name_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut source = String::new();
    sources(&root.join("tests"), &mut source);
    sources(&root.join("src"), &mut source);
    let guarantees = document("docs/guarantees.md");
    let (promises, _) = guarantees.split_once("## Reliability").unwrap();
    let rows: Vec<_> = promises.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() > 10, "{rows:?}");
    for row in rows {
        let held_by = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = held_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "what holds this? {row}");
        for name in names {
            let name = name.strip_suffix("::*").unwrap_or(name);
            let name = name.rsplit("::").next().unwrap();
            let declared = ["fn {}(", "mod {};", "\n    {}, "];
            let here = declared.iter().any(|form| source.contains(&form.replace("{}", name)));
            assert!(here, "there is no test '{name}'");
        }
    }
}
