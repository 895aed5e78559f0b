//! Prometheus' text format 0.0.4 in bytes: labels, values, and whether a line belongs to it at all.

use memchr::{memchr, memchr2};

/// The value of a label, and that of the series: `a="x",wanted="y"} 5`.
pub(super) fn labelled<'a>(mut labels: &'a [u8], wanted: &[u8]) -> Option<(Vec<u8>, &'a [u8])> {
    let mut found = None;
    while let Some(rest) = labels.strip_prefix(b"}").map_or(Some(labels), |_| None) {
        let equals = memchr(b'=', rest)?;
        let (name, value) = (&rest[..equals], rest[equals + 1..].strip_prefix(b"\"")?);
        let (value, rest) = unescaped(value)?;
        if name == wanted {
            found = Some(value);
        }
        labels = rest.strip_prefix(b",").unwrap_or(rest);
    }
    Some((found?, labels.strip_prefix(b"} ")?))
}

/// The value of a label up to its closing quote, with `\\`, `\"` and `\n` resolved, and the rest after the quote.
fn unescaped(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    loop {
        let end = memchr2(b'"', b'\\', rest)?;
        value.extend_from_slice(&rest[..end]);
        match &rest[end..] {
            [b'"', after @ ..] => return Some((value, after)),
            [b'\\', b'n', after @ ..] => {
                value.push(b'\n');
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                value.push(*escaped);
                rest = after;
            }
            _ => return None,
        }
    }
}

/// Parses a value, which a timestamp may follow. Counters and gauges of Envoy are whole numbers, and at least 0.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    let text = match memchr(b' ', text) {
        Some(end) => &text[..end],
        None => text,
    };
    if (1..=15).contains(&text.len()) && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0u64, |number, digit| number * 10 + u64::from(digit - b'0')) as f64);
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// The start of a line, for messages.
pub(super) fn excerpt(line: &[u8]) -> String {
    const LONGEST: usize = 60;
    String::from_utf8_lossy(&line[..line.len().min(LONGEST)]).into_owned()
}

/// Whether a line is a comment, empty, or `name value` with or without labels.
pub(super) fn is_exposition(line: &[u8]) -> bool {
    match line {
        [] | [b'#', ..] => true,
        [first, ..] if first.is_ascii_alphabetic() || matches!(first, b'_' | b':') => {
            let value = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
            value.len() < line.len() && std::str::from_utf8(value).is_ok_and(|value| value.parse::<f64>().is_ok())
        }
        _ => false,
    }
}
