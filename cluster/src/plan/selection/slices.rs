//! EndpointSlices: whose pods really are behind a Service.
//!
//! They list pods, and owners are known by the names of pods. So they prove that a workload is there, but only where every listed
//! pod has a known owner do they prove that another is not. A workload without ready pods need not be listed at all.

use std::collections::{BTreeMap, HashMap};

use super::{
    Behind, Candidate, Namespace,
    pod_name::{self, Fit},
    selector::{Chosen, Expected},
};
use crate::{
    objects::Objects,
    views::{Author, EndpointSlice, PodGroup},
};

/// EndpointSlices by the Service that they are of.
pub(super) struct Slices<'a>(HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>);

impl<'a> Slices<'a> {
    pub(super) fn of(objects: &'a Objects) -> Self {
        let mut all = HashMap::<_, Vec<_>>::new();
        for (namespace, slices) in &objects.endpoint_slices {
            for slice in slices.values() {
                all.entry((namespace.as_str(), &*slice.service)).or_default().push(slice);
            }
        }
        Self(all)
    }

    /// The pods of a Service that have the port of this name, or any port. Of a Service with a selector only Kubernetes knows
    /// the pods: others may add addresses of their own, such as that of a waiting room.
    pub(super) fn pods(
        &self,
        namespace: &str,
        service: &str,
        has_selector: bool,
        port: Option<&str>,
    ) -> Vec<&'a PodGroup> {
        let counts = |slice: &&EndpointSlice| {
            (!has_selector || slice.author == Author::Kubernetes) && port.is_none_or(|port| slice.ports.contains(port))
        };
        let slices = self.0.get(&(namespace, service)).into_iter().flatten().copied();
        slices.filter(counts).flat_map(|slice| &slice.pods).collect()
    }
}

/// The workloads behind a Service, from those that the rules choose and the pods that are listed.
pub(super) fn decided(
    all: &[Candidate<'_>],
    namespace: Option<&Namespace<'_>>,
    listed: Vec<&PodGroup>,
    chosen: &[Chosen],
) -> Vec<Behind> {
    let by_rules = || chosen.iter().map(|chosen| chosen.behind);
    let Some(namespace) = namespace.filter(|_| !listed.is_empty()) else { return by_rules().collect() };
    let (mut owners, mut strangers) = (BTreeMap::<usize, u32>::new(), false);
    for pods in listed {
        match owner(all, namespace, pods, chosen) {
            Some(owner) => *owners.entry(owner).or_default() += pods.ready,
            None => strangers = true,
        }
    }
    let stays = |chosen: &&Chosen| {
        strangers || chosen.expected == Expected::Perhaps || owners.contains_key(&chosen.behind.workload)
    };
    let mut behind: BTreeMap<_, _> =
        chosen.iter().filter(stays).map(|chosen| (chosen.behind.workload, chosen.behind.ready)).collect();
    for (workload, ready) in owners {
        // Pods of unknown owners may be its own, so what its status says stands.
        behind.entry(workload).and_modify(|own| *own = if strangers { *own } else { ready }).or_insert(ready);
    }
    behind.into_iter().map(|(workload, ready)| Behind { workload, ready }).collect()
}

/// The workload that pods belong to. A name that fits only perhaps needs the selector to agree.
fn owner(all: &[Candidate<'_>], namespace: &Namespace<'_>, pods: &PodGroup, chosen: &[Chosen]) -> Option<usize> {
    let fits = |i: usize, wanted: Fit| {
        all.get(i).is_some_and(|candidate| pod_name::fit(candidate.kind, candidate.name, pods) == wanted)
    };
    let certain = match pod_name::owners(pods) {
        Some(mut names) => names.find_map(|name| namespace.named(name).find(|i| fits(*i, Fit::Yes))),
        None => namespace.by_name.iter().map(|(_, i)| *i).find(|i| fits(*i, Fit::Yes)),
    };
    let name_of = |i: &usize| all.get(*i).map_or(0, |candidate| candidate.name.len());
    let perhaps = || chosen.iter().map(|chosen| chosen.behind.workload).filter(|i| fits(*i, Fit::Perhaps));
    certain.or_else(|| perhaps().max_by_key(name_of))
}
