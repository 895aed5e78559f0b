//! The name of an object, as a manifest has it.

use std::fmt;

use serde_json::Value;

use crate::Kind;

/// The name of an object, as a manifest has it.
pub(super) struct Named {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) known: Option<Kind>,
    /// Empty where there is none
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Named {
    pub(super) fn of(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        Self {
            known: Kind::of(&api_version, &kind),
            api_version,
            kind,
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name, .. } = self;
        write!(f, "{kind} {namespace}{}{name}", if namespace.is_empty() { "" } else { "/" })
    }
}
