//! Which file of the source imports from which other, read from the syntax trees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::Item;
use syn::visit::Visit;

use super::source::{is_for_tests, parse, paths_of};

/// A module by its path below the crate; the crate's own is empty.
type ModulePath = Vec<String>;

/// What stands in the modules of the crate.
struct Modules {
    files: BTreeMap<ModulePath, Vec<Item>>,
}

/// A name that a module has from another: the module it leads to and the name there.
type Exports = BTreeMap<String, (ModulePath, String)>;

impl Modules {
    /// Those below `root`, a file such as `src/lib.rs`.
    fn read(root: &Path) -> Self {
        let mut modules = Self { files: BTreeMap::new() };
        modules.read_file(root, root.parent().unwrap(), Vec::new());
        modules
    }

    fn read_file(&mut self, file: &Path, children: &Path, path: ModulePath) {
        let items = parse(&fs::read_to_string(file).unwrap()).items;
        for item in &items {
            let Item::Mod(module) = item else { continue };
            if module.content.is_some() || is_for_tests(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let below = children.join(&name);
            let candidates: [PathBuf; 2] = [below.with_extension("rs"), below.join("mod.rs")];
            let file = candidates.iter().find(|file| file.exists()).unwrap();
            self.read_file(file, &below, [&path[..], &[name]].concat());
        }
        self.files.insert(path, items);
    }

    /// The module that `path`, seen from `at`, begins with, and the rest of the path.
    fn resolve(&self, at: &ModulePath, path: &[String]) -> Option<(ModulePath, Vec<String>)> {
        let mut rest = path;
        let mut module = match rest.first()?.as_str() {
            "crate" => Vec::new(),
            "self" => at.clone(),
            "super" => at[..at.len().checked_sub(1)?].to_vec(),
            first => {
                let child = [&at[..], &[first.to_owned()]].concat();
                self.files.get(&child)?;
                child
            }
        };
        rest = &rest[1..];
        while let Some(next) = rest.first() {
            if next == "super" {
                module.pop();
            } else {
                let child = [&module[..], std::slice::from_ref(next)].concat();
                if !self.files.contains_key(&child) {
                    break;
                }
                module = child;
            }
            rest = &rest[1..];
        }
        Some((module, rest.to_vec()))
    }

    /// The names that a module passes on from others.
    fn exports(&self, at: &ModulePath) -> Exports {
        let mut exports = Exports::new();
        for item in &self.files[at] {
            let Item::Use(item) = item else { continue };
            if matches!(item.vis, syn::Visibility::Inherited) {
                continue;
            }
            for path in paths_of(&item.tree) {
                if let Some((module, rest)) = self.resolve(at, &path)
                    && let [name] = &rest[..]
                {
                    exports.insert(name.clone(), (module, name.clone()));
                }
            }
        }
        exports
    }

    /// Where what a path names is written: through all that only pass it on.
    fn origin(&self, at: &ModulePath, path: &[String]) -> Option<ModulePath> {
        let (mut module, rest) = self.resolve(at, path)?;
        let mut name = rest.first().cloned();
        while let Some(wanted) = &name {
            let exports = self.exports(&module);
            let Some((next, renamed)) = exports.get(wanted) else { break };
            (module, name) = (next.clone(), Some(renamed.clone()));
        }
        Some(module)
    }

    /// The modules that each module imports from. What it only passes on counts for nothing.
    fn imports(&self) -> BTreeMap<ModulePath, BTreeSet<ModulePath>> {
        let imports = |(at, items): (&ModulePath, &Vec<Item>)| {
            let mut paths = Paths(Vec::new());
            items.iter().for_each(|item| paths.visit_item(item));
            let found = paths.0.iter().filter_map(|path| self.origin(at, path));
            (at.clone(), found.filter(|module| module != at).collect())
        };
        self.files.iter().map(imports).collect()
    }
}

/// All paths in code that is not for tests, but for those that are passed on.
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            Item::Use(item) if matches!(item.vis, syn::Visibility::Inherited) => {
                self.0.extend(paths_of(&item.tree));
            }
            Item::Use(_) => {}
            other => syn::visit::visit_item(self, other),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if words.len() > 1 {
            self.0.push(words);
        }
        syn::visit::visit_path(self, path);
    }
}

/// The circles among the files below `root`: each as the files that can be reached from each other.
pub(super) fn circles(root: &Path) -> BTreeSet<String> {
    let imports = Modules::read(root).imports();
    let reached = |from: &ModulePath| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for imported in &imports[module] {
                if seen.insert(imported) {
                    next.push(imported);
                }
            }
        }
        seen
    };
    let all: BTreeMap<_, _> = imports.keys().map(|module| (module, reached(module))).collect();
    let circle = |module: &&ModulePath| {
        let members = all[*module].iter().filter(|other| all[**other].contains(*module));
        let names: BTreeSet<_> = members.map(|module| module.join("::")).collect();
        (names.len() > 1).then(|| names.into_iter().collect::<Vec<_>>().join(", "))
    };
    imports.keys().filter_map(|module| circle(&module)).collect()
}

/// The imports below `root` that lead from a layer to a higher one. `layers` names each layer, the
/// lowest first; a folder or file that it does not name is an error.
pub(super) fn upward(root: &Path, layers: &[&str]) -> Vec<String> {
    let rank = |module: &ModulePath| {
        let layer = module.first()?;
        let rank = layers.iter().position(|known| known == layer);
        Some(rank.unwrap_or_else(|| panic!("'{layer}' is no layer that the test knows")))
    };
    let imports = Modules::read(root).imports();
    let pairs = imports.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    let is_upward = |(from, to): &(&ModulePath, &ModulePath)| match (rank(from), rank(to)) {
        (Some(from), Some(to)) => to > from,
        // The crate's own file only names its modules.
        (Some(_), None) => true,
        (None, _) => false,
    };
    let shown = |(from, to): (&ModulePath, &ModulePath)| {
        format!("{} imports {}", from.join("::"), to.join("::"))
    };
    pairs.filter(is_upward).map(shown).collect()
}

/// Writes a crate of these files, and returns its folder and its root.
fn made_up(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let root = folder.path().join("lib.rs");
    (folder, root)
}

#[test]
fn circle_of_files_is_found() {
    let (_folder, root) = made_up(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B;"),
        // By way of a file that only passes the name on.
        ("b/mod.rs", "mod inner; pub use inner::B; use crate::c::C;"),
        ("b/inner.rs", "pub struct B; fn f() { crate::c::f() }"),
        ("c.rs", "use super::a; pub fn f() { a::f() }"),
        ("d.rs", "use crate::a::A; #[cfg(test)] mod tests { use crate::d; }"),
    ]);
    assert_eq!(circles(&root), BTreeSet::from(["a, b::inner, c".to_owned()]));
}

#[test]
fn imports_without_circle_are_not_reported() {
    let (_folder, root) = made_up(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; mod inner;"),
        ("a/inner.rs", "use crate::b::B;"),
        ("b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
    ]);
    assert_eq!(circles(&root), BTreeSet::new());
}

#[test]
fn import_from_higher_layer_is_found() {
    let files = [("lib.rs", "mod low; mod high;"), ("low.rs", "use crate::high::H;")];
    let (_folder, root) = made_up(&[files[0], files[1], ("high.rs", "use crate::low::L;")]);
    assert_eq!(upward(&root, &["low", "high"]), ["low imports high"]);
}

#[test]
#[should_panic(expected = "'other' is no layer that the test knows")]
fn folder_without_layer_fails() {
    let files = [("lib.rs", "mod low; mod other;"), ("other/mod.rs", "use crate::low::L;")];
    let (_folder, root) = made_up(&[files[0], files[1], ("low.rs", "")]);
    upward(&root, &["low"]);
}
