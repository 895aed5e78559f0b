//! Which EndpointSlices should be there: a pure function of the Plan, of those that are there, and of what is known of the traffic.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use tidegate_core::{gate::Gate, hash::fnv1a_32, ids::ServiceId, plan::Plan, workload::WorkloadId};

use super::{
    book::{EndpointBook, OwnSlice},
    notice::GateNotice,
    slice::{Family, PortRange, WantedSlice},
};

/// Settings of the gates.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// The release of Tidegate, as a label's value
    pub release: String,
    /// The activator's ports
    pub ports: PortRange,
    /// The Service of Tidegate's own pods: its ready addresses are where the activator is reached
    pub service: Option<ServiceId>,
    /// The address of this pod, where no Service of Tidegate is known
    pub address: Option<IpAddr>,
}

impl GateSettings {
    /// The addresses of all activators that are ready.
    pub fn addresses(&self, book: &EndpointBook) -> Vec<IpAddr> {
        let of_service = self.service.as_ref().map(|service| book.addresses(service)).unwrap_or_default();
        if of_service.is_empty() { self.address.into_iter().collect() } else { of_service }
    }
}

/// What has to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Steps {
    /// Slices to create, or to bring up to date
    pub(super) apply: Vec<(WantedSlice, Change)>,
    /// Slices to remove: the Service, the slice's name and its uid
    pub(super) delete: Vec<(ServiceId, String, String)>,
    pub(super) notices: Vec<(WorkloadId, GateNotice)>,
}

/// How a slice is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Update,
}

/// What decides, besides the Plan.
pub(super) struct Seen<'a> {
    pub(super) settings: &'a GateSettings,
    pub(super) book: &'a EndpointBook,
    /// Whether anything asks for replicas of a workload; `None` while that is unknown
    pub(super) active: &'a (dyn Fn(&WorkloadId, &Plan) -> Option<bool> + Sync),
    /// Whether every replica of Tidegate has had time to listen where a Service's slice says
    pub(super) settled: &'a (dyn Fn(&ServiceId) -> bool + Sync),
}

/// Whether a Service's slice should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// No pod could answer
    NobodyReady,
    /// The workload is idle, so that its last pod may go any time
    MayGo,
    /// Pods answer, and something asks for them
    Stays,
    /// Nothing is known, so nothing changes
    Unknown,
}

impl Seen<'_> {
    fn verdict(&self, id: &WorkloadId, gate: &Gate, plan: &Plan) -> Verdict {
        if !gate.ports.iter().any(|port| !self.book.ready(&gate.service, &port.name).is_empty()) {
            return Verdict::NobodyReady;
        }
        match (self.active)(id, plan) {
            Some(true) => Verdict::Stays,
            Some(false) => Verdict::MayGo,
            None => Verdict::Unknown,
        }
    }
}

/// The steps from the slices that are there to those that should be.
pub(super) fn steps(plan: &Plan, seen: &Seen<'_>) -> Steps {
    let GateSettings { release, ports: range, .. } = seen.settings;
    let own = seen.book.own(release);
    let addresses = seen.settings.addresses(seen.book);
    let mut ports = Ports::of(&own, range);
    let mut steps = Steps::default();
    let mut kept = BTreeSet::new();
    let gates = plan
        .workloads
        .iter()
        .flat_map(|(id, workload)| workload.gates.iter().flat_map(|gates| gates.iter()).map(move |gate| (id, gate)));
    for (id, gate) in gates {
        let there: Vec<_> = own.iter().filter(|(service, ..)| *service == gate.service).collect();
        let verdict = seen.verdict(id, gate, plan);
        let wanted = match verdict {
            Verdict::NobodyReady | Verdict::MayGo => true,
            Verdict::Stays => false,
            Verdict::Unknown => !there.is_empty(),
        };
        // Without an address nobody could be led anywhere; what is there stays until one is known.
        if !wanted || addresses.is_empty() {
            if addresses.is_empty() {
                kept.insert(&gate.service);
            }
            continue;
        }
        let Some(numbers) = ports.of_gate(gate) else {
            steps.notices.push((id.clone(), GateNotice::NoPortLeft(range.clone())));
            continue;
        };
        kept.insert(&gate.service);
        let is_ready = there.iter().any(|(.., slice)| !slice.ready.is_empty());
        let ready = is_ready || verdict == Verdict::NobodyReady || (!there.is_empty() && (seen.settled)(&gate.service));
        for family in Family::BOTH {
            let addresses: Vec<_> = addresses.iter().copied().filter(|address| family.has(address)).collect();
            let name = family.slice_name(&gate.service);
            let slice = there.iter().find(|(_, known, _)| *known == name).map(|(.., slice)| slice);
            if addresses.is_empty() {
                steps.delete.extend(slice.map(|slice| (gate.service.clone(), name, slice.uid.clone())));
                continue;
            }
            if slice.is_none() && seen.book.is_anothers(&gate.service.namespace, &name, release) {
                steps.notices.push((id.clone(), GateNotice::SliceTaken(name)));
                continue;
            }
            let wanted =
                WantedSlice { service: gate.service.clone(), family, ports: numbers.clone(), addresses, ready };
            let same = slice.is_some_and(|slice| {
                let has = if ready { &slice.ready } else { &slice.not_ready };
                let others = if ready { &slice.not_ready } else { &slice.ready };
                slice.ports == wanted.ports && *has == wanted.addresses && others.is_empty()
            });
            if !same {
                steps.apply.push((wanted, if slice.is_some() { Change::Update } else { Change::Create }));
            }
        }
    }
    let gone = own.iter().filter(|(service, ..)| !kept.contains(service));
    steps.delete.extend(gone.map(|(service, name, slice)| (service.clone(), name.clone(), slice.uid.clone())));
    steps
}

/// The activator's ports, by the port of a Service that each stands for.
struct Ports<'a> {
    range: &'a PortRange,
    of: HashMap<(ServiceId, String), u16>,
    used: BTreeSet<u16>,
}

impl<'a> Ports<'a> {
    fn of(own: &[OwnSlice], range: &'a PortRange) -> Self {
        let mut of = HashMap::new();
        for (service, _, slice) in own {
            of.extend(slice.ports.iter().map(|(name, port)| ((service.clone(), name.clone()), *port)));
        }
        let used = of.values().copied().collect();
        Self { range, of, used }
    }

    /// The ports of a gate: those that its slice has, or free ones. The search begins at a hash of the name, so that a port that
    /// has just become free is not given to another Service at once: proxies may still send the former one's requests there.
    fn of_gate(&mut self, gate: &Gate) -> Option<Vec<(String, u16)>> {
        gate.ports.iter().map(|port| Some((port.name.clone(), self.of_port(&gate.service, &port.name)?))).collect()
    }

    fn of_port(&mut self, service: &ServiceId, port: &str) -> Option<u16> {
        let key = (service.clone(), port.to_owned());
        let number = match self.of.get(&key) {
            Some(number) if self.range.ports().contains(number) => *number,
            _ => self.free(service, port)?,
        };
        self.used.insert(number);
        self.of.insert(key, number);
        Some(number)
    }

    fn free(&self, service: &ServiceId, port: &str) -> Option<u16> {
        let all = self.range.ports();
        let start = fnv1a_32(&format!("{}/{}:{port}", service.namespace, service.name)) as usize % all.len();
        all.clone().skip(start).chain(all.take(start)).find(|number| !self.used.contains(number))
    }
}

#[cfg(test)]
mod tests;
