//! The status that controllers write on the objects that they read.

use serde::Deserialize;

/// The `status` of a route or a policy, by controller.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    /// Policies call them ancestors.
    #[serde(alias = "ancestors")]
    parents: Vec<Parent>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Parent {
    controller_name: String,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Condition {
    observed_generation: i64,
}

impl Status {
    /// Whether this controller has reported on the object, but only on generations before this one.
    pub(super) fn is_behind(&self, generation: i64, controller: &str) -> bool {
        let own = || self.parents.iter().filter(|parent| parent.controller_name == controller);
        let mut observed = own().flat_map(|parent| &parent.conditions).map(|condition| condition.observed_generation);
        own().next().is_some() && !observed.any(|observed| observed >= generation)
    }
}
