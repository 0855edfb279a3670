//! Style and architecture as tests: what each layer may name, read from the source's text.

mod rules;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

/// All that may stand beside the manifest. A new entry needs a reason in its commit message.
const TOP_LEVEL: &[&str] = &[
    ".ci",
    ".clippy.toml",
    ".config",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "deny.toml",
    "examples",
    "fixtures",
    "fuzz",
    "proptest-regressions",
    "rustfmt.toml",
    "scripts",
    "src",
    "target",
    "tests",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below `folder`, if there is one.
fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.ends_with("target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_source_keeps_the_rules() {
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "benches", "fuzz"] {
        rust_files(&root().join(folder), &mut files);
    }
    assert!(files.len() > 40, "the source was not found: {files:?}");
    let mut broken = Vec::new();
    for file in files {
        let path = file.strip_prefix(root()).unwrap().to_str().unwrap();
        broken.extend(rules::check(path, &fs::read_to_string(&file).unwrap()));
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn the_top_level_is_what_it_should_be() {
    // Captures are what a demonstration leaves, and the version control ignores them.
    let expected = |name: &str| TOP_LEVEL.contains(&name) || name.ends_with(".pcapng");
    let names = fs::read_dir(root()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let others: Vec<_> = names.filter(|name| !expected(name)).collect();
    assert!(others.is_empty(), "what is this for? {others:?}");
}

/// The compiler and clippy hold these; here it is held that they are asked to.
#[test]
fn the_lints_that_rules_rest_on_are_on() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for lint in ["missing_docs", "unsafe_code", "undocumented_unsafe_blocks", "unwrap_used"] {
        let on = format!("{lint} = \"deny\"");
        assert!(manifest.lines().any(|line| line == on), "{on} is missing in Cargo.toml");
    }
}
