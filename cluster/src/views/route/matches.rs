//! The matches of a rule, reduced to whether Envoy Gateway can compile them.

use serde::Deserialize;
use serde_json::Value;

use super::filter::RegexPattern;

/// A rule's `matches`, reduced to the one property that is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matches {
    pub(super) all_compile: bool,
}

impl Default for Matches {
    fn default() -> Self {
        Self { all_compile: true }
    }
}

impl<'de> Deserialize<'de> for Matches {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let matches = Vec::<Value>::deserialize(deserializer)?;
        Ok(Self { all_compile: matches.iter().all(compiles) })
    }
}

fn compiles(rule_match: &Value) -> bool {
    let list = |key: &str| rule_match.get(key).and_then(Value::as_array).into_iter().flatten();
    let single = ["path", "method"].into_iter().filter_map(|key| rule_match.get(key));
    let conditions = single.chain(list("headers")).chain(list("queryParams"));
    conditions.filter(|condition| text(condition, "type") == Some("RegularExpression")).all(|condition| {
        let patterns = ["value", "service", "method"].into_iter().filter_map(|key| text(condition, key));
        patterns.map(RegexPattern).all(|pattern| pattern.compiles())
    })
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_regular_expression_that_does_not_compile_spoils_a_rule() {
        for (matches, expected) in [
            (json!([]), true),
            (json!([{"path": {"type": "PathPrefix", "value": "*("}}]), true),
            (json!([{"path": {"type": "RegularExpression", "value": "/a/[0-9]+"}}]), true),
            (json!([{"path": {"type": "RegularExpression", "value": "*.foo.bar.com"}}]), false),
            (json!([{"headers": [{"type": "RegularExpression", "name": "a", "value": "(?!x)"}]}]), false),
            (json!([{}, {"method": {"type": "RegularExpression", "service": "a.b", "method": "["}}]), false),
            (json!([{"method": "GET"}]), true),
        ] {
            let read: Matches = serde_json::from_value(matches.clone()).unwrap();
            assert_eq!(read.all_compile, expected, "{matches}");
        }
    }
}
