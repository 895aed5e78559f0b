//! The names that owners give their pods, to know an owner by the name of a pod.

use tidegate_core::workload::WorkloadKind;

use crate::views::{PodGroup, Suffix};

/// The length after which Kubernetes cuts off the part of a generated name before its random end.
const LONGEST_STEM: usize = 58;
/// The longest hash of a pod template, and the characters of such a hash.
const LONGEST_HASH: usize = 10;
const HASH: &str = "bcdfghjklmnpqrstvwxz2456789";

/// How sure it is that pods are a workload's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Yes,
    /// Its pods may have such names, but so may those of others
    Perhaps,
    No,
}

/// How well the names of pods fit a workload.
pub(super) fn fit(kind: WorkloadKind, name: &str, pods: &PodGroup) -> Fit {
    let begins_with_name = || pods.stem.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    match kind {
        WorkloadKind::Deployment | WorkloadKind::Rollout => fit_of_deployment(name, pods),
        WorkloadKind::LeaderWorkerSet => fit_of_groups(name, pods),
        WorkloadKind::StatefulSet if pods.suffix == Suffix::Ordinal && name == &*pods.stem => Fit::Yes,
        WorkloadKind::ReplicaSet | WorkloadKind::CloneSet if name == &*pods.stem => Fit::Yes,
        WorkloadKind::Custom(_) if begins_with_name() => Fit::Perhaps,
        WorkloadKind::StatefulSet | WorkloadKind::ReplicaSet | WorkloadKind::CloneSet | WorkloadKind::Custom(_) => {
            Fit::No
        }
    }
}

/// The leader of group 3 is `NAME-3`, and its workers are `NAME-3-1` and so on.
fn fit_of_groups(name: &str, pods: &PodGroup) -> Fit {
    let is_worker = || ordinal(name, &pods.stem).is_some();
    if pods.suffix == Suffix::Ordinal && (name == &*pods.stem || is_worker()) { Fit::Yes } else { Fit::No }
}

fn fit_of_deployment(name: &str, pods: &PodGroup) -> Fit {
    let after_name = || pods.stem.strip_prefix(name)?.strip_prefix('-');
    match pods.suffix {
        Suffix::Cut if is_cut_from(name, &pods.stem) => Fit::Yes,
        Suffix::Ordinal | Suffix::Text => match after_name() {
            Some(rest) if is_hash(rest) => Fit::Yes,
            // A Deployment may adopt a ReplicaSet of any name.
            Some(_) => Fit::Perhaps,
            None => Fit::No,
        },
        Suffix::Cut | Suffix::None => Fit::No,
    }
}

/// Whether all pods of a kind are recognised by their names.
pub(super) fn is_certain(kind: WorkloadKind) -> bool {
    match kind {
        WorkloadKind::Deployment | WorkloadKind::StatefulSet | WorkloadKind::Rollout => true,
        WorkloadKind::LeaderWorkerSet | WorkloadKind::CloneSet | WorkloadKind::ReplicaSet | WorkloadKind::Custom(_) => {
            false
        }
    }
}

/// The names that owners of such pods may have, whatever their kind; `None` for any name.
pub(super) fn owners(pods: &PodGroup) -> Option<impl Iterator<Item = &str>> {
    let stem = &*pods.stem;
    let shorter = stem.match_indices('-').map(move |(end, _)| stem.get(..end).unwrap_or_default());
    (pods.suffix != Suffix::Cut).then(|| shorter.chain([stem]))
}

/// The ordinal of a StatefulSet's pod, by the pod's name.
pub(super) fn ordinal(set: &str, pod: &str) -> Option<u32> {
    number(pod.strip_prefix(set)?.strip_prefix('-')?)
}

/// An ordinal as Kubernetes writes it: without leading zeros.
pub(super) fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| number.to_string() == text)
}

/// Whether `stem` is the beginning of `NAME-HASH-`, cut off.
fn is_cut_from(name: &str, stem: &str) -> bool {
    let could_be_cut = name.len() + 1 + LONGEST_HASH >= LONGEST_STEM;
    could_be_cut && (name.starts_with(stem) || stem.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')))
}

fn is_hash(text: &str) -> bool {
    (1..=LONGEST_HASH).contains(&text.len()) && text.chars().all(|c| HASH.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYMENT: WorkloadKind = WorkloadKind::Deployment;
    const STATEFUL_SET: WorkloadKind = WorkloadKind::StatefulSet;

    fn group(stem: &str, suffix: Suffix) -> PodGroup {
        PodGroup { stem: stem.into(), suffix, ready: 1 }
    }

    #[test]
    fn a_pod_is_its_owners_by_its_name() {
        for (kind, name, stem, suffix, expected) in [
            (DEPLOYMENT, "api", "api-7d9f8c6b5d", Suffix::Text, Fit::Yes),
            (DEPLOYMENT, "api", "api-web-7d9f8c6b5d", Suffix::Text, Fit::Perhaps),
            (DEPLOYMENT, "api", "api-adopted", Suffix::Text, Fit::Perhaps),
            (DEPLOYMENT, "api", "api", Suffix::Text, Fit::No),
            (DEPLOYMENT, "api", "apis-7d9f8c6b5d", Suffix::Text, Fit::No),
            (STATEFUL_SET, "db", "db", Suffix::Ordinal, Fit::Yes),
            (STATEFUL_SET, "db", "db", Suffix::Text, Fit::No),
            (STATEFUL_SET, "db", "db-1", Suffix::Ordinal, Fit::No),
            (DEPLOYMENT, "", "", Suffix::None, Fit::No),
            (WorkloadKind::Rollout, "api", "api-7d9f8c6b5d", Suffix::Text, Fit::Yes),
            (WorkloadKind::ReplicaSet, "api", "api", Suffix::Text, Fit::Yes),
            (WorkloadKind::CloneSet, "api", "api-7d9f8c6b5d", Suffix::Text, Fit::No),
            (WorkloadKind::LeaderWorkerSet, "llm", "llm", Suffix::Ordinal, Fit::Yes),
            (WorkloadKind::LeaderWorkerSet, "llm", "llm-3", Suffix::Ordinal, Fit::Yes),
            (WorkloadKind::LeaderWorkerSet, "llm", "llm-big", Suffix::Ordinal, Fit::No),
        ] {
            assert_eq!(fit(kind, name, &group(stem, suffix)), expected, "{name} {stem}");
        }
    }

    #[test]
    fn a_name_too_long_for_its_pods_is_known_by_its_beginning() {
        let (name, other) = ("a".repeat(60), "b".repeat(60));
        let cut = group(&name[..58], Suffix::Cut);
        assert_eq!((fit(DEPLOYMENT, &name, &cut), fit(DEPLOYMENT, &other, &cut)), (Fit::Yes, Fit::No));
        let name = "a".repeat(50);
        let cut = group(&format!("{name}-7d9f8c6"), Suffix::Cut);
        assert_eq!((fit(DEPLOYMENT, &name, &cut), fit(DEPLOYMENT, "a", &cut)), (Fit::Yes, Fit::No));
    }

    #[test]
    fn owners_are_looked_for_by_all_that_the_name_begins_with() {
        let names =
            |stem, suffix| owners(&group(stem, suffix)).map(|names| names.map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            names("api-web-7d9f8", Suffix::Text),
            Some(vec!["api".into(), "api-web".into(), "api-web-7d9f8".into()])
        );
        assert_eq!(names("a", Suffix::Cut), None);
    }

    #[test]
    fn an_ordinal_has_no_leading_zeros() {
        for (pod, expected) in
            [("db-0", Some(0)), ("db-12", Some(12)), ("db-01", None), ("db-", None), ("dbx-1", None), ("db-1-1", None)]
        {
            assert_eq!(ordinal("db", pod), expected, "{pod}");
        }
    }
}
