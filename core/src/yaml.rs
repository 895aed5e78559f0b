//! YAML as kubectl reads and writes it. All of Tidegate's YAML goes through here, so that a file means the same everywhere.
//!
//! kubectl's parser knows YAML 1.1: in a field that may hold anything, `yes`, `no`, `on` and `off` without quotes are booleans, and `0755`
//! is 493. A field that is a text takes them as they stand there. A key that occurs twice is an error, although kubectl takes the last.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;
use serde_saphyr::{
    DeserializeError, DoubleQuoted, MessageFormatter, NonFiniteFloatPolicy, Options, SerializeError, SingleQuoted,
    UserMessageFormatter, budget::BudgetBreach,
};

/// Deepest nesting of lists and objects: the schemas of CustomResourceDefinitions reach 38. The parser recurses, and at a hundred, a debug
/// build fills the stack of a thread.
const DEEPEST: usize = 64;
/// Most bytes of text that aliases may add, so that a few lines cannot fill the memory.
const REPEATED_BYTES: usize = 16 << 20;
/// Most keys, values, and starts and ends of lists and objects that aliases may add.
const REPEATED_PARTS: usize = 250_000;

/// A text that is not YAML, or not of the wanted shape. `Display` has the place, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// The problem, without its place
    pub reason: String,
    /// The line, from 1
    pub line: usize,
    /// The character of the line, from 1
    pub column: usize,
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, line, column } = self;
        write!(f, "{reason} at line {line} column {column}")
    }
}

impl std::error::Error for YamlError {}

impl From<DeserializeError> for YamlError {
    fn from(error: DeserializeError) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let (line, column) = error.location().map_or((1, 1), |place| (number(place.line()), number(place.column())));
        Self { reason: reason(&error), line, column }
    }
}

/// Reads a text of one document.
///
/// # Errors
/// When the text is not YAML, has several documents, or is not of the wanted shape.
pub fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, YamlError> {
    Ok(serde_saphyr::from_str_with_options(text, options(text))?)
}

/// Reads all documents of a text, without empty ones.
///
/// # Errors
/// When the text is not YAML, or one of its documents is not of the wanted shape.
pub fn read_all<'de, T: Deserialize<'de>>(text: &'de str) -> Result<Vec<T>, YamlError> {
    Ok(serde_saphyr::from_multiple_with_options(text, options(text))?)
}

/// Writes a document. Texts that a reader of YAML 1.1 or 1.2 could take for something else, such as `on` or `1e3`, are in quotes.
///
/// # Errors
/// When the value cannot be written; no JSON value is known for which this happens.
pub fn write(value: &Value) -> Result<String, SerializeError> {
    // A folded text is hard to compare with the one that it stands for.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(&Written(value), options)
}

fn options(text: &str) -> Options {
    serde_saphyr::options! {
        // Only aliases can make more of a text than is in it, so only what they add has a limit.
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            max_total_scalar_bytes: text.len().saturating_add(REPEATED_BYTES),
            max_recorded_anchor_events: REPEATED_PARTS,
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_documents: usize::MAX,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: REPEATED_PARTS },
        legacy_octal_numbers: true,
        // A hash such as 7e1234567 is too large for a number: it must not make the document unreadable.
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        // At most 32 comments could stand between a key and its value otherwise.
        emit_comments: false,
        with_snippet: false,
    }
}

fn reason(error: &DeserializeError) -> String {
    match error {
        DeserializeError::AliasError { error, .. } => reason(error),
        DeserializeError::Budget { breach: BudgetBreach::Depth { .. }, .. } => {
            format!("lists and objects are nested deeper than {DEEPEST}")
        }
        DeserializeError::Budget { .. } | DeserializeError::AliasReplayLimitExceeded { .. } => format!(
            "aliases add more than {REPEATED_PARTS} keys and values or {} MiB: write out what they repeat, or split the document",
            REPEATED_BYTES >> 20
        ),
        other => UserMessageFormatter.format_message(other).into_owned(),
    }
}

/// A value in which texts that hold JSON are written in single quotes: in double quotes, each quote would need a backslash.
struct Written<'a>(&'a Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(key, &Written(value))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Written)),
            Value::String(text) if is_json(text) => SingleQuoted(text).serialize(serializer),
            // kubectl's parser takes a tab at the start of a block for a wrong indentation.
            Value::String(text) if text.trim_start_matches('\n').starts_with('\t') => {
                DoubleQuoted(text).serialize(serializer)
            }
            other => other.serialize(serializer),
        }
    }
}

fn is_json(text: &str) -> bool {
    // JSON of serde_json has no line breaks, and escapes control characters. Others in single quotes would be an error.
    let needs_escapes =
        |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    text.starts_with(['{', '[']) && text.contains('"') && !text.contains(needs_escapes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn value(text: &str) -> Value {
        read(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn error(text: &str) -> String {
        read::<Value>(text).unwrap_err().to_string()
    }

    /// What kubectl (sigs.k8s.io/yaml 1.6.0) makes of a value without quotes.
    #[test]
    fn a_value_without_quotes_is_what_kubectl_takes_it_for() {
        for (text, wanted) in [
            ("[yes, Yes, on, y, true, TRUE]", json!([true, true, true, true, true, true])),
            ("[no, off, N, false]", json!([false, false, false, false])),
            ("[0755, -0755, 0o17, 0x1F, 0b11, 1_000, +1]", json!([493, -493, 15, 31, 3, 1000, 1])),
            ("[12:30, 2001-01-01, 1.2.3, 100m, 5%, =]", json!(["12:30", "2001-01-01", "1.2.3", "100m", "5%", "="])),
            ("[~, null, Null, ]", json!([null, null, null])),
            ("['yes', \"0755\", !!str on]", json!(["yes", "0755", "on"])),
            ("[1e3, 2.0, .5, 08]", json!([1e3, 2.0, 0.5, 8.0])),
            ("[7e1234567]", json!([".inf"])),
        ] {
            assert_eq!(value(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_field_that_is_a_text_takes_a_value_as_it_stands_there() {
        let texts: Vec<String> = read("[yes, 0755, 1.10, 12:30, 7e1234567]").unwrap();
        assert_eq!(texts, ["yes", "0755", "1.10", "12:30", "7e1234567"]);
    }

    #[test]
    fn merge_keys_add_the_fields_that_are_not_there_and_the_first_of_several_wins() {
        let text = "x: &x {a: 1, b: 2}\nz: &z {a: 3, c: 4}\none: {a: 5, <<: *x}\nboth: {<<: [*x, *z]}\n";
        assert_eq!(value(text)["one"], json!({"a": 5, "b": 2}));
        assert_eq!(value(text)["both"], json!({"a": 1, "b": 2, "c": 4}));
    }

    #[test]
    fn an_error_names_its_line_and_column() {
        assert_eq!(error("a: 1\nb: [\n"), "unclosed bracket '[' at line 2 column 4");
        assert_eq!(error("a: 1\na: 2"), "duplicate mapping key `a` is not allowed here at line 2 column 1");
        assert_eq!(error("a: *b"), "reference to unknown value at line 1 column 4");
        assert_eq!(read::<Vec<u8>>("- 1\n- x").unwrap_err().to_string(), "invalid u8 at line 2 column 3");
    }

    #[test]
    fn several_documents_are_read_without_the_empty_ones() {
        let text = "\u{feff}# a comment\n---\na: 1\n---\n# nothing\n---\n\n...\n---\nb: 2\n";
        assert_eq!(read_all::<Value>(text), Ok(vec![json!({"a": 1}), json!({"b": 2})]));
        assert!(error("a: 1\n---\nb: 2").starts_with("only single YAML document expected"));
    }

    #[test]
    fn a_few_lines_of_aliases_cannot_fill_the_memory() {
        let level = |n: u8| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(","));
        let laughs = "a0: &a0 x\n".to_owned() + &(1..12).map(level).collect::<String>();
        assert!(
            error(&laughs).starts_with("aliases add more than 250000 keys and values or 16 MiB: write out"),
            "{laughs}"
        );
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(10_000), "*a,".repeat(5_000));
        assert!(error(&long).starts_with("aliases add more than"));
        let used_often = format!("a: &a {{b: c}}\nd: [{}]", "*a,".repeat(5_000));
        assert_eq!(value(&used_often)["d"].as_array().map(Vec::len), Some(5_000));
    }

    #[test]
    fn a_text_that_is_nested_too_deep_is_refused_before_the_stack_is_full() {
        for (start, end) in [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")] {
            let nested = |depth: usize| start.repeat(depth) + &end.repeat(depth);
            assert!(read::<Value>(&nested(100_000)).is_err(), "{start}");
            assert_eq!(read::<Value>(&nested(60)).is_ok(), start != "? ", "{start}");
        }
        let blocks: String = (0..70).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert_eq!(error(&blocks), "lists and objects are nested deeper than 64 at line 65 column 65");
    }

    #[test]
    fn any_number_of_comments_may_stand_between_a_key_and_its_value() {
        let text = format!("a:\n{0}  b:\n{0}  - 1\n{0}  - 2\n", "  # no\n".repeat(500));
        assert_eq!(value(&text), json!({"a": {"b": [1, 2]}}));
    }

    #[test]
    fn a_text_that_could_be_taken_for_something_else_is_written_in_quotes() {
        for text in [
            "on",
            "Off",
            "yes",
            "n",
            "true",
            "null",
            "~",
            "",
            "1e3",
            "0x1F",
            "0755",
            "0o17",
            "1_000",
            "12:30",
            "2001-01-01",
            ".inf",
            "=",
            "<<",
            "-",
            "- a",
            "a: b",
            "a #b",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "{a",
            "[a",
            "'",
            "\"",
            " a ",
            "7e1234567",
        ] {
            let written = write(&json!({ "a": text })).unwrap();
            assert!(written.starts_with("a: \"") || written.starts_with("a: '"), "{written}");
            assert_eq!(value(&written), json!({ "a": text }));
        }
        let plain = "Mo-Fr 08:00-18:00; PH off";
        assert_eq!(write(&json!({ "a": plain })).unwrap(), format!("a: {plain}\n"));
    }

    #[test]
    fn json_in_a_text_stays_readable_a_long_text_stays_one_line_and_no_block_starts_with_a_tab() {
        let text = r#"{"a":"it's","b":[1]}"#;
        assert_eq!(write(&json!({ "a": text })).unwrap(), "a: '{\"a\":\"it''s\",\"b\":[1]}'\n");
        assert_eq!(write(&json!({ "a": "words ".repeat(30).trim_end() })).unwrap().lines().count(), 1);
        assert_eq!(write(&json!({"a": "\n\tx\n"})).unwrap(), "a: \"\\n\\tx\\n\"\n");
        assert_eq!(write(&json!({"a": "x\ny\n", "b": [{"c": []}]})).unwrap(), "a: |\n  x\n  y\nb:\n- c: []\n");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            "[ -~\n]{0,12}",
            "[{\\[][ -~\u{85}\u{2028}\u{feff}]{0,9}\"",
            "[0-9a-fnox_.:+-]{1,6}"
        ];
        let leaf = prop_oneof![
            text.prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let fields = proptest::collection::btree_map("[ -~]{0,8}", inner.clone(), 0..4);
            prop_oneof![
                proptest::collection::vec(inner, 0..4).prop_map(Value::from),
                fields.prop_map(|fields| Value::Object(fields.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn every_value_is_read_back_as_it_was_written(wanted in any_value()) {
            let written = write(&wanted).unwrap();
            prop_assert_eq!(read::<Value>(&written), Ok(wanted), "{}", written);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ -~\n\t&*<{}\\[\\]:,'\"|>-]{0,80}") {
            let _ = (read::<Value>(&text), read_all::<Value>(&text));
        }
    }
}
