//! The public API, as committed in `tests/public-api.txt`: a change of it is seen in review, and
//! is never made by chance.
//!
//! After a change that is meant: `UPDATE_PUBLIC_API=1 cargo test public_api`

mod auto_traits;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Fields, ImplItem, Item, TraitItem, UseTree, Visibility};

const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/public-api.txt");

#[test]
fn public_api_matches_committed_list() {
    let api = Api::read().render();
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        fs::write(COMMITTED, &api).unwrap();
    }
    let committed = fs::read_to_string(COMMITTED).unwrap_or_default();
    let first = api.lines().zip(committed.lines().chain(std::iter::repeat("")));
    let first = first.into_iter().find(|(now, then)| now != then);
    assert!(
        api == committed,
        "the public API is not that of tests/public-api.txt; the first difference is {first:#?}\n\
         (if it is meant, run 'UPDATE_PUBLIC_API=1 cargo test public_api')"
    );
}

/// A module by its path below the crate; the crate's own is empty.
type ModulePath = Vec<String>;

/// All modules of the crate, as they are written.
struct Api {
    modules: BTreeMap<ModulePath, Vec<Item>>,
    public: BTreeSet<ModulePath>,
}

impl Api {
    fn read() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut api = Self { modules: BTreeMap::new(), public: BTreeSet::new() };
        api.read_module(&source.join("lib.rs"), &source, Vec::new(), true);
        api
    }

    /// Reads a module and, from `children`, those in it.
    fn read_module(&mut self, file: &Path, children: &Path, path: ModulePath, public: bool) {
        let text = fs::read_to_string(file).unwrap();
        let items = syn::parse_file(&text).unwrap().items;
        let is_kept = |item: &Item| !is_for_tests(item) && !is_of_the_fleet(item);
        let items: Vec<_> = items.into_iter().filter(is_kept).collect();
        for item in &items {
            let Item::Mod(module) = item else { continue };
            let name = module.ident.to_string();
            let children = children.join(&name);
            let candidates: [PathBuf; 2] = [children.with_extension("rs"), children.join("mod.rs")];
            let file = candidates.iter().find(|file| file.exists()).unwrap();
            let path = path.iter().cloned().chain([name]).collect();
            self.read_module(file, &children, path, public && is_public(&module.vis));
        }
        if public {
            self.public.insert(path.clone());
        }
        self.modules.insert(path, items);
    }

    fn render(&self) -> String {
        let exported: BTreeMap<_, _> =
            self.public.iter().map(|path| (path, self.exports(path))).collect();
        let names: BTreeSet<_> = exported.values().flatten().filter_map(name_of).collect();
        let mut auto_traits = auto_traits::of_public_types();
        let mut text = String::new();
        for (path, items) in exported {
            let header = [&["tcp_tunn".to_owned()], &path[..]].concat().join("::");
            let mut items: Vec<_> = items.into_iter().map(|item| (name_of(&item), item)).collect();
            items.sort_by(|(a, _), (b, _)| a.cmp(b));
            text.push_str(&format!("// {header}\n\n"));
            for (name, item) in items {
                let impls = self.impls(&name.clone().unwrap_or_default(), &names);
                let impls = impls.into_iter().filter(|item| !self.is_private(item, &names));
                if matches!(item, Item::Struct(_) | Item::Enum(_)) {
                    let full = [&path[..], name.as_slice()].concat().join("::");
                    text.push_str(&auto_traits_line(auto_traits.remove(&full), &full));
                }
                text.extend(std::iter::once(item).chain(impls).map(stripped).map(print));
                text.push('\n');
            }
        }
        assert!(auto_traits.is_empty(), "auto_traits.rs lists what is not public: {auto_traits:?}");
        text
    }

    /// Whether an implementation is of, or for, a type of the crate that users cannot name.
    fn is_private(&self, item: &Item, exported: &BTreeSet<String>) -> bool {
        let Item::Impl(item) = item else { return false };
        let types = |item: &&Item| matches!(item, Item::Struct(_) | Item::Enum(_));
        let local = self.modules.values().flatten().filter(types).filter_map(name_of);
        let private: BTreeSet<_> = local.filter(|name| !exported.contains(name)).collect();
        let mut named = Names(BTreeSet::new());
        named.visit_type(&item.self_ty);
        if let Some((path, _)) = &item.trait_ {
            named.visit_path(path);
        }
        !named.0.is_disjoint(&private)
    }

    /// What a user finds in a module, other modules aside.
    fn exports(&self, path: &ModulePath) -> Vec<Item> {
        let mut found = Vec::new();
        for item in &self.modules[path] {
            match item {
                Item::Use(item) if is_public(&item.vis) => {
                    self.follow(&item.tree, path.clone(), &mut found);
                }
                Item::Mod(_) | Item::Use(_) | Item::Impl(_) => {}
                item if visibility(item).is_some_and(is_public) => found.push(item.clone()),
                _ => {}
            }
        }
        found
    }

    /// The items that a `use` brings into the module `at`.
    fn follow(&self, tree: &UseTree, mut at: ModulePath, found: &mut Vec<Item>) {
        match tree {
            UseTree::Path(step) => {
                match step.ident.to_string().as_str() {
                    "crate" => at.clear(),
                    "self" => {}
                    "super" => drop(at.pop()),
                    name => at.push(name.to_owned()),
                }
                self.follow(&step.tree, at, found);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.follow(tree, at.clone(), found));
            }
            UseTree::Name(name) => {
                let wanted = Some(name.ident.to_string());
                let items = self.exports(&at).into_iter().filter(|item| name_of(item) == wanted);
                let before = found.len();
                found.extend(items);
                assert!(found.len() > before, "{wanted:?} is not found in {at:?}");
            }
            _ => panic!("a kind of 'pub use' in {at:?} that this test does not know"),
        }
    }

    /// What is implemented for, or by everybody by way of, the item `name`.
    fn impls(&self, name: &str, exported: &BTreeSet<String>) -> Vec<Item> {
        let mut impls = Vec::new();
        for item in self.modules.values().flatten() {
            let Item::Impl(item) = item else { continue };
            let target = type_name(&item.self_ty);
            let of = item.trait_.as_ref().and_then(|(path, _)| path.segments.last());
            let of = of.map(|segment| segment.ident.to_string());
            let for_others = of.as_deref() == Some(name) && !exported.contains(&target) && {
                let mut parameters = item.generics.type_params();
                target == "Box" || parameters.any(|parameter| parameter.ident == target)
            };
            if target == name || for_others {
                impls.push(Item::Impl(item.clone()));
            }
        }
        // An inherent one that has nothing public is none.
        impls.retain(|item| match item {
            Item::Impl(item) => item.trait_.is_some() || item.items.iter().any(is_public_item),
            _ => false,
        });
        impls
    }
}

/// The names in a type or path.
struct Names(BTreeSet<String>);

impl<'ast> Visit<'ast> for Names {
    fn visit_path_segment(&mut self, segment: &'ast syn::PathSegment) {
        self.0.insert(segment.ident.to_string());
        syn::visit::visit_path_segment(self, segment);
    }
}

fn auto_traits_line(lacking: Option<Vec<&str>>, path: &str) -> String {
    let lacking = lacking.unwrap_or_else(|| {
        panic!("{path} is public: add it to the table in tests/public_api/auto_traits.rs")
    });
    match &lacking[..] {
        [] => "// all auto traits\n".to_owned(),
        lacking => format!("// all auto traits but {}\n", lacking.join(", ")),
    }
}

fn print(item: Item) -> String {
    let mut file: syn::File = syn::parse_quote!();
    file.items.push(item);
    prettyplease::unparse(&file)
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_public_item(item: &ImplItem) -> bool {
    match item {
        ImplItem::Fn(item) => is_public(&item.vis),
        ImplItem::Const(item) => is_public(&item.vis),
        _ => false,
    }
}

/// Whether an item is of the feature that is not on by default. No version promises to keep it.
fn is_of_the_fleet(item: &Item) -> bool {
    let attributes = match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && quote::quote!(#attribute).to_string().contains("fleet")
    })
}

fn is_for_tests(item: &Item) -> bool {
    let Item::Mod(module) = item else { return false };
    let is_test = |attribute: &syn::Attribute| {
        let names = attribute.parse_args::<syn::Ident>();
        attribute.path().is_ident("cfg") && names.is_ok_and(|name| name == "test")
    };
    module.attrs.iter().any(is_test)
}

fn visibility(item: &Item) -> Option<&Visibility> {
    Some(match item {
        Item::Struct(item) => &item.vis,
        Item::Enum(item) => &item.vis,
        Item::Trait(item) => &item.vis,
        Item::Fn(item) => &item.vis,
        Item::Type(item) => &item.vis,
        Item::Const(item) => &item.vis,
        _ => return None,
    })
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Struct(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Const(item) => item.ident.to_string(),
        _ => return None,
    })
}

fn type_name(target: &syn::Type) -> String {
    match target {
        syn::Type::Path(path) => path.path.segments.last().unwrap().ident.to_string(),
        _ => String::new(),
    }
}

/// Only what a user of the item must know: no documentation, no bodies, nothing private.
fn stripped(mut item: Item) -> Item {
    match &mut item {
        Item::Struct(item) => {
            keep_api(&mut item.attrs);
            strip_fields(&mut item.fields, true);
        }
        Item::Enum(item) => {
            keep_api(&mut item.attrs);
            for variant in &mut item.variants {
                keep_api(&mut variant.attrs);
                strip_fields(&mut variant.fields, false);
            }
        }
        Item::Trait(item) => {
            keep_api(&mut item.attrs);
            for item in &mut item.items {
                if let TraitItem::Fn(item) = item {
                    keep_api(&mut item.attrs);
                    item.default = item.default.is_some().then(|| syn::parse_quote!({}));
                } else if let TraitItem::Type(item) = item {
                    keep_api(&mut item.attrs);
                }
            }
        }
        Item::Fn(item) => {
            keep_api(&mut item.attrs);
            *item.block = syn::parse_quote!({});
        }
        Item::Type(item) => keep_api(&mut item.attrs),
        Item::Const(item) => keep_api(&mut item.attrs),
        Item::Impl(item) => strip_impl(item),
        _ => {}
    }
    item
}

fn strip_impl(item: &mut syn::ItemImpl) {
    keep_api(&mut item.attrs);
    let of_trait = item.trait_.is_some();
    item.items.retain(|item| match item {
        ImplItem::Type(_) => true,
        item => !of_trait && is_public_item(item),
    });
    for item in &mut item.items {
        match item {
            ImplItem::Fn(item) => {
                keep_api(&mut item.attrs);
                item.block = syn::parse_quote!({});
            }
            ImplItem::Const(item) => keep_api(&mut item.attrs),
            _ => {}
        }
    }
}

fn keep_api(attributes: &mut Vec<syn::Attribute>) {
    let api = ["derive", "must_use", "non_exhaustive"];
    attributes.retain(|attribute| api.iter().any(|name| attribute.path().is_ident(name)));
}

/// Private fields become one, `_private`, because whether there are some is part of the API.
fn strip_fields(fields: &mut Fields, check_visibility: bool) {
    fields.iter_mut().for_each(|field| keep_api(&mut field.attrs));
    if !check_visibility {
        return;
    }
    match fields {
        Fields::Named(fields) => {
            let all = std::mem::take(&mut fields.named);
            let count = all.len();
            fields.named = all.into_iter().filter(|field| is_public(&field.vis)).collect();
            if fields.named.len() < count {
                fields.named.push(syn::parse_quote!(_private: _));
            }
        }
        Fields::Unnamed(fields) => {
            for field in fields.unnamed.iter_mut().filter(|field| !is_public(&field.vis)) {
                field.ty = syn::parse_quote!(_);
            }
        }
        Fields::Unit => {}
    }
}
