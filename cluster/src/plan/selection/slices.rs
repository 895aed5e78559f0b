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

/// Number of selected workloads that are tried before any is looked up by its name. Mostly it is the only one that is selected.
const FEW: usize = 4;

/// EndpointSlices by namespace, ordered by the Service that they are of.
pub(super) struct Slices<'a>(HashMap<&'a str, Vec<&'a EndpointSlice>>);

impl<'a> Slices<'a> {
    pub(super) fn of(objects: &'a Objects) -> Self {
        let ordered = |slices: &'a BTreeMap<String, EndpointSlice>| {
            let mut all: Vec<_> = slices.values().collect();
            // Their names begin with the Service's, so that they are almost in order.
            all.sort_by(|a, b| a.service.cmp(&b.service));
            all
        };
        Self(objects.endpoint_slices.iter().map(|(namespace, slices)| (namespace.as_str(), ordered(slices))).collect())
    }

    fn of_service(&self, namespace: &str, service: &str) -> &[&'a EndpointSlice] {
        let all = self.0.get(namespace).map_or(&[][..], Vec::as_slice);
        let (first, end) = (
            all.partition_point(|slice| *slice.service < *service),
            all.partition_point(|slice| *slice.service <= *service),
        );
        all.get(first..end).unwrap_or_default()
    }

    /// The pods of a Service that have the port of this name, or any port, as anybody lists them or only one author.
    pub(super) fn pods(
        &self,
        namespace: &str,
        service: &str,
        only: Option<Author>,
        port: Option<&str>,
    ) -> Vec<&'a PodGroup> {
        let counts = |slice: &&EndpointSlice| {
            only.is_none_or(|author| slice.author == author) && port.is_none_or(|port| slice.ports.contains(port))
        };
        self.of_service(namespace, service).iter().copied().filter(counts).flat_map(|slice| &slice.pods).collect()
    }
}

/// The workloads behind a Service, from those that the rules choose, in their order, and the pods that are listed.
pub(super) fn decided(
    all: &[Candidate<'_>],
    namespace: Option<&Namespace<'_>>,
    listed: &[&PodGroup],
    chosen: &[Chosen],
) -> Vec<Behind> {
    let Some(namespace) = namespace.filter(|_| !listed.is_empty()) else {
        return chosen.iter().map(|chosen| chosen.behind).collect();
    };
    let owned = |pods: &&PodGroup| Some(Behind { workload: owner(all, namespace, pods, chosen)?, ready: pods.ready });
    let owners: Vec<_> = listed.iter().filter_map(owned).collect();
    let strangers = owners.len() < listed.len();
    let owners = summed(owners);
    // With pods of unknown owners, which may be its own, what the rules say of a workload stands.
    let stays =
        |chosen: &&Chosen| strangers || (chosen.expected == Expected::Perhaps && !is_among(&owners, &chosen.behind));
    let by_rules: Vec<_> = chosen.iter().filter(stays).map(|chosen| chosen.behind).collect();
    let by_slices = owners.into_iter().filter(|owner| !is_among(&by_rules, owner));
    let mut behind: Vec<_> = by_slices.chain(by_rules.iter().copied()).collect();
    behind.sort_unstable_by_key(|behind| behind.workload);
    behind
}

/// Each workload once, in order.
fn summed(mut all: Vec<Behind>) -> Vec<Behind> {
    all.sort_unstable_by_key(|behind| behind.workload);
    all.dedup_by(|next, first| {
        let same = next.workload == first.workload;
        first.ready += if same { next.ready } else { 0 };
        same
    });
    all
}

fn is_among(ordered: &[Behind], one: &Behind) -> bool {
    ordered.binary_search_by_key(&one.workload, |behind| behind.workload).is_ok()
}

/// The workload that pods belong to. A name that fits only perhaps needs the selector to agree.
fn owner(all: &[Candidate<'_>], namespace: &Namespace<'_>, pods: &PodGroup, chosen: &[Chosen]) -> Option<usize> {
    let fits = |i: usize, wanted: Fit| {
        all.get(i).is_some_and(|candidate| pod_name::fit(candidate.kind, candidate.name, pods) == wanted)
    };
    let selected = || chosen.iter().map(|chosen| chosen.behind.workload);
    let named = || match pod_name::owners(pods) {
        Some(mut names) => names.find_map(|name| namespace.named(name).find(|i| fits(*i, Fit::Yes))),
        None => namespace.by_name.iter().map(|(_, i)| *i).find(|i| fits(*i, Fit::Yes)),
    };
    let name_of = |i: &usize| all.get(*i).map_or(0, |candidate| candidate.name.len());
    let perhaps = || selected().filter(|i| fits(*i, Fit::Perhaps)).max_by_key(name_of);
    selected().take(FEW).find(|i| fits(*i, Fit::Yes)).or_else(named).or_else(perhaps)
}
