//! What comes out: annotations by object, and remarks on what they do not say.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};
use tidegate_core::{
    intent::{Annotations, Intent, check_namespace},
    key::{Key, PREFIX, Place},
    problem::Problem,
};

use super::{
    fields::Object,
    target::{Target, named},
};

/// A remark on one field of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The object, such as `ScaledObject shop/api`
    pub object: String,
    /// Where in it, such as `spec.fallback`; empty for all of it
    pub field: String,
    /// What about it, and what to do
    pub text: String,
    /// Whether it could not be turned, rather than turned with something to know or to do
    pub lost: bool,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { object, field, text, lost } = self;
        let lost = if *lost { "not turned: " } else { "" };
        let separator = if field.is_empty() { "" } else { ": " };
        write!(f, "{object}{separator}{field}: {lost}{text}")
    }
}

/// The remark on a rate that was averaged over another time.
pub(super) fn averaged(over: &str) -> String {
    format!("was averaged over {over}, and is over 30 s, or 6 s while it rises steeply: replicas follow sooner")
}

/// The remark on hours whose end another tool carries out at once.
pub(super) fn ends_later() -> String {
    "when they end, the replicas stay for 5 min more; tidegate.dev/scale-down-after: \"0s\" ends them at once"
        .to_owned()
}

/// What one object says.
#[derive(Debug)]
pub(super) struct Draft {
    source: String,
    target: Option<Target>,
    pub(super) annotations: BTreeMap<String, String>,
    remarks: Vec<Remark>,
}

impl Draft {
    pub(super) fn new(object: &Object<'_>, target: Option<Target>) -> Self {
        let mut source = String::new();
        // Writing to a String does not fail.
        _ = named(&mut source, object.kind, object.namespace, object.name);
        Self { source, target, annotations: BTreeMap::new(), remarks: Vec::new() }
    }

    /// Sets a key of Tidegate, given without its prefix.
    pub(super) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.annotations.insert(format!("{PREFIX}{key}"), value.into());
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.annotations.contains_key(&format!("{PREFIX}{key}"))
    }

    /// Remarks on what could not be turned.
    pub(super) fn lost(&mut self, field: impl Into<String>, text: impl Into<String>) {
        self.remark(field.into(), text.into(), true);
    }

    /// Remarks on what was turned, but is to be known.
    pub(super) fn note(&mut self, field: impl Into<String>, text: impl Into<String>) {
        self.remark(field.into(), text.into(), false);
    }

    fn remark(&mut self, field: String, text: String, lost: bool) {
        self.remarks.push(Remark { object: self.source.clone(), field, text, lost });
    }

    /// Writes nothing, and says why.
    pub(super) fn give_up(mut self, field: impl Into<String>, text: impl Into<String>) -> Self {
        self.annotations.clear();
        self.lost(field, text);
        self
    }
}

/// Annotations by object, and remarks on what they do not say.
#[derive(Debug, Default)]
pub struct Migration {
    annotations: BTreeMap<Target, (String, BTreeMap<String, String>)>,
    /// In the order of the objects
    pub remarks: Vec<Remark>,
}

impl Migration {
    /// The patches, to apply by server-side apply or by kustomize: names and annotations, by namespace, kind and name.
    pub fn patches(&self) -> Vec<Value> {
        let patch = |(target, (_, annotations)): (&Target, &(String, BTreeMap<String, String>))| {
            let Target { namespace, kind, name, api_version } = target;
            let mut metadata = json!({"name": name, "annotations": annotations});
            if let Some(namespace) = namespace {
                metadata["namespace"] = namespace.as_str().into();
            }
            json!({"apiVersion": api_version, "kind": kind, "metadata": metadata})
        };
        self.annotations.iter().map(patch).collect()
    }

    /// Number of fields that could not be turned.
    pub fn lost(&self) -> usize {
        self.remarks.iter().filter(|remark| remark.lost).count()
    }

    pub(super) fn add(&mut self, draft: Draft) {
        let Draft { source, target, annotations, remarks } = draft;
        self.remarks.extend(remarks);
        let Some(target) = target.filter(|_| !annotations.is_empty()) else { return };
        let name = target.to_string();
        let (first, known) = self.annotations.entry(target).or_insert_with(|| (source.clone(), BTreeMap::new()));
        for (key, value) in annotations {
            match known.get(&key) {
                Some(there) if *there != value => self.remarks.push(Remark {
                    object: source.clone(),
                    field: String::new(),
                    text: format!("{key} of {name} would be \"{value}\", but {first} has \"{there}\""),
                    lost: true,
                }),
                Some(_) => {}
                None => _ = known.insert(key, value),
            }
        }
    }

    /// Takes out what Tidegate would refuse.
    pub(super) fn check(&mut self) {
        let Self { annotations, remarks } = self;
        annotations.retain(|target, (source, known)| {
            let mut remark = |text: String| {
                let object = source.clone();
                remarks.push(Remark { object, field: String::new(), text: format!("{target}: {text}"), lost: true });
            };
            for problem in problems(target, known) {
                if let Problem::Malformed { key, .. } = &problem {
                    known.remove(key);
                    remark(problem.to_string());
                }
            }
            let left = problems(target, known);
            for problem in &left {
                remark(format!("{problem}; nothing is written for it"));
            }
            left.is_empty() && !known.is_empty()
        });
    }
}

fn problems(target: &Target, annotations: &BTreeMap<String, String>) -> Vec<Problem> {
    let of_namespace = target.kind == "Namespace";
    let place = if of_namespace { Place::Namespace } else { Place::Workload };
    let known = |key: &String| key.strip_prefix(PREFIX).is_some_and(|name| Key::find(name, place).is_some());
    // Keys that this build does not have yet cannot be checked by it.
    let checked: Annotations =
        annotations.iter().filter(|(key, _)| known(key)).map(|(key, value)| (key.as_str(), value.as_str())).collect();
    if of_namespace {
        return check_namespace(&checked);
    }
    Intent::of_workload(&checked, "", &Annotations::new()).err().unwrap_or_default()
}
