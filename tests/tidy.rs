//! Style and architecture as tests, read from the syntax tree of the source.

mod graph;
mod rules;
mod source;

use std::fs;
use std::path::{Path, PathBuf};

/// All that may stand beside the manifest. A new entry needs a reason in its commit message.
const TOP_LEVEL: &[&str] = &[
    ".ci",
    ".clippy.toml",
    ".config",
    ".containerignore",
    ".git",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Containerfile",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "deny.toml",
    "docs",
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
fn source_keeps_rules() {
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

/// Whether a file declares the module `name`, with the content in a file of its own.
fn has_declaration(file: &Path, name: &str) -> bool {
    let items = source::parse(&fs::read_to_string(file).unwrap()).items;
    items.iter().any(|item| {
        matches!(item, syn::Item::Mod(module) if module.content.is_none() && module.ident == name)
    })
}

/// Whether the module in `path` is declared where it should be, so that it is compiled.
fn is_wired(path: &Path) -> bool {
    let module = if path.ends_with("mod.rs") { path.parent().unwrap() } else { path };
    let (folder, name) = (module.parent().unwrap(), module.file_stem().unwrap().to_str().unwrap());
    let parents = ["mod.rs", "main.rs", "lib.rs"].map(|parent| folder.join(parent));
    let mut parents = parents.into_iter().chain([folder.with_extension("rs")]);
    parents.any(|parent| parent.exists() && has_declaration(&parent, name))
}

#[test]
fn every_file_is_compiled() {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        rust_files(&root().join(folder), &mut files);
    }
    let crates = [
        "src/main.rs",
        "src/lib.rs",
        "tests/main.rs",
        "tests/fleet/main.rs",
        "tests/external/src/main.rs",
    ];
    let is_crate = |path: &Path| crates.iter().any(|root| path.ends_with(root));
    let left_out: Vec<_> =
        files.into_iter().filter(|path| !is_crate(path) && !is_wired(path)).collect();
    assert!(left_out.is_empty(), "no 'mod' names {left_out:?}");
}

#[test]
fn file_without_module_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    file("main.rs", "mod a;\npub(crate) mod b;\n// mod c;\nmod dd;\n");
    for (name, text) in [("a.rs", "mod inner;\n"), ("a/inner.rs", ""), ("b/mod.rs", "")] {
        assert!(is_wired(&file(name, text)), "{name}");
    }
    for name in ["c.rs", "d.rs", "a/other.rs", "e/mod.rs"] {
        assert!(!is_wired(&file(name, "")), "{name}");
    }
}

#[test]
fn top_level_has_only_known_entries() {
    // Captures are what a demonstration leaves, and the version control ignores them.
    let expected = |name: &str| TOP_LEVEL.contains(&name) || name.ends_with(".pcapng");
    let names = fs::read_dir(root()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let others: Vec<_> = names.filter(|name| !expected(name)).collect();
    assert!(others.is_empty(), "what is this for? {others:?}");
}

/// The layers of the library, the lowest first, as `docs/architecture.md` lists them.
const LAYERS: &[&str] = &[
    "os_error",
    "event",
    "verdict",
    "relay",
    "transform",
    "tls",
    "ingress",
    "launch",
    "packet",
    "net",
    "sink",
    "capture",
    "console",
    "web",
    "metrics",
    "tunnel",
    "fleet",
    "guide",
];

#[test]
fn layers_import_only_downward() {
    let upward = graph::upward(&root().join("src/lib.rs"), LAYERS);
    assert!(upward.is_empty(), "\n{}", upward.join("\n"));
    let architecture = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, table) = architecture.split_once("| layer | owns |").unwrap();
    let at = |layer: &&str| table.find(&format!("| `{layer}` |"));
    let order: Vec<_> = LAYERS.iter().filter(|layer| **layer != "guide").map(at).collect();
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}");
}

#[test]
fn imports_form_no_circle() {
    let circles = ["src/lib.rs", "src/main.rs"].map(|path| graph::circles(&root().join(path)));
    let circles: Vec<_> = circles.into_iter().flatten().collect();
    assert!(circles.is_empty(), "these files go round in a circle:\n{}", circles.join("\n"));
}

/// The compiler and clippy hold these; here it is held that they are asked to.
#[test]
fn lints_behind_rules_are_on() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for lint in ["missing_docs", "unsafe_code", "undocumented_unsafe_blocks", "unwrap_used"] {
        let on = format!("{lint} = \"deny\"");
        assert!(manifest.lines().any(|line| line == on), "{on} is missing in Cargo.toml");
    }
}
