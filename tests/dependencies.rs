//! What the library brings with it, and how it looks to a crate that uses it.

use std::collections::{BTreeMap, BTreeSet};
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

/// The manifest's table of that name: each key, and its value as written, on one line.
fn table(manifest: &str, name: &str) -> BTreeMap<String, String> {
    let (_, table) = manifest.split_once(&format!("\n[{name}]\n")).unwrap();
    let table = table.split("\n[").next().unwrap();
    let code = table.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    let table = code.collect::<Vec<_>>().join("\n").replace("[\n", "[").replace(",\n", ", ");
    let entries = table.lines().filter_map(|line| line.split_once(" = "));
    entries.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn quoted(value: &str) -> impl Iterator<Item = &str> {
    value.split('"').skip(1).step_by(2)
}

/// The optional dependencies that `feature` switches on, by way of other features too.
fn enabled(features: &BTreeMap<String, String>, feature: &str) -> BTreeSet<String> {
    let below = quoted(&features[feature]).map(|word| match word.strip_prefix("dep:") {
        Some(dependency) => BTreeSet::from([dependency.to_owned()]),
        None => enabled(features, word),
    });
    below.flatten().collect()
}

/// The packages that come with a set of features: each name with its versions and features.
fn tree(features: &str) -> BTreeMap<String, BTreeSet<String>> {
    let arguments =
        ["tree", "--edges", "normal", "--prefix", "none", "--format", "{p} | {f}", "--features"];
    let all = text(cargo(&[&arguments[..], &[features, "--no-default-features"]].concat()));
    let mut packages = BTreeMap::<_, BTreeSet<_>>::new();
    for line in all.lines().map(|line| line.trim_end_matches(" (*)").replace(" (proc-macro)", "")) {
        let (name, rest) = line.split_once(' ').unwrap();
        packages.entry(name.to_owned()).or_default().insert(rest.to_owned());
    }
    packages
}

/// What is optional for us, and comes with another dependency in any case.
const ALWAYS_THERE: &[&str] = &["futures-util"];

#[test]
fn feature_brings_only_its_own_dependencies() {
    let manifest = include_str!("../Cargo.toml");
    let features = table(manifest, "features");
    let dependencies = table(manifest, "dependencies");
    let optional: Vec<_> =
        dependencies.iter().filter(|(_, value)| value.contains("optional = true")).collect();
    let all = &enabled(&features, "cli") | &enabled(&features, "fleet");
    assert!(all.len() == optional.len(), "'cli' and 'fleet' are all features");
    for feature in ["", "capture", "compress", "console", "run", "tls", "web", "cli", "fleet"] {
        let tree = tree(feature);
        let wanted = if feature.is_empty() { BTreeSet::new() } else { enabled(&features, feature) };
        for (name, _) in &optional {
            let is_wanted = wanted.contains(*name);
            // What NATS and Parquet need beside it is theirs.
            let may_come = ALWAYS_THERE.contains(&name.as_str()) || feature == "fleet";
            let comes = tree.contains_key(*name);
            assert!(comes == is_wanted || comes && may_come, "{name} with '{feature}'");
        }
        let is_ours = |name: &str| {
            tree.contains_key(name)
                && (wanted.contains(name) || optional.iter().all(|(other, _)| *other != name))
        };
        for (name, value) in dependencies.iter().filter(|(name, _)| is_ours(name)) {
            check_written(name, value, &tree[name]);
        }
    }
}

/// A dependency comes once, in a version and with the features that the manifest asks for.
fn check_written(name: &str, written: &str, found: &BTreeSet<String>) {
    let (version, features) = match written.split_once("features = [") {
        Some((head, features)) => (head, features.split(']').next().unwrap()),
        None => (written, ""),
    };
    let version = quoted(version).next().unwrap().trim_start_matches('=');
    let found: Vec<_> = found.iter().filter(|found| found.contains(" | ")).collect();
    let asked = found.iter().any(|found| {
        let (found, has) = found.split_once(" | ").unwrap();
        let has: Vec<_> = has.split(',').collect();
        let mut missing = quoted(features).filter(|feature| !has.contains(feature));
        found.starts_with(&format!("v{version}")) && missing.next().is_none()
    });
    assert!(asked, "{name}: {written} is not in {found:?}");
}

#[test]
fn foreign_crate_builds_on_the_public_api() {
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

/// A fuzz target builds the command's own source. Where its manifest asks for another version or
/// feature, the target fails to build, and nobody looks until the end.
#[test]
fn fuzz_manifest_asks_for_the_same_as_ours() {
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (ours, fuzz) = (read("Cargo.toml"), read("fuzz/Cargo.toml"));
    let features = table(&ours, "features");
    let (ours, fuzz) = (table(&ours, "dependencies"), table(&fuzz, "dependencies"));
    let of_command = quoted(&features["cli"]).filter_map(|word| word.strip_prefix("dep:"));
    let missing: Vec<_> = of_command.filter(|name| !fuzz.contains_key(*name)).collect();
    assert!(missing.is_empty(), "fuzz/Cargo.toml lacks {missing:?}");
    let plain = |value: &String| {
        let value = value.replace(", optional = true", "");
        let alone = value.strip_prefix("{ version = ").and_then(|rest| rest.strip_suffix(" }"));
        alone.filter(|rest| !rest.contains(',')).map_or_else(|| value.clone(), str::to_owned)
    };
    for (name, value) in fuzz.iter().filter(|(name, _)| ours.contains_key(*name)) {
        assert_eq!(plain(value), plain(&ours[name]), "{name} in fuzz/Cargo.toml");
    }
    // The fuzzer enables no feature of the tunnel that there is not.
    let tunnel = fuzz["tcp_tunn"].split_once("features = [").unwrap().1;
    let unknown: Vec<_> = quoted(tunnel).filter(|name| !features.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn fuzz_lock_has_the_versions_of_ours() {
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (ours, fuzz) = (locked(&read("Cargo.lock")), locked(&read("fuzz/Cargo.lock")));
    for (name, versions) in fuzz.iter().filter(|(name, _)| ours.contains_key(*name)) {
        let others: Vec<_> = versions.difference(&ours[name]).collect();
        assert!(
            others.is_empty(),
            "{name} {others:?} in fuzz/Cargo.lock, {:?} in ours",
            ours[name]
        );
    }
}

/// The packages of a lock file, each with its versions.
fn locked(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut packages = BTreeMap::<_, BTreeSet<_>>::new();
    for package in lock.split("[[package]]").skip(1) {
        let mut words = quoted(package).map(str::to_owned);
        packages.entry(words.next().unwrap()).or_default().insert(words.next().unwrap());
    }
    packages
}
