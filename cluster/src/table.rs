//! Objects of one kind, as their views.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{kind::Kind, shape::shape};

/// An object that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not a Kubernetes object at all.
    #[error("not a Kubernetes object: {0}")]
    NotAnObject(&'static str),
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

/// A table of any view.
pub(crate) trait AnyTable {
    /// Adds or replaces one object. Returns whether that changed anything.
    fn insert_object(&mut self, kind: Kind, object: Value) -> Result<bool, ObjectError>;

    /// Replaces all objects. An object that cannot be read is reported, and its last known version is kept, if there is one.
    fn replace_all(&mut self, kind: Kind, objects: Vec<Value>) -> Vec<ObjectError>;

    /// Forgets one object. Returns whether it was there.
    fn remove_object(&mut self, namespace: &str, name: &str) -> bool;

    /// The number of objects.
    fn count(&self) -> usize;
}

impl<T: DeserializeOwned + PartialEq> AnyTable for Table<T> {
    fn insert_object(&mut self, kind: Kind, mut object: Value) -> Result<bool, ObjectError> {
        strip_nulls(&mut object);
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
            strip_nulls(&mut object);
        }
        match serde_json::from_value(object) {
            Ok(view) => {
                let names = self.entry(namespace).or_default();
                let changed = names.get(&name) != Some(&view);
                names.insert(name, view);
                Ok(changed)
            }
            Err(error) => Err(ObjectError::Malformed { kind, namespace, name, reason: error.to_string() }),
        }
    }

    fn replace_all(&mut self, kind: Kind, objects: Vec<Value>) -> Vec<ObjectError> {
        let mut before = std::mem::take(self);
        let errors: Vec<_> = objects.into_iter().filter_map(|object| self.insert_object(kind, object).err()).collect();
        for error in &errors {
            if let ObjectError::Malformed { namespace, name, .. } = error
                && let Some(known) = before.get_mut(namespace).and_then(|names| names.remove(name))
            {
                self.entry(namespace.clone()).or_default().insert(name.clone(), known);
            }
        }
        errors
    }

    fn remove_object(&mut self, namespace: &str, name: &str) -> bool {
        let removed = self.get_mut(namespace).is_some_and(|names| names.remove(name).is_some());
        if self.get(namespace).is_some_and(BTreeMap::is_empty) {
            self.remove(namespace);
        }
        removed
    }

    fn count(&self) -> usize {
        self.values().map(BTreeMap::len).sum()
    }
}

/// Removes nulls: in Kubernetes a null is an absent field.
pub(crate) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}
