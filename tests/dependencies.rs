//! What the library brings with it, and how it looks to a crate that uses it.

use std::path::Path;
use std::process::{Command, Output};

fn cargo(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

/// What it printed, having succeeded.
fn text(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// The dependencies that the manifest calls optional.
fn optional() -> Vec<&'static str> {
    let manifest = include_str!("../Cargo.toml");
    let optional = manifest.lines().filter(|line| line.contains("optional = true"));
    optional.filter_map(|line| line.split([' ', '=']).next()).collect()
}

#[test]
fn the_library_alone_brings_nothing_of_the_command_line() {
    let tree = |more: &[&str]| {
        text(cargo(&[&["tree", "--edges", "normal", "--prefix", "none"], more].concat()))
    };
    let has = |tree: &str, name: &str| tree.lines().any(|l| l.split(' ').next() == Some(name));
    let (all, library) = (tree(&[]), tree(&["--no-default-features"]));
    assert!(optional().contains(&"clap"), "{:?}", optional());
    for name in optional() {
        assert!(has(&all, name), "{name} should be in\n{all}");
        assert!(!has(&library, name), "{name} should not be in\n{library}");
    }
}

#[test]
fn a_crate_of_somebody_else_builds_on_the_public_api_alone() {
    let external = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/external");
    // The versions that everything else here is tested with.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    std::fs::copy(lock, external.join("Cargo.lock")).unwrap();
    let target = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let target = text(target);
    let target = target.split(r#""target_directory":""#).nth(1).unwrap().split('"').next();
    let manifest = external.join("Cargo.toml");
    let arguments = ["run", "--quiet", "--target-dir", target.unwrap(), "--manifest-path"];
    let output = text(cargo(&[&arguments, &[manifest.to_str().unwrap()][..]].concat()));
    let mut lines: Vec<_> = output.lines().collect();
    assert!(lines.first().unwrap().starts_with("1 open 127.0.0.1:"), "{output}");
    assert_eq!(lines.last(), Some(&"1 finished"));
    let last = lines.len() - 1;
    // What is sent one way and received the other has no order.
    lines[1..last].sort_unstable();
    let said = [
        "1 client said Good night.",
        "1 client said Is it late?.",
        "1 client was told GOOD NIGHT.",
        "1 client was told No.",
        "1 server said GOOD NIGHT.",
        "1 server was told GOOD NIGHT.",
    ];
    assert_eq!(lines[1..last], said);
}

/// A fuzz target builds the command's own source, which a missing dependency would keep from
/// building where nobody looks until the end.
#[test]
fn the_fuzz_targets_have_what_the_command_needs() {
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (ours, fuzz) = (read("Cargo.toml"), read("fuzz/Cargo.toml"));
    let (_, cli) = ours.split_once("\ncli = [").unwrap();
    let (cli, _) = cli.split_once(']').unwrap();
    let needed: Vec<_> = cli.split('"').filter_map(|word| word.strip_prefix("dep:")).collect();
    assert!(needed.contains(&"clap"), "{needed:?}");
    let missing = |name: &&&str| !fuzz.lines().any(|line| line.starts_with(&format!("{name} = ")));
    let missing: Vec<_> = needed.iter().filter(missing).collect();
    assert!(missing.is_empty(), "fuzz/Cargo.toml lacks {missing:?}");
}
