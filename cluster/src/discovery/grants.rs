//! ReferenceGrants: references across namespaces, permitted by the target's namespace.

use std::collections::HashMap;

use super::super::{Objects, views::ReferenceGrant};

/// All ReferenceGrants, by the namespace that grants.
pub(super) struct Grants<'a>(HashMap<&'a str, Vec<&'a ReferenceGrant>>);

/// Source of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct From<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
}

/// Target of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct To<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl<'a> Grants<'a> {
    pub(super) fn of(objects: &'a Objects) -> Self {
        let grants = objects.reference_grants.iter();
        Self(grants.map(|(namespace, names)| (namespace.as_str(), names.values().collect())).collect())
    }

    /// `isCrossNamespaceReferencePermitted`
    pub(super) fn permit(&self, from: From<'_>, to: To<'_>) -> bool {
        let granted = |grant: &&ReferenceGrant| {
            let mut froms = grant.spec.from.iter();
            let mut tos = grant.spec.to.iter();
            froms.any(|f| f.namespace == from.namespace && f.group == from.group && f.kind == from.kind)
                && tos.any(|t| {
                    let name = t.name.as_deref().unwrap_or_default();
                    t.group == to.group && t.kind == to.kind && (name.is_empty() || name == to.name)
                })
        };
        from.namespace == to.namespace || self.0.get(to.namespace).is_some_and(|grants| grants.iter().any(granted))
    }
}
