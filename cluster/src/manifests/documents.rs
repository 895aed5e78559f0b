//! The documents of a file: YAML or JSON, several of each.

use serde_json::Value;
use tidegate_core::yaml::{self, YamlError};

use crate::lenient::Placeholder;

/// One document, as text.
pub(super) struct Document<'a> {
    /// The line that it starts on, from 1
    pub(super) line: usize,
    pub(super) text: &'a str,
}

impl Document<'_> {
    /// The line of the file that shows this value of this field, or else the first that says something. A number or a boolean may stand
    /// there in another notation, such as `yes` or `0x50`: then the name shows the line.
    pub(super) fn line_of(&self, field: &str, value: &Value) -> usize {
        let is_text = value.is_string();
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let name = field.rsplit(['.', '[']).next().unwrap_or_default().trim_end_matches(']').trim_matches('"');
        let bare = |text: &str| text.replace([' ', '"', '\''], "");
        let pair = bare(&format!("{name}:{value}"));
        let shows = |line: &str| !name.is_empty() && bare(line).contains(&pair);
        let names = |line: &str| !is_text && !name.is_empty() && bare(line).contains(&format!("{name}:"));
        let lines = self.find(shows).or_else(|| self.find(names)).or_else(|| self.find(|line| line.contains(&value)));
        lines.unwrap_or(self.first_line())
    }

    /// The first line of the file that says something.
    pub(super) fn first_line(&self) -> usize {
        self.find(says_something).unwrap_or(self.line)
    }

    fn find(&self, shows: impl Fn(&str) -> bool) -> Option<usize> {
        self.text.lines().position(shows).map(|index| self.line + index)
    }
}

/// An error in a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The line in the file, from 1
    pub(super) line: usize,
    pub(super) reason: String,
}

/// Splits a stream at lines that start like YAML's document markers, as nothing else can. Documents that contain only comments are
/// left out. A byte order mark, as Windows writes it at the start of a file, may start any of them.
pub(super) fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut start = (0, 1);
    let mut offset = 0;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line) {
            documents.push(Document { line: start.1, text: text.get(start.0..offset).unwrap_or_default() });
            // Text after the marker on its line is content: `--- {kind: Service}`.
            let marked = line.trim_start_matches(BYTE_ORDER_MARK);
            let content = marked.trim_end().get(3..).unwrap_or_default().trim_start();
            let inline = marked.starts_with("---") && !content.is_empty() && !content.starts_with('#');
            let skipped = line.len() - marked.len() + 3;
            start = if inline { (offset + skipped, i + 1) } else { (offset + line.len(), i + 2) };
        }
        offset += line.len();
    }
    documents.push(Document { line: start.1, text: text.get(start.0..).unwrap_or_default() });
    for document in &mut documents {
        document.text = document.text.trim_start_matches(BYTE_ORDER_MARK);
    }
    documents.retain(|document| document.text.lines().any(says_something));
    documents
}

const BYTE_ORDER_MARK: char = '\u{feff}';

fn says_something(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with(['#', '%'])
}

fn is_marker(line: &str) -> bool {
    let line = line.trim_start_matches(BYTE_ORDER_MARK).trim_end();
    ["---", "..."]
        .iter()
        .any(|marker| line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])))
}

/// The values of one document: one if YAML, any number if JSON. Those before an error in JSON are kept.
pub(super) fn parse(document: &Document<'_>) -> (Vec<Value>, Option<SyntaxError>) {
    if document.text.trim_start().starts_with(['{', '[']) {
        let (values, error) = json(document);
        // YAML's flow style starts with the same characters.
        if error.is_none() || !values.is_empty() {
            return (values, error);
        }
    }
    match yaml::read(document.text) {
        Ok(Value::Null) => (Vec::new(), None),
        Ok(value) => (vec![value], None),
        Err(YamlError { line, reason, .. }) => (Vec::new(), Some(explained(document, line, reason))),
    }
}

/// JSON values that follow each other.
fn json(document: &Document<'_>) -> (Vec<Value>, Option<SyntaxError>) {
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_str(document.text).into_iter() {
        match value {
            Ok(value) => values.push(value),
            Err(error) => {
                let error = explained(document, error.line(), without_location(&error.to_string()));
                return (values, Some(error));
            }
        }
    }
    (values, None)
}

/// The error on the line of the file, or the placeholder that causes it.
fn explained(document: &Document<'_>, line: usize, reason: String) -> SyntaxError {
    match Placeholder::of(document.text) {
        Some(placeholder) => SyntaxError {
            line: document.find(|line| line.contains(placeholder.mark())).unwrap_or(document.line),
            reason: placeholder.to_string(),
        },
        None => SyntaxError { line: document.line + line.saturating_sub(1), reason },
    }
}

/// The message without its location: the parser counts lines within the document, and our error gives those of the file.
fn without_location(message: &str) -> String {
    message.split(" at line ").next().unwrap_or(message).to_owned()
}
