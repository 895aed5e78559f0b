//! Which protocol a client speaks, by its first bytes.

/// The start of every HTTP/2 connection (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longest method that is recognised; the longest registered one has 16 letters.
const LONGEST_METHOD: usize = 20;
/// Bytes after which the protocol is known.
pub(crate) const ENOUGH: usize = PREFACE.len();

/// The protocol of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/2 without TLS, by prior knowledge
    Http2,
    /// TLS, or anything else that is not HTTP
    Bytes,
}

/// The protocol that these first bytes begin, or `None` while more are needed.
pub(crate) fn sniff(first: &[u8]) -> Option<Protocol> {
    if first.starts_with(PREFACE) {
        return Some(Protocol::Http2);
    }
    if PREFACE.starts_with(first) {
        return None;
    }
    let method = first.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    match (method, first.get(method..)) {
        (1..=LONGEST_METHOD, Some([] | [b' '])) => None,
        // A target is a path, "*", or a URL; CONNECT has a host. So `SELECT 1` and `EHLO host` are not HTTP.
        (1..=LONGEST_METHOD, Some([b' ', b'/' | b'*' | b'h' | b'H', ..])) => Some(Protocol::Http1),
        (7, Some([b' ', ..])) if first.starts_with(b"CONNECT") => Some(Protocol::Http1),
        _ => Some(Protocol::Bytes),
    }
}

/// Whether these are the first bytes of a TLS handshake (RFC 8446, 5.1).
pub(crate) fn is_tls(first: &[u8]) -> bool {
    first.starts_with(&[0x16, 0x03])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_line_is_http_1_and_the_preface_is_http_2() {
        for first in
            ["GET / HTTP/1.1", "OPTIONS * HTTP/1.1", "POST http://a/b HTTP/1.1", "CONNECT a:80", "VERSION-CONTROL /a"]
        {
            assert_eq!(sniff(first.as_bytes()), Some(Protocol::Http1), "{first}");
        }
        assert_eq!(sniff(PREFACE), Some(Protocol::Http2));
    }

    #[test]
    fn tls_and_the_text_protocols_of_others_are_bytes() {
        for first in [
            &b"\x16\x03\x01\x02\0\x01"[..],
            b"SELECT 1",
            b"EHLO a",
            b"*1\r\n$4\r\nPING",
            b"get key",
            b"PING\r\n",
            b"\0",
        ] {
            assert_eq!(sniff(first), Some(Protocol::Bytes), "{first:?}");
        }
        assert!(is_tls(b"\x16\x03\x01"));
    }

    #[test]
    fn a_beginning_that_may_become_either_waits_for_more() {
        for first in ["", "P", "PRI * HTTP/2.0\r\n", "GE", "POST "] {
            assert_eq!(sniff(first.as_bytes()), None, "{first}");
        }
    }

    proptest! {
        #[test]
        fn enough_bytes_always_decide_and_more_change_nothing(bytes in prop::collection::vec(any::<u8>(), ENOUGH..64)) {
            let decided = sniff(&bytes[..ENOUGH]);
            prop_assert!(decided.is_some());
            prop_assert_eq!(sniff(&bytes), decided);
        }

        #[test]
        fn letters_and_spaces_decide_too(text in "[A-Z /-]{24,40}") {
            prop_assert!(sniff(&text.as_bytes()[..ENOUGH]).is_some());
        }
    }
}
