//! `--scale-kind`: the kinds of workload that are scaled besides Deployments and StatefulSets.

use tidegate_core::workload::WorkloadKind;

/// Kinds of workload besides Deployments and StatefulSets.
#[derive(Debug, clap::Args)]
pub(crate) struct ScaleKindArgs {
    /// A kind to scale besides Deployments and StatefulSets: rollouts.argoproj.io, leaderworkersets.leaderworkerset.x-k8s.io,
    /// clonesets.apps.kruise.io, replicasets.apps, or any other as PLURAL.GROUP/VERSION/KIND; repeat for several
    #[arg(
        long = "scale-kind",
        env = "TIDEGATE_SCALE_KINDS",
        value_delimiter = ',',
        value_name = "KIND",
        value_parser = WorkloadKind::named
    )]
    scale_kinds: Vec<WorkloadKind>,
}

impl ScaleKindArgs {
    /// The kinds, without those that are always scaled.
    pub(crate) fn kinds(&self) -> Vec<WorkloadKind> {
        let mut kinds: Vec<_> =
            self.scale_kinds.iter().copied().filter(|kind| !WorkloadKind::ALWAYS.contains(kind)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    }
}
