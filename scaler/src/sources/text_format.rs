//! Prometheus' text format 0.0.4, as AI gateways and model servers write it.
//!
//! The crate prometheus-parse supports neither names with colons (`vllm:…`) nor commas and escapes in the values of labels.
//!
//! A page is accepted as a whole or not at all: one that is empty, cut off or something else (HTML, an error from a server in
//! between) would read as "nothing was counted".

use std::borrow::Cow;

use crate::text::shortened;

/// One line: `name{label="value",…} 5`, with or without a timestamp.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    /// Between the braces
    labels: &'a str,
    pub(super) value: f64,
    /// The whole line
    text: &'a str,
}

impl<'a> Line<'a> {
    /// Parses a line. `None` for comments, empty lines and anything else that is not a series.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let text = line.trim();
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).filter(|end| *end > 0)?;
        let (name, rest) = text.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inside) => {
                let end = closing_brace(inside)?;
                (inside.get(..end)?, inside.get(end + 1..)?)
            }
            None => ("", rest.strip_prefix([' ', '\t'])?),
        };
        if name.starts_with(|c: char| c.is_ascii_digit()) || !are_labels(labels) {
            return None;
        }
        let mut words = rest.split_ascii_whitespace();
        let value = words.next()?.parse().ok()?;
        let is_timestamp = |word: &str| word.parse::<f64>().is_ok();
        // In OpenMetrics, an exemplar may follow.
        let rest = words.next().filter(|word| !is_timestamp(word)).or_else(|| words.next());
        rest.is_none_or(|rest| rest.starts_with('#')).then_some(Self { name, labels, value, text })
    }

    /// The value of a label; empty when it is missing, which Prometheus treats as the same.
    pub(super) fn label(&self, wanted: &str) -> Cow<'a, str> {
        let mut rest = self.labels;
        while let Some((name, value, after)) = first_label(rest) {
            if name == wanted {
                return unescaped(value);
            }
            rest = after;
        }
        Cow::Borrowed("")
    }

    /// Name and labels, which stay the same from page to page.
    pub(super) fn series(&self) -> (&'a str, &'a str) {
        (self.name, self.labels)
    }

    /// The value of a counter, a size or a share: a number, and at least 0. An error names the line.
    pub(super) fn amount(&self) -> Result<f64, String> {
        if self.value.is_finite() && self.value >= 0.0 {
            return Ok(self.value);
        }
        Err(format!("its page says {} of what is a number of at least 0: {}", self.value, shortened(self.text)))
    }
}

/// The series with these names on a complete page. An error says why the page is not a complete exposition.
pub(super) fn series(page: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<Line<'_>>, String> {
    if page.trim().is_empty() {
        return Err("its page is empty".to_owned());
    }
    let mut found = Vec::new();
    for (number, text) in (1..).zip(page.lines()) {
        if text.trim().is_empty() || text.starts_with('#') {
            continue;
        }
        match Line::parse(text) {
            Some(line) if wanted(line.name) => found.push(line),
            Some(_) => {}
            None => return Err(format!("its page is no exposition of metrics: line {number} is {}", shortened(text))),
        }
    }
    if page.ends_with('\n') { Ok(found) } else { Err("its page is cut off: the last line has no end".to_owned()) }
}

/// Whether these are labels: `a="x",b="y"`, with or without a comma at the end.
fn are_labels(labels: &str) -> bool {
    let mut rest = labels;
    while !rest.trim_start().is_empty() {
        match first_label(rest) {
            Some((_, _, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// The first label, its value as it is written, and the labels after it.
fn first_label(labels: &str) -> Option<(&str, &str, &str)> {
    let (name, after) = labels.split_once('=')?;
    let name = name.trim();
    let value = after.trim_start().strip_prefix('"')?;
    let end = closing_quote(value)?;
    let rest = value[end + 1..].trim_start();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let after = if rest.is_empty() { Some(rest) } else { rest.strip_prefix(',') };
    Some((name, &value[..end], after.filter(|_| is_name)?))
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
    fn anything_else_is_no_series() {
        let lines =
            ["", "# HELP x y", "x", "x{", "x{a=\"b\"}", "{a=\"b\"} 1", "<html>", "x{a=\"b} 1", "x y", "x 1 y", "1 2"];
        for line in lines.into_iter().chain(["x{a} 1", "x{a=b} 1", "x{a=\"b\"c} 1", "x{=\"b\"} 1", "x 1 2 3"]) {
            assert_eq!(Line::parse(line), None, "{line}");
        }
        assert_eq!(Line::parse("up 1").map(|line| line.value), Some(1.0));
        assert!(Line::parse("up{} 1 # {trace_id=\"x\"} 0.5").is_some(), "with an exemplar");
        assert!(Line::parse("up NaN").unwrap().value.is_nan());
    }

    #[test]
    fn a_page_that_is_no_whole_exposition_is_an_error_that_says_why() {
        let why = |page: &str| series(page, |_| true).map(|lines| lines.len());
        assert_eq!(why("# TYPE up gauge\nup 1\r\n\nup{a=\"b\"} 2\n"), Ok(2));
        assert_eq!(why(""), Err("its page is empty".to_owned()));
        assert_eq!(why(" \n\n"), Err("its page is empty".to_owned()));
        assert_eq!(why("up 1\nup 1"), Err("its page is cut off: the last line has no end".to_owned()));
        let html = "<!doctype html>\n<p>502 Bad Gateway</p>\n";
        assert_eq!(why(html), Err("its page is no exposition of metrics: line 1 is <!doctype html>".to_owned()));
        assert_eq!(
            why("up 1\n{\"a\":1}\n"),
            Err("its page is no exposition of metrics: line 2 is {\"a\":1}".to_owned())
        );
    }

    #[test]
    fn an_amount_is_a_number_of_at_least_0() {
        let amount = |line| Line::parse(line).unwrap().amount();
        assert_eq!((amount("x 0"), amount("x 6.7108864e+07")), (Ok(0.0), Ok(67_108_864.0)));
        for line in ["x{a=\"b\"} NaN", "x -1", "x +Inf", "x -Inf"] {
            assert!(amount(line).unwrap_err().ends_with(line), "{line}");
        }
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

        #[test]
        fn no_page_panics(page in any::<Vec<u8>>()) {
            let _ = series(&String::from_utf8_lossy(&page), |_| true);
        }

        #[test]
        fn a_page_that_is_cut_inside_a_line_is_refused(
            labels in proptest::collection::vec("[a-z{}=, \\\\\"]{0,8}", 1..6),
            value in any::<f64>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let page: String = labels.iter().map(|label| format!("m{{a=\"{}\"}} {value}\n", escaped(label))).collect();
            prop_assert_eq!(series(&page, |_| true).map(|lines| lines.len()), Ok(labels.len()));
            let cut = &page[..cut.index(page.len())];
            prop_assert!(cut.ends_with('\n') || series(cut, |_| true).is_err());
        }
    }
}
