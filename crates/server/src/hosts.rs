//! Whom a request says it is for, and where it comes from. A web page can make its visitor's browser send requests here:
//! across sites, or to a name of its own that it lets point to this machine. A server without a key refuses both.

use crate::error::{ApiError, shortened};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, header};
use std::net::IpAddr;

/// Refuses a `Host` that is neither an address, nor `localhost`, nor one of `names`, and an `Origin` that is not the
/// `Host`. Who sends neither header is no browser.
pub(crate) fn check(headers: &HeaderMap, names: &[String]) -> Result<(), ApiError> {
    for host in headers.get_all(header::HOST) {
        if !authority(text(host)).is_some_and(|host| is_ours(&host, names)) {
            return Err(foreign_host(text(host)));
        }
    }
    let host = headers.get(header::HOST).map(text).unwrap_or_default();
    for origin in headers.get_all(header::ORIGIN) {
        let from = text(origin).split_once("://").map_or("", |(_, authority)| authority);
        if host.is_empty() || !from.eq_ignore_ascii_case(host) {
            return Err(foreign_origin(text(origin)));
        }
    }
    Ok(())
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

fn authority(host: &str) -> Option<Authority> {
    host.parse().ok()
}

fn is_ours(authority: &Authority, names: &[String]) -> bool {
    let host = authority.host();
    // A name may end in the dot of the root.
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_localhost = host.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"));
    address.parse::<IpAddr>().is_ok() || is_localhost || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

fn foreign_host(host: &str) -> ApiError {
    let message = format!(
        "Without an API key this server answers under an IP address, localhost or a name given with --host or \
         --allow-host, but not under '{}': a web page could have made that name up. With --api-key any name will do.",
        shortened(host)
    );
    ApiError::forbidden("foreign_host", message)
}

fn foreign_origin(origin: &str) -> ApiError {
    let message = format!(
        "Without an API key this server does not answer web pages of another origin, such as '{}'. Start it with --cors \
         to allow all of them.",
        shortened(origin)
    );
    ApiError::forbidden("foreign_origin", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(headers: &[(header::HeaderName, &str)]) -> Result<(), Option<&'static str>> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        check(&headers.collect(), &["roles.lan".into()]).map_err(|error| error.code)
    }

    #[test]
    fn addresses_localhost_and_the_configured_name_are_ours() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.168.1.7:8080",
            "localhost:8080",
            "LOCALHOST",
            "app.localhost",
            "localhost.:8080",
            "roles.lan:8080",
            "Roles.Lan",
        ] {
            assert_eq!(checked(&[(header::HOST, host)]), Ok(()), "{host}");
        }
        assert_eq!(checked(&[]), Ok(()), "no browser leaves Host out");
    }

    #[test]
    fn other_names_are_not() {
        for host in [
            "",
            "a",
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "xroles.lan",
            "::1",
            "a b",
        ] {
            assert_eq!(checked(&[(header::HOST, host)]), Err(Some("foreign_host")), "{host}");
        }
        let long = "x".repeat(5000);
        assert!(foreign_host(&long).message.len() < 500);
    }

    #[test]
    fn an_origin_must_be_the_host() {
        let from = |origin, host| checked(&[(header::ORIGIN, origin), (header::HOST, host)]);
        assert_eq!(from("http://localhost:8080", "localhost:8080"), Ok(()));
        assert_eq!(from("https://192.168.1.7", "192.168.1.7"), Ok(()));
        for origin in
            ["https://evil.example", "null", "http://localhost:3000", "http://localhost", "localhost:8080", ""]
        {
            assert_eq!(from(origin, "localhost:8080"), Err(Some("foreign_origin")), "{origin}");
        }
        assert_eq!(checked(&[(header::ORIGIN, "http://a")]), Err(Some("foreign_origin")));
    }
}
