//! The status that controllers write on the objects that they read.

use serde::Deserialize;

use super::parent_ref::ParentRef;

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
    #[serde(alias = "ancestorRef")]
    parent_ref: ParentRef,
    controller_name: String,
    conditions: Vec<Condition>,
}

/// A condition, of which the text is kept only where it refuses something.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, from = "RawCondition")]
struct Condition {
    observed_generation: i64,
    refuses: Option<Box<Refused>>,
}

/// A condition by which a controller refuses an object, or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// `Accepted`, `ResolvedRefs` or `PartiallyInvalid`
    pub(crate) kind: String,
    /// `False`; `True` for `PartiallyInvalid`
    pub(crate) status: String,
    /// The reason, in one word
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// What a controller reports on the current generation of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reported<'a> {
    /// Nothing, or on an earlier generation only
    Nothing,
    /// It has accepted all of it
    Accepted,
    /// It refuses it, or a part of it
    Refused(Vec<&'a Refused>),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawCondition {
    r#type: String,
    status: String,
    reason: String,
    message: String,
    observed_generation: i64,
}

impl From<RawCondition> for Condition {
    fn from(raw: RawCondition) -> Self {
        let refuses = match raw.r#type.as_str() {
            "Accepted" | "ResolvedRefs" => raw.status == "False",
            "PartiallyInvalid" => raw.status == "True",
            _ => false,
        };
        let RawCondition { r#type: kind, status, reason, message, observed_generation } = raw;
        let refuses = refuses.then(|| Box::new(Refused { kind, status, reason, message }));
        Self { observed_generation, refuses }
    }
}

impl Status {
    /// Whether this controller has reported on the object, but only on generations before this one.
    pub(super) fn is_behind(&self, generation: i64, controller: &str) -> bool {
        let own = || self.parents.iter().filter(|parent| parent.controller_name == controller);
        let mut observed = own().flat_map(|parent| &parent.conditions).map(|condition| condition.observed_generation);
        own().next().is_some() && !observed.any(|observed| observed >= generation)
    }

    /// What these controllers report on this generation, by those parents that `of` selects.
    pub(super) fn reported(
        &self,
        generation: i64,
        controllers: &[&str],
        of: impl Fn(&ParentRef) -> bool,
    ) -> Reported<'_> {
        let is_own = |parent: &&Parent| controllers.contains(&&*parent.controller_name) && of(&parent.parent_ref);
        let own = self.parents.iter().filter(is_own);
        let conditions = own.flat_map(|parent| &parent.conditions);
        let mut current = conditions.filter(|condition| condition.observed_generation >= generation).peekable();
        if current.peek().is_none() {
            return Reported::Nothing;
        }
        let mut refused: Vec<&Refused> = Vec::new();
        for condition in current.filter_map(|condition| condition.refuses.as_deref()) {
            // Each parent repeats what is wrong with the rules.
            if !refused.contains(&condition) {
                refused.push(condition);
            }
        }
        if refused.is_empty() { Reported::Accepted } else { Reported::Refused(refused) }
    }

    /// Whether any controller refuses something of any generation.
    pub(super) fn refuses(&self) -> bool {
        self.parents.iter().flat_map(|parent| &parent.conditions).any(|condition| condition.refuses.is_some())
    }
}
