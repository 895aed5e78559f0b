//! Reads an object although some of its fields have the wrong type, as objects from files may: each such field is taken for what it
//! was meant to be, or for absent, and reported.

use std::{fmt, iter};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tidegate_core::problem::shortened;

/// Most fields of one object that are reported. An object with more is refused.
const MOST: usize = 50;
/// Deepest field that is looked for.
const DEEPEST: usize = 24;

/// A field of the wrong type, and what it was taken for. `Display` is the message, without the object's name.
#[derive(Debug, Clone, PartialEq)]
pub struct Misread {
    /// Path of the field: `spec.rules[0].backendRefs[1].port`
    pub field: String,
    /// Its value
    pub got: Value,
    /// The expected type, as serde names it: `u16`
    expected: String,
    /// The value that it was taken for, if one was obvious
    read_as: Option<Value>,
}

impl Misread {
    /// Whether the value was plain nevertheless, and is used.
    pub fn is_read(&self) -> bool {
        self.read_as.is_some()
    }

    /// Whether the field is one that only the API server writes.
    fn is_of_the_server(&self) -> bool {
        const OF_META: [&str; 6] =
            ["creationTimestamp", "deletionTimestamp", "generation", "uid", "ownerReferences", "managedFields"];
        let of_meta = |field: &str| OF_META.iter().any(|name| field.starts_with(name));
        self.field.starts_with("status") || self.field.strip_prefix("metadata.").is_some_and(of_meta)
    }
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, got, expected, read_as } = self;
        let (shown, wanted) = (shortened(&got.to_string()), in_words(expected));
        match read_as {
            Some(Value::String(_)) => {
                write!(f, "{field} is read as {shown} without quotes, but is a text: set it in quotes")
            }
            Some(meant) => {
                write!(f, "{field} is the text {shown}, but {wanted} is wanted: write {meant} without quotes")
            }
            None => {
                write!(f, "{field} is {shown}, but {wanted} is wanted: read as if it were not set")?;
                Placeholder::of(&got.to_string()).map_or(Ok(()), |placeholder| write!(f, ". It is {placeholder}"))
            }
        }
    }
}

/// A type as people call it.
fn in_words(expected: &str) -> &str {
    match expected {
        "u16" => "a number up to 65535",
        "u8" | "u32" | "u64" => "a number, 0 or more,",
        "i32" | "i64" | "f32" | "f64" => "a number",
        "a string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        other if other == "a map" || other.starts_with("struct ") => "an object",
        other => other,
    }
}

/// Text that another tool has to replace first. `Display` says which, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    Helm,
    Jinja,
    Flux,
}

impl Placeholder {
    /// The first kind of placeholder in a text.
    pub(crate) fn of(text: &str) -> Option<Self> {
        [("{%", Self::Jinja), ("{{", Self::Helm), ("${", Self::Flux)]
            .into_iter()
            .find_map(|(mark, kind)| text.contains(mark).then_some(kind))
    }

    /// The mark that it starts with.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Helm => "{{",
            Self::Jinja => "{%",
            Self::Flux => "${",
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Helm => "a Helm template: render it with `helm template` first",
            Self::Jinja => "a Jinja template: render it first",
            Self::Flux => {
                "a variable that Flux substitutes: do so first, with `flux build kustomization NAME --path DIR` or `envsubst`"
            }
        })
    }
}

/// Reads a view of an object, and the fields that had the wrong type. Those are changed in `object`. Fields that only the API server
/// writes are not reported.
pub(crate) fn read<T: DeserializeOwned>(object: &mut Value) -> Result<(T, Vec<Misread>), String> {
    let mut misread = Vec::<Misread>::new();
    for _ in 0..=MOST {
        match attempt(object) {
            Ok(view) => {
                misread.retain(|field| !field.is_of_the_server());
                return Ok((view, misread));
            }
            Err(fault) => {
                let repaired = repair::<T>(object, fault)?;
                if misread.iter().all(|known| known.field != repaired.field) {
                    misread.push(repaired);
                }
            }
        }
    }
    Err(format!("more than {MOST} fields have the wrong type"))
}

/// An error, and the field that it is about.
#[derive(PartialEq)]
struct Fault {
    /// Names of fields, and indexes in lists
    path: Vec<String>,
    reason: String,
}

fn attempt<T: DeserializeOwned>(object: &Value) -> Result<T, Fault> {
    use serde_path_to_error::Segment;
    serde_path_to_error::deserialize(object).map_err(|error| {
        let known = error.path().iter().map_while(|segment| match segment {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        Fault { path: known.collect(), reason: error.inner().to_string() }
    })
}

/// Makes the field readable.
fn repair<T: DeserializeOwned>(object: &mut Value, fault: Fault) -> Result<Misread, String> {
    let fault = narrowed::<T>(object, fault);
    let Some(got) = at(object, &fault.path).filter(|_| !fault.path.is_empty()).cloned() else {
        return Err(fault.reason);
    };
    let is_fixed = |object: &Value| attempt::<T>(object).err().is_none_or(|next| next.path != fault.path);
    let read_as = meant(&got).into_iter().find(|meant| is_fixed(&with(object, &fault.path, Some(meant))));
    *object = with(object, &fault.path, read_as.as_ref());
    let expected = fault.reason.rsplit_once("expected ").map_or(fault.reason.as_str(), |(_, expected)| expected);
    Ok(Misread { field: dotted(object, &fault.path), got, expected: expected.to_owned(), read_as })
}

/// Some views buffer a part of an object before they read it, and then blame all of it. To blame is the field without which the
/// error is another.
fn narrowed<T: DeserializeOwned>(object: &Value, fault: Fault) -> Fault {
    let mut path = fault.path.clone();
    for _ in 0..DEEPEST {
        let children: Vec<_> = match at(object, &path) {
            Some(Value::Object(fields)) => fields.keys().cloned().collect(),
            Some(Value::Array(items)) => (0..items.len()).map(|index| index.to_string()).collect(),
            _ => break,
        };
        let mut deeper = children.into_iter().map(|child| [&path[..], &[child]].concat());
        let Some(cause) = deeper.find(|path| is_cause::<T>(object, path, &fault)) else { break };
        path = cause;
    }
    Fault { path, ..fault }
}

/// Whether the error is gone, or another, without this field or with what it may have been meant to be.
fn is_cause<T: DeserializeOwned>(object: &Value, path: &[String], fault: &Fault) -> bool {
    let meant = at(object, path).map(meant).unwrap_or_default();
    let mut changed = iter::once(None).chain(meant.iter().map(Some)).map(|value| with(object, path, value));
    // A field that must be there is not the cause because its absence is an error of its own.
    let is_other = |next: &Fault| next != fault && !next.reason.starts_with("missing field");
    changed.any(|object| attempt::<T>(&object).err().as_ref().is_none_or(is_other))
}

/// The values that a scalar may have been meant to be.
fn meant(got: &Value) -> Vec<Value> {
    match got {
        Value::String(text) => {
            let number = text.trim().parse::<i64>().map(Value::from).ok();
            let flag = text.trim().parse::<bool>().ok().or_else(|| switch(text)).map(Value::from);
            iter::empty().chain(number).chain(flag).collect()
        }
        Value::Number(_) | Value::Bool(_) => vec![Value::String(got.to_string())],
        _ => Vec::new(),
    }
}

/// Words that YAML 1.1, as kubectl reads it, takes for true or false, and later versions for texts.
const SWITCHES: [(&str, bool); 6] =
    [("y", true), ("yes", true), ("on", true), ("n", false), ("no", false), ("off", false)];

/// The meaning of such a word, however it is capitalised.
fn switch(word: &str) -> Option<bool> {
    SWITCHES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, on)| *on)
}

fn at<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The object with another value at this path, or with none. An item of a list leaves an empty object, so that the others keep their
/// places; if it is one already, it is removed.
fn with(object: &Value, path: &[String], value: Option<&Value>) -> Value {
    let mut object = object.clone();
    let Some((last, parents)) = path.split_last() else { return object };
    let parent = parents.iter().try_fold(&mut object, |value, step| match value {
        Value::Object(fields) => fields.get_mut(step),
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    });
    match (parent, value) {
        (Some(Value::Object(fields)), Some(value)) => _ = fields.insert(last.clone(), value.clone()),
        (Some(Value::Object(fields)), None) => _ = fields.remove(last),
        (Some(Value::Array(items)), value) => replace_item(items, last, value),
        _ => {}
    }
    object
}

fn replace_item(items: &mut Vec<Value>, index: &str, value: Option<&Value>) {
    let empty = Value::Object(Map::new());
    let Some(index) = index.parse().ok().filter(|index| *index < items.len()) else { return };
    if value.is_none() && items.get(index) == Some(&empty) {
        items.remove(index);
    } else if let Some(item) = items.get_mut(index) {
        *item = value.cloned().unwrap_or(empty);
    }
}

/// `spec.rules[0].port`; keys with dots are set in quotes.
fn dotted(object: &Value, path: &[String]) -> String {
    let shown = path.iter().enumerate().map(|(depth, step)| {
        let in_list = path.get(..depth).and_then(|parent| at(object, parent)).is_some_and(Value::is_array);
        match step {
            index if in_list => format!("[{index}]"),
            key if key.contains('.') => format!("[\"{key}\"]"),
            key if depth == 0 => key.clone(),
            key => format!(".{key}"),
        }
    });
    shown.collect()
}

#[cfg(test)]
mod tests;
