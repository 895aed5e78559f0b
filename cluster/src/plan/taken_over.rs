//! Deployments from whose template an Argo Rollout makes its pods (`spec.workloadRef`): they are the Rollout's, which is what is scaled.

use std::collections::HashMap;

use tidegate_core::{
    intent::{Intent, is_annotated},
    problem::Problem,
    workload::WorkloadKind,
};

use super::super::{Objects, views::Workload};

/// The Rollouts by namespace and by the Deployment that each refers to.
pub(super) struct TakenOver<'a>(HashMap<(&'a str, &'a str), &'a str>);

impl<'a> TakenOver<'a> {
    pub(super) fn of(objects: &'a Objects) -> Self {
        let rollouts = objects.workloads(WorkloadKind::Rollout).iter();
        let all =
            rollouts.flat_map(|(namespace, names)| names.iter().map(move |(name, rollout)| (namespace, name, rollout)));
        let referring = |(namespace, name, rollout): (&'a String, &'a String, &'a Workload)| {
            Some(((namespace.as_str(), rollout.referenced_deployment()?), name.as_str()))
        };
        Self(all.filter_map(referring).collect())
    }

    /// The Rollout that this workload belongs to.
    pub(super) fn by(&self, kind: WorkloadKind, namespace: &str, name: &str) -> Option<&'a str> {
        if kind == WorkloadKind::Deployment { self.0.get(&(namespace, name)).copied() } else { None }
    }
}

/// A Deployment that is a Rollout's is not scaled itself: annotations of its own are a mistake.
pub(super) fn intent(workload: &Workload, rollout: &str) -> Option<Result<Intent, Vec<Problem>>> {
    is_annotated(&workload.metadata.annotations).then(|| {
        Err(vec![Problem::Contradiction(format!(
            "this Deployment is the pod template of Rollout {rollout} (spec.workloadRef), whose replicas are scaled: move the \
             tidegate.dev/ annotations to the Rollout"
        ))])
    })
}
