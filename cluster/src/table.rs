//! Objects of one kind, as their views.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    kind::Kind,
    lenient::{self, Misread},
    shape::shape,
};

/// An object that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not a Kubernetes object at all.
    #[error("not a Kubernetes object: {0}")]
    NotAnObject(&'static str),
    /// A configuration of Envoy Gateway that cannot be read. The last one that could is kept.
    #[error("the configuration of Envoy Gateway cannot be read: {0}")]
    EnvoyGateway(String),
    /// A field has the wrong type. The last known version of the object is kept.
    #[error("{kind} {}{name}: {reason}", Namespaced(namespace))]
    Malformed {
        /// The object's kind
        kind: Kind,
        /// Its namespace; empty for cluster-scoped objects
        namespace: String,
        /// Its name
        name: String,
        /// The field, its value and the expected type
        reason: String,
    },
}

struct Namespaced<'a>(&'a str);

impl std::fmt::Display for Namespaced<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}/", self.0) }
    }
}

/// Views by namespace (empty for cluster-scoped objects), then by name.
pub(crate) type Table<T> = BTreeMap<String, BTreeMap<String, T>>;

/// What to do with a field of the wrong type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The object is an error: the API server refuses such fields, so this is a version that is not known here
    Strict,
    /// The object is read without the field
    Lenient,
}

/// An object that was added or replaced.
#[derive(Debug)]
pub(crate) struct Inserted {
    /// Whether that changed anything
    pub(crate) changed: bool,
    /// The fields that had the wrong type
    pub(crate) misread: Vec<Misread>,
}

/// A table of any view.
pub(crate) trait AnyTable {
    /// Adds or replaces one object.
    fn insert_object(&mut self, kind: Kind, object: Value, reading: Reading) -> Result<Inserted, ObjectError>;

    /// Forgets one object. Returns whether it was there.
    fn remove_object(&mut self, namespace: &str, name: &str) -> bool;

    /// Forgets the objects that are not in a list of this namespace, or of all. Returns whether there were any.
    fn keep_listed(&mut self, namespace: Option<&str>, is_listed: &dyn Fn(&str, &str) -> bool) -> bool;

    /// The number of objects.
    fn count(&self) -> usize;
}

impl<T: DeserializeOwned + PartialEq> AnyTable for Table<T> {
    fn insert_object(&mut self, kind: Kind, mut object: Value, reading: Reading) -> Result<Inserted, ObjectError> {
        normalize(&mut object);
        let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
            return Err(ObjectError::NotAnObject("it has no metadata"));
        };
        let Some(name) = metadata.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
            return Err(ObjectError::NotAnObject("it has no metadata.name"));
        };
        let name = name.to_owned();
        let namespace = if kind.namespaced() {
            let given = metadata.get("namespace").and_then(Value::as_str);
            given.filter(|namespace| !namespace.is_empty()).unwrap_or("default").to_owned()
        } else {
            String::new()
        };
        metadata.insert("namespace".to_owned(), Value::String(namespace.clone()));
        if let Kind::Scaled(kind) = kind {
            object = shape(kind, &name, object);
            normalize(&mut object);
        }
        let read = match reading {
            Reading::Strict => serde_json::from_value(object).map(|view| (view, Vec::new())).map_err(|e| e.to_string()),
            Reading::Lenient => lenient::read(&mut object),
        };
        match read {
            Ok((view, misread)) => {
                let names = self.entry(namespace).or_default();
                let changed = names.get(&name) != Some(&view);
                names.insert(name, view);
                Ok(Inserted { changed, misread })
            }
            Err(reason) => Err(ObjectError::Malformed { kind, namespace, name, reason }),
        }
    }

    fn remove_object(&mut self, namespace: &str, name: &str) -> bool {
        let removed = self.get_mut(namespace).is_some_and(|names| names.remove(name).is_some());
        if self.get(namespace).is_some_and(BTreeMap::is_empty) {
            self.remove(namespace);
        }
        removed
    }

    fn keep_listed(&mut self, namespace: Option<&str>, is_listed: &dyn Fn(&str, &str) -> bool) -> bool {
        let before = self.count();
        self.retain(|within, names| {
            if namespace.is_none_or(|namespace| namespace == within) {
                names.retain(|name, _| is_listed(within, name));
            }
            !names.is_empty()
        });
        self.count() < before
    }

    fn count(&self) -> usize {
        self.values().map(BTreeMap::len).sum()
    }
}

/// Removes nulls, which in Kubernetes are absent fields, and writes whole numbers as such: `2.0` is 2 for the API server, too.
pub(crate) fn normalize(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(normalize);
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|_| number.is_f64()).and_then(whole) {
                *value = Value::from(whole);
            }
        }
        _ => {}
    }
}

fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}
