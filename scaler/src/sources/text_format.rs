//! Single series of Prometheus' text format 0.0.4, as AI gateways and model servers write them.
//!
//! The crate prometheus-parse knows neither names with colons (`vllm:…`) nor commas and escapes in the values of labels.

use std::borrow::Cow;

/// One line: `name{label="value",…} 5`, with or without a timestamp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// Between the braces
    labels: &'a str,
    pub(super) value: f64,
}

impl<'a> Line<'a> {
    /// `None` for comments, empty lines and what is no series.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).filter(|end| *end > 0)?;
        let (name, rest) = line.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inside) => {
                let end = closing_brace(inside)?;
                (inside.get(..end)?, inside.get(end + 1..)?)
            }
            None => ("", rest),
        };
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Self { name, labels, value })
    }

    /// The value of a label; empty when it is not there, which Prometheus takes for the same.
    pub(super) fn label(&self, wanted: &str) -> Cow<'a, str> {
        let mut rest = self.labels;
        while let Some((name, after)) = rest.split_once("=\"") {
            let Some(end) = closing_quote(after) else { break };
            if name.trim_matches([',', ' ']) == wanted {
                return unescaped(&after[..end]);
            }
            rest = &after[end + 1..];
        }
        Cow::Borrowed("")
    }
}

/// The lines of an exposition that are series of one of these names.
pub(super) fn series(body: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = Line<'_>> {
    body.lines().filter_map(Line::parse).filter(move |line| wanted(line.name))
}

fn closing_brace(inside: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    inside.bytes().position(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'}' => return !quoted,
            _ => {}
        }
        false
    })
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some(other)) => plain.push(other),
            (c, _) => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_series_is_read_with_colons_commas_braces_and_escapes() {
        let line = r#"vllm:prompt_tokens_total{engine="0",model_name="a,b}\"c\\d\n",} 1.5e3 1700000000000"#;
        let line = Line::parse(line).unwrap();
        assert_eq!((line.name, line.value), ("vllm:prompt_tokens_total", 1500.0));
        assert_eq!((&*line.label("model_name"), &*line.label("engine"), &*line.label("x")), ("a,b}\"c\\d\n", "0", ""));
    }

    #[test]
    fn what_is_no_series_is_skipped() {
        for line in ["", "# HELP x y", "x", "x{", "x{a=\"b\"}", "{a=\"b\"} 1", "<html>", "x{a=\"b} 1", "x y"] {
            assert_eq!(Line::parse(line), None, "{line}");
        }
        assert_eq!(Line::parse("up 1").map(|line| line.value), Some(1.0));
        assert!(Line::parse("up NaN").unwrap().value.is_nan());
    }

    proptest! {
        #[test]
        fn labels_come_back_as_they_were_written(value in ".{0,40}", other in ".{0,10}") {
            let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let written = format!("m{{a=\"{}\",b=\"{}\"}} 1", escaped(&other), escaped(&value));
            let line = Line::parse(&written).unwrap();
            prop_assert_eq!(line.label("b"), value);
            prop_assert_eq!(line.label("a"), other);
        }

        #[test]
        fn no_line_panics(line in ".{0,80}", label in ".{0,5}") {
            if let Some(line) = Line::parse(&line) {
                line.label(&label);
            }
        }
    }
}
