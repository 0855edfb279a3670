//! Who may look: whoever has the token, by a page of this very server.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::assets;
use super::query::Query;
use super::refusal::Refusal;
use super::shared::App;

/// What every answer says: scripts and styles are this server's own, nothing else is loaded, no
/// text becomes markup, and nobody else may embed or keep it.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Answers requests of those who may look, and no others.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let (path, query) = (request.uri().path(), Query::new(request.uri().query()));
    let refused = check(&app, path, &query, request.headers());
    let mut answer = match refused {
        Ok(()) => next.run(request).await,
        Err(what) => Refusal::new(StatusCode::FORBIDDEN, what).into_response(),
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn check(app: &App, path: &str, query: &Query, headers: &HeaderMap) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let host = text(header::HOST).unwrap_or_default();
    if !is_own(host, &app.host_names) {
        return Err("the Host header names another machine (open the URL that tcp_tunn printed)");
    }
    let origin = text(header::ORIGIN);
    if origin.is_some_and(|origin| origin.strip_prefix("http://") != Some(host)) {
        return Err("the request comes from another page (open the URL that tcp_tunn printed)");
    }
    // The program's own files are no secret, and modules are loaded without a query.
    if assets::is_public(path) {
        return Ok(());
    }
    let bearer = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    let given = bearer.or_else(|| query.get("token")).unwrap_or_default();
    if is_same(given.as_bytes(), app.token.as_bytes()) {
        return Ok(());
    }
    Err("the token is missing or wrong (open the URL that tcp_tunn printed)")
}

/// Whether a `Host` header names this server. A name of which nobody here knows may be one that a
/// hostile page has led to this address (DNS rebinding); an IP address is never led anywhere.
fn is_own(host: &str, names: &[String]) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    address.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_an_address_or_a_name_of_this_server() {
        let names = ["box.example".to_owned()];
        for host in
            ["127.0.0.1:8080", "[::1]:8080", "[::1]", "192.0.2.1", "LocalHost:1", "box.example:80"]
        {
            assert!(is_own(host, &names), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:80", "127.0.0.1.evil:80", ":80"] {
            assert!(!is_own(host, &names), "{host}");
        }
    }

    #[test]
    fn token_has_to_be_whole() {
        assert!(is_same(b"abc", b"abc"));
        assert!(!is_same(b"ab", b"abc") && !is_same(b"abd", b"abc") && !is_same(b"", b"abc"));
    }
}
