//! Selectors of pods, on the labels of a workload's pod template and on those that Kubernetes adds to its pods.

use tidegate_core::workload::WorkloadKind;

use super::{Behind, Candidate, pod_name};
use crate::views::{Labels, ROLLOUT_HASH};

/// The label of a StatefulSet's pod with the pod's name.
const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The label of a StatefulSet's pod with its ordinal.
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// The label of a Deployment's pods with the hash of their template.
const TEMPLATE_HASH: &str = "pod-template-hash";
/// The label of a StatefulSet's pods with the hash of their template.
const REVISION_HASH: &str = "controller-revision-hash";

/// A workload that the rules choose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chosen {
    pub(super) behind: Behind,
    pub(super) expected: Expected,
}

/// Whether some pod of a workload has to be in the Service's EndpointSlices, if the rules are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Listed,
    Perhaps,
}

/// Where a label of pods comes from.
pub(super) enum Source<'a> {
    /// The pod template
    Template,
    /// Kubernetes, which writes it on a pod of the StatefulSet of this name
    NameOfSet(&'a str),
    /// A controller, on pods of any workload
    Kubernetes,
}

impl<'a> Source<'a> {
    pub(super) fn of(label: &str, value: &'a str) -> Self {
        match label {
            POD_NAME => Self::NameOfSet(value.rsplit_once('-').map_or(value, |(set, _)| set)),
            POD_INDEX | TEMPLATE_HASH | REVISION_HASH | ROLLOUT_HASH => Self::Kubernetes,
            _ => Self::Template,
        }
    }
}

/// The pods of a workload that have a label.
enum Holders {
    All,
    /// The one with this ordinal
    One(u32),
    /// Those of one template, which is not known from here
    OfOneTemplate,
}

/// Whether a selector chooses pods of the workload with this index. A hash alone chooses nobody, since it could be anybody's.
pub(super) fn chosen(selector: &Labels, index: usize, candidate: &Candidate<'_>) -> Option<Chosen> {
    let (mut known, mut ordinal) = (false, None);
    for (label, value) in selector.iter() {
        match holders(candidate, label, value)? {
            Holders::All => known = true,
            Holders::OfOneTemplate => {}
            Holders::One(own) if ordinal.is_none_or(|other| other == own) => (known, ordinal) = (true, Some(own)),
            Holders::One(_) => return None,
        }
    }
    let is_there = ordinal.is_none_or(|ordinal| has_ordinal(candidate, ordinal));
    (known && is_there).then(|| Chosen::of(index, candidate, ordinal))
}

/// Whether the workload has a pod of this name.
pub(super) fn has_pod(candidate: &Candidate<'_>, pod: &str) -> bool {
    match candidate.kind {
        WorkloadKind::StatefulSet => {
            pod_name::ordinal(candidate.name, pod).is_some_and(|ordinal| has_ordinal(candidate, ordinal))
        }
        _ => false,
    }
}

fn holders(candidate: &Candidate<'_>, label: &str, value: &str) -> Option<Holders> {
    let one = |ordinal: Option<u32>| ordinal.map(Holders::One);
    match (candidate.kind, label) {
        (WorkloadKind::StatefulSet, POD_NAME) => one(pod_name::ordinal(candidate.name, value)),
        (WorkloadKind::StatefulSet, POD_INDEX) => one(pod_name::number(value)),
        (WorkloadKind::StatefulSet | WorkloadKind::CloneSet, REVISION_HASH)
        | (WorkloadKind::Deployment, TEMPLATE_HASH) => Some(Holders::OfOneTemplate),
        (WorkloadKind::Rollout, ROLLOUT_HASH) => {
            candidate.workload.may_have_hash(value).then_some(Holders::OfOneTemplate)
        }
        (_, _) => (candidate.pods?.pod_labels().get(label) == Some(value)).then_some(Holders::All),
    }
}

/// Whether a StatefulSet has the pod with this ordinal. One without pods keeps its first, which it would get back first.
fn has_ordinal(candidate: &Candidate<'_>, ordinal: u32) -> bool {
    let (first, pods) = (candidate.workload.first_ordinal(), candidate.workload.replicas().wanted.max(1));
    ordinal.checked_sub(first).is_some_and(|place| place < pods)
}

impl Chosen {
    fn of(workload: usize, candidate: &Candidate<'_>, ordinal: Option<u32>) -> Self {
        let replicas = candidate.workload.replicas();
        let from_cluster = !candidate.workload.metadata.uid.is_empty();
        // A pod that has no address yet is in no EndpointSlice.
        let (ready, all_ready) = match ordinal {
            Some(_) => (replicas.ready.min(1), replicas.ready >= replicas.wanted),
            None => (replicas.ready, true),
        };
        let listed = from_cluster && ready > 0 && all_ready && pod_name::is_certain(candidate.kind);
        let expected = if listed { Expected::Listed } else { Expected::Perhaps };
        Self { behind: Behind { workload, ready }, expected }
    }
}
