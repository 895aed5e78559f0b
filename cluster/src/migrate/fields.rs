//! Reading objects as they stand in files.

use serde_json::Value;

/// An object with a kind and a name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    /// Without its version; empty for the core group
    pub(super) group: &'a str,
    pub(super) api_version: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
    value: &'a Value,
}

impl<'a> Object<'a> {
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        let text = |path: &str| value.pointer(path).and_then(Value::as_str).filter(|text| !text.is_empty());
        let api_version = text("/apiVersion")?;
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let (kind, name) = (text("/kind")?, text("/metadata/name")?);
        Some(Self { group, api_version, kind, namespace: text("/metadata/namespace"), name, value })
    }

    /// What stands at a path such as `/spec/triggers`; nulls are absent.
    pub(super) fn at(&self, path: &str) -> Option<&'a Value> {
        self.value.pointer(path).filter(|value| !value.is_null())
    }

    /// A whole number at a path, which may also be written as a string.
    pub(super) fn number(&self, path: &str) -> Option<i64> {
        scalar(self.at(path)?)?.parse().ok()
    }

    pub(super) fn text(&self, path: &str) -> Option<&'a str> {
        self.at(path)?.as_str()
    }

    pub(super) fn list(&self, path: &str) -> &'a [Value] {
        self.at(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&'a str> {
        self.value.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    /// Whether an object of this kind owns it.
    pub(super) fn is_owned_by(&self, kind: &str) -> bool {
        self.list("/metadata/ownerReferences").iter().any(|owner| text(owner, "kind") == Some(kind))
    }
}

/// A text field of a value.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// A string, number or boolean as text: people write all of them without quotes.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
