//! The workloads behind a Service or a pool, as Kubernetes chooses their pods.
//!
//! 1. [`selector`]: the selector, on the labels of pod templates and on those that Kubernetes adds to pods.
//! 2. A Service's port that leads to a named port leaves out pods without it.
//! 3. [`slices`]: where there are EndpointSlices, they have the last word.
//!
//! Pods themselves are not watched. So what the rules say stands wherever EndpointSlices do not prove the contrary.

mod pod_name;
mod selector;
mod slices;

use std::{borrow::Cow, collections::HashMap};

use tidegate_core::workload::WorkloadKind;

use self::{
    selector::{Chosen, Source},
    slices::Slices,
};
use crate::{
    discovery::{Pods, ServiceAt},
    objects::Objects,
    views::{Author, Labels, Service, Workload},
};

/// A workload that may be selected.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) namespace: &'a str,
    pub(super) kind: WorkloadKind,
    pub(super) name: &'a str,
    pub(super) workload: &'a Workload,
    /// The workload with the template of its pods; none when the pods are another workload's
    pub(super) pods: Option<&'a Workload>,
}

impl Candidate<'_> {
    /// Whether its pods have a port of this name. Those of a custom kind whose containers are not known may have any.
    fn has_port(&self, name: &str) -> bool {
        let unknown = |pods: &Workload| matches!(self.kind, WorkloadKind::Custom(_)) && !pods.has_containers();
        self.pods.is_some_and(|pods| pods.has_port(name) || unknown(pods))
    }
}

/// A workload behind a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behind {
    /// Its index among the candidates
    pub(super) workload: usize,
    /// The number of its pods there that are ready
    pub(super) ready: u32,
}

/// Why a workload gets nothing of what arrives at a Service that selects its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut<'a> {
    /// The Service's port leads to a port of this name, which its pods do not have
    NoPort(&'a str),
    /// The name that the route leads to is that of pods of another workload
    OtherPods,
    /// The Service's EndpointSlices have none of its pods
    NotListed,
}

/// All workloads, found by the labels and the names of their pods.
pub(super) struct Selection<'a> {
    objects: &'a Objects,
    all: Vec<Candidate<'a>>,
    namespaces: HashMap<&'a str, Namespace<'a>>,
    slices: Slices<'a>,
}

/// The indexes of a namespace's workloads.
#[derive(Default)]
struct Namespace<'a> {
    /// Label → value
    by_label: HashMap<&'a str, HashMap<&'a str, Vec<usize>>>,
    /// Ordered by name
    by_name: Vec<(&'a str, usize)>,
}

impl<'a> Selection<'a> {
    pub(super) fn of(objects: &'a Objects, all: Vec<Candidate<'a>>) -> Self {
        let mut namespaces = HashMap::<_, Namespace<'_>>::new();
        for (i, candidate) in all.iter().enumerate() {
            let Some(pods) = candidate.pods else { continue };
            let namespace = namespaces.entry(candidate.namespace).or_default();
            namespace.by_name.push((candidate.name, i));
            for (label, value) in pods.pod_labels().iter() {
                namespace.by_label.entry(label).or_default().entry(value).or_default().push(i);
            }
        }
        for namespace in namespaces.values_mut() {
            namespace.by_name.sort_unstable();
        }
        Self { objects, all, namespaces, slices: Slices::of(objects) }
    }

    /// The workloads whose pods get what arrives at a Service, in the order of the candidates.
    pub(super) fn behind(&self, at: &ServiceAt<'_>) -> Vec<Behind> {
        let service = self.objects.services.get(at.namespace).and_then(|names| names.get(at.name));
        let Some(service) = service else { return Vec::new() };
        let mut chosen = self.chosen(at.namespace, &service.spec.selector);
        if let Some(target) = target_port(service, at) {
            chosen.retain(|chosen| {
                self.all.get(chosen.behind.workload).is_some_and(|candidate| candidate.has_port(target))
            });
        }
        let mut behind = self.as_listed(at, service, &chosen);
        if let Some(names) = at.pods.names() {
            let names: Vec<_> = names.collect();
            let has_one = |candidate: &Candidate<'_>| names.iter().any(|pod| selector::has_pod(candidate, pod));
            behind.retain(|behind| self.all.get(behind.workload).is_some_and(has_one));
        }
        behind
    }

    /// Why a workload gets nothing of what arrives at a Service; `None` if the Service does not select its pods.
    pub(super) fn left_out<'s>(&'s self, at: &ServiceAt<'_>, workload: usize) -> Option<LeftOut<'s>> {
        let service = self.objects.services.get(at.namespace)?.get(at.name)?;
        let selects = |chosen: &Chosen| chosen.behind.workload == workload;
        if !self.chosen(at.namespace, &service.spec.selector).iter().any(selects) {
            return None;
        }
        let lacks = |port: &&str| !self.all.get(workload).is_some_and(|candidate| candidate.has_port(port));
        Some(match target_port(service, at).filter(lacks) {
            Some(port) => LeftOut::NoPort(port),
            None if matches!(at.pods, Pods::Named(_)) => LeftOut::OtherPods,
            None => LeftOut::NotListed,
        })
    }

    /// The workloads whose pods a pool selects.
    pub(super) fn selected(&self, namespace: &str, selector: &Labels) -> Vec<Behind> {
        self.chosen(namespace, selector).iter().map(|chosen| chosen.behind).collect()
    }

    /// By the rules for selectors. Without a selector nobody is selected.
    fn chosen(&self, namespace: &str, selector: &Labels) -> Vec<Chosen> {
        let Some(known) = self.namespaces.get(namespace) else { return Vec::new() };
        let chosen = |i: usize| selector::chosen(selector, i, self.all.get(i)?);
        known.narrowed(selector).iter().filter_map(|i| chosen(*i)).collect()
    }

    /// By the EndpointSlices of a Service, as far as they say more than the rules.
    fn as_listed(&self, at: &ServiceAt<'_>, service: &Service, chosen: &[Chosen]) -> Vec<Behind> {
        // Others may add addresses of their own to a Service with a selector, such as that of a waiting room.
        let only = (!service.spec.selector.is_empty()).then_some(Author::Kubernetes);
        let port = match at.pods {
            Pods::WithPort => at.port.and_then(|number| service.tcp_port(number)).map(|port| &*port.name),
            Pods::All | Pods::Named(_) => None,
        };
        let listed = self.slices.pods(at.namespace, at.name, only, port);
        slices::decided(&self.all, self.namespaces.get(at.namespace), &listed, chosen)
    }
}

impl Namespace<'_> {
    /// The fewest workloads among which those with these labels are, in the order of the candidates.
    fn narrowed(&self, selector: &Labels) -> Cow<'_, [usize]> {
        let ordered = |mut indexes: Vec<usize>| {
            indexes.sort_unstable();
            Cow::Owned(indexes)
        };
        let labelled = |(label, value)| match Source::of(label, value) {
            Source::Template => Some(Cow::Borrowed(self.labelled(label, value))),
            Source::NameOfSet(set) => Some(ordered(self.named(set).collect())),
            Source::Kubernetes => None,
        };
        // The rarest label leaves the fewest to compare.
        let mut rarest = None::<Cow<'_, [usize]>>;
        for candidates in selector.iter().filter_map(labelled) {
            if candidates.len() <= 1 {
                return candidates;
            }
            rarest = rarest.filter(|rarest| rarest.len() <= candidates.len()).or(Some(candidates));
        }
        rarest.unwrap_or_else(|| ordered(self.by_name.iter().map(|(_, i)| *i).collect()))
    }

    fn labelled(&self, label: &str, value: &str) -> &[usize] {
        self.by_label.get(label).and_then(|values| values.get(value)).map_or(&[], Vec::as_slice)
    }

    /// The workloads of this name, one of a kind.
    fn named(&self, name: &str) -> impl Iterator<Item = usize> {
        let first = self.by_name.partition_point(|(known, _)| *known < name);
        let from = self.by_name.get(first..).unwrap_or_default();
        from.iter().take_while(move |(known, _)| *known == name).map(|(_, i)| *i)
    }
}

/// The name of the pods' port to which the Service's port leads; `None` when it leads to a number, which every pod has.
fn target_port<'s>(service: &'s Service, at: &ServiceAt<'_>) -> Option<&'s str> {
    match at.pods {
        Pods::WithPort => service.tcp_port(at.port?)?.target_port.as_deref(),
        Pods::All | Pods::Named(_) => None,
    }
}

#[cfg(test)]
mod slices_tests;
#[cfg(test)]
mod tests;
