//! Headers that are about one connection, and are not passed on to the next (RFC 9110, 7.6.1).

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONNECTION, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// The upgrade to HTTP/2 in clear text, which RFC 9113 (3.1) withdrew. Java's client asks for it with every first request, and a
/// pod that took the offer would get the connection instead of the request.
const H2C: &str = "h2c";

/// Prepares a request's headers for the connection to a pod. Returns whether it asks for an upgrade.
///
/// `transfer-encoding` stays: it says that a GET has a body, which hyper would not send otherwise.
pub(crate) fn of_request(version: Version, headers: &mut HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).filter(|_| lists(headers, "upgrade")).cloned();
    let upgrade = upgrade.filter(|protocol| !protocol.as_bytes().eq_ignore_ascii_case(H2C.as_bytes()));
    let takes_trailers = headers.get_all(TE).iter().any(|te| has_token(te, "trailers"));
    remove_connection_headers(headers);
    // The client was told to continue when its body was first read, which is when a pod had been chosen.
    headers.remove(EXPECT);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // Only HTTP/1.0 allows a request without it (RFC 9112, 3.2).
    if version < Version::HTTP_2 && !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::from_static(""));
    }
    let upgrades = upgrade.is_some();
    keep_upgrade(headers, upgrade);
    upgrades
}

/// Prepares an answer's headers for the connection to the client.
pub(crate) fn of_answer(headers: &mut HeaderMap, is_upgrade: bool) {
    let upgrade = headers.get(UPGRADE).filter(|_| is_upgrade).cloned();
    remove_connection_headers(headers);
    headers.remove(TRANSFER_ENCODING);
    keep_upgrade(headers, upgrade);
}

fn keep_upgrade(headers: &mut HeaderMap, upgrade: Option<HeaderValue>) {
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

fn remove_connection_headers(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    // No client may have these removed, and with them the meaning of the request.
    let end_to_end = [HOST, TRAILER, TRANSFER_ENCODING, http::header::CONTENT_LENGTH, http::header::AUTHORIZATION];
    for name in listed.into_iter().filter(|name| !end_to_end.contains(name)) {
        headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, UPGRADE] {
        headers.remove(name);
    }
}

/// Whether `connection` lists this option.
fn lists(headers: &HeaderMap, option: &str) -> bool {
    headers.get_all(CONNECTION).iter().any(|value| has_token(value, option))
}

fn has_token(value: &HeaderValue, token: &str) -> bool {
    let tokens = value.to_str().unwrap_or_default().split(',');
    tokens
        .map(|found| found.split(';').next().unwrap_or_default().trim())
        .any(|found| found.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn headers_about_the_connection_stay_behind_and_all_others_are_passed_on() {
        let mut given = headers(&[
            ("host", "shop.example"),
            ("connection", "keep-alive, x-hop"),
            ("keep-alive", "timeout=5"),
            ("x-hop", "1"),
            ("te", "gzip, trailers;q=0.5"),
            ("authorization", "Bearer a"),
            ("transfer-encoding", "chunked"),
        ]);
        assert!(!of_request(Version::HTTP_11, &mut given));
        let wanted = [
            ("host", "shop.example"),
            ("authorization", "Bearer a"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
        ];
        assert_eq!(given, headers(&wanted));
    }

    #[test]
    fn an_upgrade_is_passed_on_unless_it_is_to_http_2() {
        let mut websocket = headers(&[("host", "a"), ("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert!(of_request(Version::HTTP_11, &mut websocket));
        assert_eq!(websocket, headers(&[("host", "a"), ("connection", "upgrade"), ("upgrade", "websocket")]));
        let java =
            [("host", "a"), ("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AA")];
        let mut java = headers(&java);
        assert!(!of_request(Version::HTTP_11, &mut java));
        assert_eq!(java, headers(&[("host", "a")]));
    }

    #[test]
    fn no_client_can_have_the_host_or_the_authorization_removed() {
        let mut given = headers(&[("host", "a"), ("connection", "host, authorization"), ("authorization", "b")]);
        of_request(Version::HTTP_11, &mut given);
        assert_eq!(given, headers(&[("host", "a"), ("authorization", "b")]));
    }
}
