//! A source file as its syntax tree: its functions, its lines of code, and the names in it.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::Visit;
use syn::{Attribute, File, Item, UseTree};

/// A path in code, such as `std::fs`, as its words. A macro's ends with `!`.
pub(super) type Words = Vec<String>;

/// The syntax tree of a file.
pub(super) fn parse(text: &str) -> File {
    syn::parse_file(text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
}

/// Whether an item with these attributes is built for tests only.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let name = attribute.parse_args::<syn::Ident>();
        attribute.path().is_ident("cfg") && name.is_ok_and(|name| name == "test")
    })
}

/// The file without the modules and functions that are built for tests only.
pub(super) fn without_tests(file: &File) -> File {
    let mut file = file.clone();
    file.items.retain(|item| match item {
        Item::Mod(item) => !is_for_tests(&item.attrs),
        Item::Fn(item) => !is_for_tests(&item.attrs),
        Item::Use(item) => !is_for_tests(&item.attrs),
        _ => true,
    });
    file
}

/// The paths that a `use` names, its groups written out.
pub(super) fn paths_of(tree: &UseTree) -> Vec<Words> {
    let below = |name: String, tree: &UseTree| {
        let paths = paths_of(tree).into_iter();
        paths.map(|path| [&[name.clone()][..], &path].concat()).collect()
    };
    match tree {
        UseTree::Path(step) => below(step.ident.to_string(), &step.tree),
        UseTree::Name(name) => vec![vec![name.ident.to_string()]],
        UseTree::Rename(name) => vec![vec![name.ident.to_string()]],
        UseTree::Glob(_) => vec![vec!["*".to_owned()]],
        UseTree::Group(group) => group.items.iter().flat_map(paths_of).collect(),
    }
}

/// All paths in a file, those within macros too. Keywords count as paths of one word.
pub(super) fn paths(file: &File) -> Vec<Words> {
    let mut uses = Uses(Vec::new());
    uses.visit_file(file);
    let mut found = uses.0;
    read_paths(file.to_token_stream(), &mut found);
    found
}

struct Uses(Vec<Words>);

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.0.extend(paths_of(&item.tree));
    }
}

fn read_paths(tokens: TokenStream, found: &mut Vec<Words>) {
    let mut path = Words::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                if colons != 2 {
                    found.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                }
                path.push(word.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Punct(punct)
                if punct.as_char() == '!' && punct.spacing() == Spacing::Alone =>
            {
                path.iter_mut().last().into_iter().for_each(|word| word.push('!'));
                found.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
            }
            other => {
                found.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                colons = 0;
                if let TokenTree::Group(group) = other {
                    read_paths(group.stream(), found);
                }
            }
        }
    }
    found.extend((!path.is_empty()).then_some(path));
}

/// Whether a path holds the words of `wanted`, one after another.
pub(super) fn mentions(path: &[String], wanted: &str) -> bool {
    let wanted: Vec<_> = wanted.split("::").collect();
    path.windows(wanted.len()).any(|words| words.iter().eq(&wanted))
}

/// Whether something in the file has the attribute `name`.
pub(super) fn has_attribute(file: &File, name: &str) -> bool {
    struct Finder<'a>(&'a str, bool);
    impl<'ast> Visit<'ast> for Finder<'_> {
        fn visit_attribute(&mut self, attribute: &'ast Attribute) {
            self.1 |= attribute.path().is_ident(self.0);
        }
    }
    let mut finder = Finder(name, false);
    finder.visit_file(file);
    finder.1
}

/// Each function that has a body: its name and its lines, from `fn` to the closing brace.
pub(super) fn functions(file: &File) -> Vec<(String, usize)> {
    let mut functions = Functions(Vec::new());
    functions.visit_file(file);
    functions.0
}

struct Functions(Vec<(String, usize)>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let lines = lines_between(signature.fn_token.span, body.brace_token.span.close());
        self.0.push((signature.ident.to_string(), lines));
    }

    /// Those in a macro, whose grammar is its own.
    fn read(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        let mut open: Option<(Span, String)> = None;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) if word == "fn" => {
                    if let Some(TokenTree::Ident(name)) = tokens.peek() {
                        open = Some((word.span(), name.to_string()));
                    }
                }
                TokenTree::Group(group) => {
                    if group.delimiter() == Delimiter::Brace
                        && let Some((start, name)) = open.take()
                    {
                        self.0.push((name, lines_between(start, group.span_close())));
                    }
                    self.read(group.stream());
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.sig, body);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.read(item.tokens.clone());
    }
}

fn lines_between(start: Span, end: Span) -> usize {
    end.end().line - start.start().line + 1
}

/// How many lines hold code: neither blank ones nor comments.
pub(super) fn lines_of_code(file: &File) -> usize {
    let mut lines = BTreeSet::new();
    read_lines(file.to_token_stream(), &mut lines);
    lines.len()
}

fn read_lines(tokens: TokenStream, lines: &mut BTreeSet<usize>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut rest = &tokens[..];
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        let documentation = documentation_len(token, after);
        if documentation > 0 {
            rest = &after[documentation..];
            continue;
        }
        match token {
            TokenTree::Group(group) => {
                lines.extend([group.span_open().start().line, group.span_close().end().line]);
                read_lines(group.stream(), lines);
            }
            token => lines.extend(token.span().start().line..=token.span().end().line),
        }
    }
}

/// How many tokens after `token` belong to a comment of documentation that begins there.
fn documentation_len(token: &TokenTree, after: &[TokenTree]) -> usize {
    let is = |token: &TokenTree, wanted: char| match token {
        TokenTree::Punct(punct) => punct.as_char() == wanted,
        _ => false,
    };
    let inner = usize::from(after.first().is_some_and(|next| is(next, '!')));
    let Some(TokenTree::Group(group)) = after.get(inner) else { return 0 };
    let first = group.stream().into_iter().next();
    let is_doc = matches!(first, Some(TokenTree::Ident(word)) if word == "doc");
    if is(token, '#') && is_doc { inner + 1 } else { 0 }
}

#[test]
fn paths_in_code_are_found_whole() {
    for (text, wanted) in [
        ("use a::b;", "a::b"),
        ("use a::{c, b};", "a::b"),
        ("use a::{c, d::{e, b}};", "a::d::b"),
        ("fn f() { a::b(c) }", "a::b"),
        ("fn f() { select! { x = a::b(c) => {} } }", "a::b"),
        ("#[derive(a::b)] struct S;", "a::b"),
        ("fn f() { unsafe { a::b(c) } }", "unsafe"),
        ("fn f() { todo!() }", "todo!"),
    ] {
        let paths = paths(&parse(text));
        assert!(paths.iter().any(|path| mentions(path, wanted)), "{text}: {paths:?}");
    }
    for text in [
        "use a::{c}; use b::d;",
        "use aa::b; use a::bb;",
        "// a::b",
        "/// a::b\nconst T: &str = \"a::b\";",
        "fn f() { a; b }",
        "fn f(a: b) {}",
    ] {
        let paths = paths(&parse(text));
        assert!(!paths.iter().any(|path| mentions(path, "a::b")), "{text}: {paths:?}");
    }
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let text = "trait T { fn none(&self); }\nfn one() -> [u8; 4] { x }\n\
                pub const fn three<T>(f: fn(T), a: [T; 2])\n{\n    if a { b } }\n\
                tests! {\n    fn two(a in 0..3) {\n    }\n}";
    let expected = [("one", 1), ("three", 3), ("two", 2)];
    assert_eq!(functions(&parse(text)), expected.map(|(name, lines)| (name.to_owned(), lines)));
}

#[test]
fn lines_of_code_leave_out_comments_and_blank_lines() {
    let text = "//! a\n\n/// b\nfn f() {\n    // c\n\n    g(\"d\n    e\");\n}\n";
    assert_eq!(lines_of_code(&parse(text)), 4);
}
