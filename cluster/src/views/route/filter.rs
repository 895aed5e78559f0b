//! The filters of a rule or a backendRef, as far as they decide whether traffic reaches the backends.

use std::net::IpAddr;

use serde::Deserialize;

use super::BackendRef;

/// A filter of an HTTPRoute or a GRPCRoute.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    /// A request or response header modifier; whether Envoy Gateway accepts all of its headers
    HeaderModifier { valid: bool },
    /// `URLRewrite`
    UrlRewrite(UrlRewrite),
    /// `RequestRedirect`: the backends get nothing
    RequestRedirect,
    /// `RequestMirror`, with the backend that gets the copies
    RequestMirror(Box<BackendRef>),
    /// `CORS`
    Cors,
    /// `ExtensionRef`
    ExtensionRef { group: String, kind: String, name: String },
    /// A filter of a known type without its configuration, which changes nothing
    Empty,
    /// A type that Envoy Gateway does not know, or an `ExtensionRef` that refers to nothing
    Invalid,
}

/// Fields that a `URLRewrite` sets, to detect conflicts between several of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UrlRewrite {
    pub(crate) valid: bool,
    pub(crate) hostname: bool,
    pub(crate) path: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    r#type: String,
    request_header_modifier: Option<HeaderModifier>,
    response_header_modifier: Option<HeaderModifier>,
    #[serde(rename = "urlRewrite")]
    url_rewrite: Option<RawUrlRewrite>,
    request_redirect: Option<serde_json::Value>,
    request_mirror: Option<RequestMirror>,
    extension_ref: Option<ExtensionRef>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct HeaderModifier {
    add: Vec<Header>,
    set: Vec<Header>,
    remove: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Header {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawUrlRewrite {
    hostname: Option<String>,
    path: Option<PathModifier>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PathModifier {
    r#type: String,
    replace_full_path: Option<String>,
    replace_prefix_match: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RequestMirror {
    backend_ref: BackendRef,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ExtensionRef {
    group: String,
    kind: String,
    name: String,
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        let modifier = |modifier: Option<HeaderModifier>| {
            modifier.map_or(Self::Empty, |modifier| Self::HeaderModifier { valid: modifier.is_valid() })
        };
        Ok(match raw.r#type.as_str() {
            "RequestHeaderModifier" => modifier(raw.request_header_modifier),
            "ResponseHeaderModifier" => modifier(raw.response_header_modifier),
            "URLRewrite" => raw.url_rewrite.map_or(Self::Empty, |rewrite| Self::UrlRewrite(rewrite.reduced())),
            "RequestRedirect" => raw.request_redirect.map_or(Self::Empty, |_| Self::RequestRedirect),
            "RequestMirror" => {
                raw.request_mirror.map_or(Self::Empty, |mirror| Self::RequestMirror(Box::new(mirror.backend_ref)))
            }
            "CORS" => Self::Cors,
            "ExtensionRef" => raw
                .extension_ref
                .map_or(Self::Invalid, |ExtensionRef { group, kind, name }| Self::ExtensionRef { group, kind, name }),
            _ => Self::Invalid,
        })
    }
}

impl HeaderModifier {
    /// `processRequestHeaderModifierFilter` in Envoy Gateway's `internal/gatewayapi/filters.go`.
    fn is_valid(&self) -> bool {
        let mut written = self.add.iter().chain(&self.set);
        written.all(|header| is_modifiable(&header.name) && is_header_value(&header.value))
            && self.remove.iter().all(|name| is_modifiable(name))
    }
}

fn is_modifiable(header: &str) -> bool {
    !header.is_empty() && !header.contains(['/', ':']) && !header.eq_ignore_ascii_case("host")
}

/// `^[!-~]+([\t ]?[!-~]+)*$`: visible characters, with single blanks between them.
fn is_header_value(value: &str) -> bool {
    !value.is_empty()
        && value.split([' ', '\t']).all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic()))
}

impl RawUrlRewrite {
    /// `processURLRewriteFilter` in Envoy Gateway's `internal/gatewayapi/filters.go`.
    fn reduced(&self) -> UrlRewrite {
        let path_valid = self.path.as_ref().is_none_or(|path| {
            let given = (path.replace_full_path.is_some(), path.replace_prefix_match.is_some());
            match path.r#type.as_str() {
                "ReplaceFullPath" => given == (true, false),
                "ReplacePrefixMatch" => given == (false, true),
                _ => false,
            }
        });
        let valid = path_valid && self.hostname.as_deref().is_none_or(is_hostname);
        UrlRewrite { valid, hostname: self.hostname.is_some(), path: self.path.is_some() }
    }
}

/// Whether it is a host name as the Gateway API requires it: a subdomain that is no IP address, of labels up to 63 characters.
fn is_hostname(name: &str) -> bool {
    is_dns_subdomain(name) && name.parse::<IpAddr>().is_err() && name.split('.').all(|label| label.len() <= 63)
}

/// `IsDNS1123Subdomain` of Kubernetes.
pub(crate) fn is_dns_subdomain(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(legal) && !label.starts_with('-') && !label.ends_with('-');
    name.len() <= 253 && name.split('.').all(label)
}

/// A regular expression in RE2's syntax, which Envoy and Envoy Gateway use.
pub(crate) struct RegexPattern<'a>(pub(crate) &'a str);

impl RegexPattern<'_> {
    /// Constructs that RE2 reads and the crate `regex`, without its Unicode tables, does not.
    const ONLY_RE2: [&'static str; 5] = ["\\Q", "\\C", "\\p", "\\P", "{"];

    /// Whether Envoy Gateway can compile it. When in doubt, yes: a rule that is wrongly dropped would hide traffic, one that is
    /// wrongly kept only names a cluster that does not exist.
    pub(crate) fn compiles(&self) -> bool {
        const SIZE_LIMIT: usize = 1 << 20;
        let compiled = regex::bytes::RegexBuilder::new(self.0).unicode(false).size_limit(SIZE_LIMIT).build();
        match compiled {
            Ok(_) | Err(regex::Error::CompiledTooBig(_)) => !repeats_a_repetition(self.0),
            Err(_) => Self::ONLY_RE2.iter().any(|construct| self.0.contains(construct)),
        }
    }
}

/// Whether it contains a repeated repetition such as `a**`, which the crate `regex` reads as `(a*)*` and RE2 refuses.
fn repeats_a_repetition(pattern: &str) -> bool {
    let (mut operators, mut in_class) = (0, false);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        operators = match c {
            // A question mark behind a repetition only makes it lazy.
            '?' if operators == 1 => 2,
            '*' | '+' | '?' if !in_class && operators > 0 => return true,
            '*' | '+' | '?' if !in_class => 1,
            _ => 0,
        };
        match c {
            '\\' => drop(chars.next()),
            '[' => in_class = true,
            ']' => in_class = false,
            '(' => drop(chars.next_if_eq(&'?')),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filter(value: serde_json::Value) -> Filter {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_header_that_envoy_gateway_refuses_spoils_the_filter() {
        for (name, value, expected) in [
            ("x-a", "b c", true),
            ("x-a", "", false),
            ("x-a", " b", false),
            ("x-a", "b  c", false),
            ("x-a", "ü", false),
            ("Host", "b", false),
            (":path", "b", false),
            ("", "b", false),
        ] {
            let read = filter(json!({
                "type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": name, "value": value}]}
            }));
            assert!(matches!(read, Filter::HeaderModifier { valid } if valid == expected), "{name}: {value}");
        }
    }

    #[test]
    fn a_rewrite_must_say_what_its_type_needs() {
        for (path, expected) in [
            (json!({"type": "ReplaceFullPath", "replaceFullPath": "/"}), true),
            (json!({"type": "ReplaceFullPath", "replacePrefixMatch": "/"}), false),
            (json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}), true),
            (json!({"type": "Other"}), false),
        ] {
            let read = filter(json!({"type": "URLRewrite", "urlRewrite": {"path": path}}));
            assert!(matches!(read, Filter::UrlRewrite(rewrite) if rewrite.valid == expected), "{path}");
        }
    }

    #[test]
    fn an_unknown_type_is_an_invalid_filter_and_no_error() {
        assert!(matches!(filter(json!({"type": "Teleport"})), Filter::Invalid));
        assert!(matches!(filter(json!({"type": "ExtensionRef"})), Filter::Invalid));
        assert!(matches!(filter(json!({"type": "RequestMirror"})), Filter::Empty));
    }

    #[test]
    fn constructs_that_only_re2_knows_are_taken_for_good() {
        for pattern in
            [r"\Qa+b\E", r"\pL+", "a{", "[a-z]+", "(?P<x>a)", "^/v[0-9]/.*$", "a*?b+?", r"\*+[*+]+", "(?:a?)+"]
        {
            assert!(RegexPattern(pattern).compiles(), "{pattern}");
        }
        for pattern in ["*", "(", "[", r"\1", "(?=a)", "a**", "a*+?", "[a-z]+??+"] {
            assert!(!RegexPattern(pattern).compiles(), "{pattern}");
        }
    }
}
