//! Rust source as text: enough of its grammar to tell code from words.

/// The same text, line for line, with nothing left in comments and string literals.
pub(super) fn blank_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let blank = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string_len(rest),
            'r' if code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => 0,
            'r' => raw_string_len(rest),
            '\'' if rest.starts_with("'\\") => 2 + rest[3..].find('\'').map_or(1, |end| end + 2),
            '\'' => char_len(rest),
            _ => 0,
        };
        if blank == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.extend(rest[..blank].chars().filter(|c| *c == '\n'));
            code.push(' ');
            rest = &rest[blank..];
        }
    }
    code
}

/// The length of the character literal that `text` begins with, 0 if it is a lifetime.
fn char_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(2);
    chars.next().map_or(0, |(at, next)| if next == '\'' { at + 1 } else { 0 })
}

/// The length of the string literal that `text` begins with.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    text.len()
}

/// The length of the raw string literal that `text` begins with, 0 if it does not.
fn raw_string_len(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    let open = 1 + hashes + 1;
    if text.as_bytes().get(open - 1) != Some(&b'"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    text[open..].find(&close).map_or(text.len(), |end| open + end + close.len())
}

/// The code without the unit tests, which stand at the end of a file.
pub(super) fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod tests {").map_or(code, |end| &code[..end])
}

/// Each function that has a body: its name and its lines, from `fn` to the closing brace. To be
/// called with nothing left in comments and strings.
pub(super) fn functions(code: &str) -> Vec<(&str, usize)> {
    let starts = code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(in_name));
    let measured = starts.filter_map(|(at, _)| {
        let function = &code[at..];
        let lines = function[..body_end(function)?].lines().count();
        Some((name(&function["fn ".len()..])?, lines))
    });
    measured.collect()
}

/// The name that `code` begins with.
fn name(code: &str) -> Option<&str> {
    let end = code.find(|c| !in_name(c))?;
    (end > 0).then(|| &code[..end])
}

/// Where the body of the function ends that `code` begins with; none if it has no body.
fn body_end(code: &str) -> Option<usize> {
    let (mut round, mut curly) = (0, 0);
    for (at, next) in code.char_indices() {
        match next {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            ';' if round == 0 && curly == 0 => return None,
            '{' => curly += 1,
            '}' if curly == 1 => return Some(at + 1),
            '}' => curly -= 1,
            _ => {}
        }
    }
    None
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `code` names `path`, written out or as part of a group: `a::b` or `a::{b, c}`.
pub(super) fn mentions(code: &str, path: &str) -> bool {
    if has_word(code, path) {
        return true;
    }
    let Some((head, tail)) = path.rsplit_once("::") else { return false };
    let group = format!("{head}::{{");
    let after = |(at, _): (usize, &str)| &code[at + group.len()..];
    let inside = |rest: &str| rest[..rest.find(';').unwrap_or(rest.len())].to_owned();
    code.match_indices(&group).map(after).any(|rest| has_word(&inside(rest), tail))
}

/// Whether `word` stands in `code` and is not a part of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(in_name) && !code[at + word.len()..].starts_with(in_name)
    })
}

#[test]
fn only_code_is_left() {
    for (text, code) in [
        ("a // b\nc", "a  \nc"),
        ("a /* b\n */ c", "a \n  c"),
        (r#"a("b \" // c") d"#, "a( ) d"),
        (r##"a(r#"b " c"#) d"##, "a( ) d"),
        ("a(r\"b\\\") c", "a( ) c"),
        ("a('\"') b", "a( ) b"),
        ("a('{', 'é') b", "a( ,  ) b"),
        (r"a('\'') b", "a( ) b"),
        (r"a('\\') b", "a( ) b"),
        ("fn f<'a>(for_r: &'a str) {}", "fn f<'a>(for_r: &'a str) {}"),
    ] {
        assert_eq!(blank_comments_and_strings(text), code, "{text}");
    }
}

#[test]
fn functions_are_measured() {
    let code = "trait T { fn none(&self); }\nfn one() -> [u8; 4] { x }\n\
                pub const fn three<T>(f: fn(T), a: [T; 2])\n{\n    if a { b } }\nfn_x { }";
    assert_eq!(functions(code), [("one", 1), ("three", 3)]);
}

#[test]
fn names_are_found_whole() {
    assert!(mentions("use a::b;", "a::b"));
    assert!(mentions("use a::{c, b};", "a::b"));
    assert!(!mentions("use a::{c}; use b::d;", "a::b"));
    assert!(!mentions("use aa::b; use a::bb;", "a::b"));
}
