//! From objects to the Plan.

mod beside;
mod fleets;
mod gates;
mod own_objects;
mod proxies;
mod reached;
mod refused;
mod selection;
mod spared;
mod taken_over;
mod timeouts;
mod unreached;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use tidegate_core::{
    beside::Pod,
    calendar::Calendars,
    gate::{Gate, NotHeld},
    ids::{RouteRef, ServiceId},
    intent::{Annotations, Intent, Managed, applied, is_annotated},
    key::Place,
    llm::{AiRule, Destination, ModelShare},
    not_followed::{NoEntrance, NotFollowed},
    plan::{ClusterShare, Plan, PlannedWorkload, Prerequisite, Replicas},
    problem::Problem,
    request_timeout::RequestTimeout,
    workload::{WorkloadId, WorkloadKind},
};

pub use self::proxies::{NotAProxy, strangers};
pub(super) use self::spared::{is_proxy, problem as spared_problem, runs_in};
use self::{
    own_objects::OwnObjects,
    reached::Reached,
    selection::{Behind, Candidate, Selection},
    taken_over::TakenOver,
};
use super::{
    Objects,
    discovery::{self, Part, Pods, ServiceAt},
    routes::{StatNameSharing, label, ratio},
    views::Workload,
};

const POOL: &str = "InferencePool";

impl Objects {
    /// What is planned from all that is known now: a pure function of the objects.
    pub fn plan(&self) -> Plan {
        plan(self)
    }
}

fn plan(objects: &Objects) -> Plan {
    let mut workloads = Workloads::of(objects);
    let mut services = BTreeMap::<ServiceId, Reached<'_>>::new();
    let mut pools = BTreeMap::<ServiceId, Vec<ClusterShare>>::new();
    let generated = discovery::generated(objects);
    let parts = discovery::discover(objects, &generated);
    let shares = Shares::of(&parts, |service| workloads.scaled_away_by_others(service));
    let mut merged = HashSet::new();
    let mut unmeasured = BTreeMap::<ServiceId, &RouteRef>::new();
    for part in &parts {
        let Some(share) = shares.cluster_share(part) else {
            unmeasured.extend(service_id(part).map(|service| (service, &part.route)));
            continue;
        };
        // A merged cluster comes once per route that leads to it, but it is one and the same.
        if part.merged && !merged.insert((share.service.clone(), share.cluster.clone())) {
            continue;
        }
        let id = share.service.clone();
        match part.service {
            Some(at) if part.backend.kind != POOL => services.entry(id).or_default().add(at, share),
            _ => pools.entry(id).or_default().push(share),
        }
    }
    for reached in services.values() {
        workloads.add_traffic(reached);
    }
    for (pool, shares) in &pools {
        workloads.add_traffic_of_pool(pool, shares);
    }
    workloads.add_refusals(&generated, &services, &pools);
    workloads.add_gates(&services, &pools);
    workloads.add_timeouts(&parts);
    workloads.explain_unreached(&services, &unmeasured);
    let ai_rules: Vec<_> = discovery::ai_rules(objects, &parts).into_iter().map(Arc::new).collect();
    for rule in &ai_rules {
        workloads.add_models(rule, &services);
    }
    let calendars = calendars(objects);
    let fleets = fleets::fleets(objects, &calendars);
    Plan {
        workloads: workloads.planned(&calendars),
        services: services.into_iter().map(|(id, reached)| (id, reached.shares)).collect(),
        proxies: proxies::proxies(objects),
        ai_gateways: proxies::ai_gateways(objects),
        ai_rules,
        fleets,
        calendars,
    }
}

fn calendars(objects: &Objects) -> Calendars {
    objects.calendars().map(|calendar| (calendar.metadata.name.clone(), calendar.effective())).collect()
}

/// Turns the weights of parts into shares.
struct Shares {
    sharing: StatNameSharing,
    /// Of the clusters of TCP and TLS routes, the weight of backends that get nothing
    withdrawn: HashMap<Arc<str>, u64>,
    /// The sets of proxies that each merged cluster is on, by whichever route
    merged: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

impl Shares {
    /// `is_withdrawn` says that a Service has no pods at all, and that nobody here will give it any. Envoy Gateway
    /// leaves such a backend out of a TCP or TLS route, so its part goes to the others. (In an HTTP route its part is
    /// answered with 503.)
    fn of(parts: &[Part<'_>], mut is_withdrawn: impl FnMut(&ServiceAt<'_>) -> bool) -> Self {
        let mut withdrawn = HashMap::new();
        for part in parts.iter().filter(|part| part.route.rule.is_none() && !part.merged && !part.fallback) {
            if part.service.is_some_and(|service| is_withdrawn(&service)) {
                *withdrawn.entry(part.cluster.clone()).or_default() += part.weight.own;
            }
        }
        let mut merged = HashMap::<Arc<str>, BTreeSet<Arc<str>>>::new();
        for part in parts.iter().filter(|part| part.merged) {
            merged.entry(Arc::clone(&part.cluster)).or_default().extend(part.fleets.iter().cloned());
        }
        Self { sharing: StatNameSharing::of(parts), withdrawn, merged }
    }

    /// None for traffic that nothing here measures: UDP, and what leaves the cluster.
    fn cluster_share(&self, part: &Part<'_>) -> Option<ClusterShare> {
        let service = service_id(part).filter(|_| part.route.kind != "UDPRoute")?;
        let name = label(part);
        Some(ClusterShare {
            cluster: name.clone(),
            split: part.split.as_ref().map(|split| split.name.clone()),
            share: self.share(part) / self.sharing.rules(name),
            of_backend: 1.0,
            route: part.route.clone(),
            service,
            fleets: self.merged.get(&part.cluster).unwrap_or(&part.fleets).iter().cloned().collect(),
            meaning: part.meaning,
            pending: part.pending,
        })
    }

    fn share(&self, part: &Part<'_>) -> f64 {
        let discovery::Weight { own, of, fallbacks } = part.weight;
        let withdrawn = self.withdrawn.get(&part.cluster).copied().unwrap_or(0);
        // As long as others live, fallbacks get nothing; they keep their nominal part, so as to be there when needed.
        let idle = if part.fallback { 0 } else { withdrawn + fallbacks };
        ratio(own, of.checked_sub(idle).filter(|rest| *rest > 0).unwrap_or(of))
    }
}

fn service_id(part: &Part<'_>) -> Option<ServiceId> {
    if part.backend.kind == POOL {
        return Some(ServiceId { namespace: part.backend.namespace.to_owned(), name: part.backend.name.to_owned() });
    }
    part.service.map(|service| ServiceId { namespace: service.namespace.to_owned(), name: service.name.to_owned() })
}

/// All workloads, found by their pods.
struct Workloads<'a> {
    objects: &'a Objects,
    own: OwnObjects<'a>,
    all: Vec<KnownWorkload<'a>>,
    selection: Selection<'a>,
}

struct KnownWorkload<'a> {
    namespace: &'a str,
    kind: WorkloadKind,
    name: &'a str,
    workload: &'a Workload,
    /// The workload with the template of its pods; none when the pods are another workload's
    pods: Option<&'a Workload>,
    /// None when it is none of Tidegate's business
    intent: Option<Result<Intent, Vec<Problem>>>,
    traffic: Vec<ClusterShare>,
    models: Vec<ModelShare>,
    not_followed: Vec<NotFollowed>,
    gates: Result<Arc<[Gate]>, NotHeld>,
    request_timeout: Option<Arc<RequestTimeout>>,
    no_entrance: Option<NoEntrance>,
}

impl<'a> Workloads<'a> {
    fn of(objects: &'a Objects) -> Self {
        let own = OwnObjects::of(objects);
        let taken_over = TakenOver::of(objects);
        let mut all = Vec::new();
        for (kind, table) in objects.workload_tables() {
            for (namespace, names) in table {
                let defaults = objects.namespace_defaults(namespace);
                let spares = Managed::of(defaults).is_some()
                    && (!kind.follows_namespace() || spared::runs_in(objects, namespace).is_some());
                let mistake = Managed::mistake(namespace, defaults);
                all.extend(names.iter().map(|(name, workload)| {
                    let rollout = taken_over.by(kind, namespace, name);
                    let intent = match rollout {
                        Some(rollout) => taken_over::intent(workload, rollout),
                        None => intent_of(namespace, name, workload, defaults, spares)
                            .or_else(|| held(&own, namespace, kind, name, mistake.as_ref()?)),
                    };
                    let pods = rollout.is_none().then(|| objects.with_template_of(namespace, workload));
                    KnownWorkload {
                        namespace,
                        kind,
                        name,
                        workload,
                        pods,
                        intent,
                        traffic: Vec::new(),
                        models: Vec::new(),
                        not_followed: Vec::new(),
                        gates: Ok(Arc::default()),
                        request_timeout: None,
                        no_entrance: None,
                    }
                }));
            }
        }
        let candidate = |known: &KnownWorkload<'a>| Candidate {
            namespace: known.namespace,
            kind: known.kind,
            name: known.name,
            workload: known.workload,
            pods: known.pods,
        };
        let selection = Selection::of(objects, all.iter().map(candidate).collect());
        Self { objects, own, all, selection }
    }

    /// Whether a Service's workloads have no pods at all, and none of them is Tidegate's, which would be woken.
    fn scaled_away_by_others(&self, service: &ServiceAt<'_>) -> bool {
        let behind = self.selection.behind(service);
        let gone = |behind: &Behind| {
            self.all.get(behind.workload).is_some_and(|known| {
                let from_cluster = !known.workload.metadata.uid.is_empty();
                from_cluster && known.intent.is_none() && known.workload.status.replicas == 0
            })
        };
        !behind.is_empty() && behind.iter().all(gone)
    }

    /// Of the workloads behind a destination those that are Tidegate's, each with its part: several behind one Service share its
    /// traffic by their ready pods, equally when none is ready.
    fn parts(&self, behind: &[Behind]) -> Vec<(usize, f64)> {
        let all_ready: u64 = behind.iter().map(|behind| u64::from(behind.ready)).sum();
        let each = ratio(1, behind.len() as u64);
        let part = |behind: &Behind| if all_ready > 0 { ratio(behind.ready.into(), all_ready) } else { each };
        let is_tidegates = |behind: &&Behind| self.all.get(behind.workload).is_some_and(|known| known.intent.is_some());
        behind.iter().filter(is_tidegates).map(|behind| (behind.workload, part(behind))).collect()
    }

    fn add_traffic(&mut self, service: &Reached<'_>) {
        for (entrance, shares) in service.by_entrance() {
            self.add_shares(&self.parts(&self.selection.behind(entrance)), shares);
        }
    }

    fn add_traffic_of_pool(&mut self, pool: &ServiceId, shares: &[ClusterShare]) {
        let parts = self.parts(&self.behind_pool(pool));
        self.add_shares(&parts, shares);
    }

    fn add_shares(&mut self, parts: &[(usize, f64)], shares: &[ClusterShare]) {
        for (i, of_backend) in parts {
            let Some(known) = self.all.get_mut(*i) else { continue };
            // Most workloads are behind one Service: room for more would be most of the Plan.
            known.traffic.reserve_exact(shares.len());
            known.traffic.extend(shares.iter().map(|share| ClusterShare { of_backend: *of_backend, ..share.clone() }));
        }
    }

    fn behind_pool(&self, id: &ServiceId) -> Vec<Behind> {
        let pool = discovery::pool_of(self.objects, id);
        pool.map(|pool| self.selection.selected(&id.namespace, pool.selector())).unwrap_or_default()
    }

    /// The workloads behind a backend of an AI gateway.
    fn behind(&self, destination: &Destination, services: &BTreeMap<ServiceId, Reached<'_>>) -> Vec<Behind> {
        match destination {
            Destination::Service(id) => {
                let whole = ServiceAt { namespace: &id.namespace, name: &id.name, port: None, pods: Pods::All };
                self.selection.behind(services.get(id).and_then(Reached::only_entrance).unwrap_or(&whole))
            }
            Destination::Pool(id) => self.behind_pool(id),
            Destination::External(_) | Destination::Nobody => Vec::new(),
        }
    }

    fn add_models(&mut self, rule: &Arc<AiRule>, services: &BTreeMap<ServiceId, Reached<'_>>) {
        for (backend, of) in rule.backends.iter().enumerate() {
            for (i, of_backend) in self.parts(&self.behind(&of.destination, services)) {
                let Some(known) = self.all.get_mut(i) else { continue };
                known.models.push(ModelShare::Routed { rule: Arc::clone(rule), backend, of_backend });
            }
        }
    }

    fn planned(self, calendars: &Calendars) -> BTreeMap<WorkloadId, PlannedWorkload> {
        let planned = |known: KnownWorkload<'_>| {
            let id =
                WorkloadId { namespace: known.namespace.to_owned(), kind: known.kind, name: known.name.to_owned() };
            let uid = known.workload.metadata.uid.clone();
            let replicas = known.workload.replicas();
            let adopted = self.own.adopted_replicas(&id).unwrap_or(replicas.wanted);
            let new = |intent: Result<Intent, _>| {
                let intent = intent.map(|intent| known.held(intent));
                PlannedWorkload::new(&id, uid.clone(), intent, Vec::new(), replicas, adopted, calendars)
            };
            let defaults = self.objects.namespace_defaults(known.namespace);
            let applied = applied(&known.workload.metadata.annotations, defaults, Place::Workload);
            let planned = PlannedWorkload { applied, ..new(known.intent.clone()?) };
            let is_tidegate = spared::is_tidegate(known.namespace, known.name, known.workload);
            let planned = if is_tidegate || known.pods.is_none() {
                planned
            } else {
                as_applied_before(&self.own, &id, planned, new)
            };
            let intent = &planned.intent;
            let model = intent.as_ref().ok().and_then(|intent| intent.model.as_ref());
            let models = match model.and_then(|model| model.name.clone()) {
                Some(name) => vec![ModelShare::Named(name)],
                None => known.models,
            };
            let after = planned.schedule.as_ref().and_then(|schedule| schedule.after.clone());
            let after = after.and_then(|after| prerequisite(self.objects, after.within(known.namespace)));
            let (pods, measured_startup) = self.objects.serving.of(&id);
            let pods_of = known.pods.unwrap_or(known.workload);
            let requests = pods_of.requests();
            let measured = planned.intent.as_ref().is_ok_and(|intent| intent.beside.resources().next().is_some());
            let pod = if measured { pods_of.pod() } else { Pod::default() };
            Some((
                id,
                PlannedWorkload {
                    traffic: known.traffic,
                    not_followed: known.not_followed,
                    gates: known.gates,
                    request_timeout: known.request_timeout,
                    no_entrance: known.no_entrance,
                    after,
                    requests,
                    pod,
                    has_probe: pods_of.has_probe(),
                    models,
                    pods,
                    measured_startup,
                    ..planned
                },
            ))
        };
        // Collected into a map as they are, they would be moved and copied as a growing list, and sorted by a copy.
        let mut all = Vec::with_capacity(self.all.len());
        all.extend(self.all.into_iter().filter_map(planned));
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        all.into_iter().collect()
    }
}

fn prerequisite(objects: &Objects, id: WorkloadId) -> Option<Prerequisite> {
    let Replicas { wanted, ready } = objects.workload(&id)?.replicas;
    Some(Prerequisite { id, ready: wanted > 0 && ready >= wanted })
}

/// `spares` says that only workloads with annotations of their own are meant.
fn intent_of(
    namespace: &str,
    name: &str,
    workload: &Workload,
    defaults: &Annotations,
    spares: bool,
) -> Option<Result<Intent, Vec<Problem>>> {
    let own = &workload.metadata.annotations;
    if !is_annotated(own) && (spares || spared::is_proxy(workload)) {
        return None;
    }
    let intent = Intent::of_workload(own, namespace, defaults).transpose()?;
    Some(if spared::is_tidegate(namespace, name, workload) { Err(vec![spared::itself()]) } else { intent })
}

/// One that was managed until its Namespace said so by mistake no more.
fn held(
    own: &OwnObjects<'_>,
    namespace: &str,
    kind: WorkloadKind,
    name: &str,
    mistake: &Problem,
) -> Option<Result<Intent, Vec<Problem>>> {
    let id = WorkloadId { namespace: namespace.to_owned(), kind, name: name.to_owned() };
    own.was_applied(&id).then(|| Err(vec![mistake.clone()]))
}

/// A workload whose annotations make no sense, as those have it that were applied before: what sleeps sleeps on, and opens at its
/// hours.
fn as_applied_before(
    own: &OwnObjects<'_>,
    id: &WorkloadId,
    planned: PlannedWorkload,
    new: impl Fn(Result<Intent, Vec<Problem>>) -> PlannedWorkload,
) -> PlannedWorkload {
    let Err(problems) = &planned.intent else { return planned };
    let Some(applied) = own.applied(id) else { return planned };
    match Intent::of_applied(&applied).map(|intent| new(Ok(intent))).filter(|before| before.intent.is_ok()) {
        Some(before) => PlannedWorkload { problems: problems.clone(), applied, ..before },
        None => planned,
    }
}

#[cfg(test)]
mod kinds_tests;
#[cfg(test)]
mod models_tests;
#[cfg(test)]
mod tests;
