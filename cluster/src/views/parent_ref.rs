//! References from routes and ListenerSets to what they attach to.

use serde::Deserialize;

/// A parent that a route attaches to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ParentRef {
    pub(crate) group: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) section_name: Option<String>,
    pub(crate) port: Option<u16>,
}

impl ParentRef {
    /// Whether both name the same, for a route of this namespace: a status may repeat the reference with its defaults.
    pub(super) fn is_same(&self, other: &Self, route_namespace: &str) -> bool {
        let namespace = |reference: &'_ Self| reference.namespace.clone().unwrap_or_else(|| route_namespace.to_owned());
        let kind = |reference: &'_ Self| reference.kind.clone().unwrap_or_else(|| "Gateway".to_owned());
        (&self.name, &self.section_name, self.port) == (&other.name, &other.section_name, other.port)
            && kind(self) == kind(other)
            && namespace(self) == namespace(other)
    }
}
