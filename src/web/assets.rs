//! The page's own files, which are part of the program.

use axum::extract::Path;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The files beside the page itself, each with its type.
const FILES: [(&str, &str, &str); 9] = [
    ("style.css", CSS, include_str!("assets/style.css")),
    ("icon.svg", SVG, include_str!("assets/icon.svg")),
    ("main.js", JAVASCRIPT, include_str!("assets/main.js")),
    ("api.js", JAVASCRIPT, include_str!("assets/api.js")),
    ("table.js", JAVASCRIPT, include_str!("assets/table.js")),
    ("filter.js", JAVASCRIPT, include_str!("assets/filter.js")),
    ("conversation.js", JAVASCRIPT, include_str!("assets/conversation.js")),
    ("format.js", JAVASCRIPT, include_str!("assets/format.js")),
    ("copy.js", JAVASCRIPT, include_str!("assets/copy.js")),
];

/// Whether a path leads to one of these files, which hold nothing of the traffic.
pub(super) fn is_public(path: &str) -> bool {
    path.strip_prefix("/page/").is_some_and(|name| find(name).is_some())
}

/// `GET /`: the page.
pub(super) async fn page() -> Response {
    ([(CONTENT_TYPE, HTML)], include_str!("assets/index.html")).into_response()
}

/// `GET /page/{name}`: a file of the page.
pub(super) async fn file(Path(name): Path<String>) -> Result<Response, Refusal> {
    let (content_type, text) = find(&name).ok_or_else(|| Refusal::not_found("no such file"))?;
    Ok(([(CONTENT_TYPE, content_type)], text).into_response())
}

fn find(name: &str) -> Option<(&'static str, &'static str)> {
    let found = FILES.iter().find(|(known, ..)| *known == name);
    found.map(|(_, content_type, text)| (*content_type, *text))
}
