//! Feeds the index from the cluster, and publishes a Plan whenever something changed.
//!
//! A kind whose CRD is not installed is waited for. While the API server is unreachable everything stays as it was last seen: a
//! failed list removes nothing.

mod follow;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::Client;
use parking_lot::{Mutex, RwLock};
use prometheus_client::registry::Registry;
use tidegate_cluster::{Kind, Objects};
use tidegate_core::plan::Plan;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    resource::Resources,
    settings::{ConfigMapName, WatchSettings},
    state::{List, Progress, WatchState},
};
use crate::{endpoints::EndpointBook, metrics::PlanMetrics};

/// The objects of the cluster, kept up to date by watches.
#[derive(Clone, Default)]
pub struct Watches {
    objects: Arc<RwLock<Objects>>,
    lists: Arc<Mutex<BTreeMap<List, Progress>>>,
    resources: Resources,
    changed: Arc<Notify>,
    /// Number of state changes of the watches: after each, a Plan that waited for a watch may be due
    switched: Arc<AtomicU64>,
    metrics: PlanMetrics,
    plan: watch::Sender<Option<Arc<Plan>>>,
    /// The addresses in EndpointSlices, where somebody uses them
    endpoints: Option<EndpointBook>,
    /// Configurations of Envoy Gateway that were not asked for yet
    unread: Arc<Mutex<Vec<ConfigMapName>>>,
}

/// Pause before a Plan is made: changes come in bursts (a rollout, a re-list), and one Plan per burst is enough.
const SETTLE: Duration = Duration::from_millis(200);

impl Watches {
    /// Starts the watches of all kinds; [`start`](super::start()) explains the arguments.
    pub(super) fn start(client: &Client, settings: &WatchSettings) -> (Self, JoinSet<()>) {
        let watches = Self::new(settings);
        let mut tasks = JoinSet::new();
        for list in watches.progress().into_keys() {
            tasks.spawn(watches.clone().watch(client.clone(), list));
        }
        tasks.spawn(watches.clone().publish());
        (watches, tasks)
    }

    /// Watches that are not started yet.
    pub(super) fn new(settings: &WatchSettings) -> Self {
        let WatchSettings { namespaces, manageable, scaled, .. } = settings;
        let everywhere = || vec![None];
        let kinds = Kind::ALL.iter().copied().filter(|kind| manageable.cron_jobs || *kind != Kind::CronJob);
        let kinds = kinds.chain(scaled.iter().copied().map(Kind::of_workload));
        let lists = kinds.flat_map(|kind| {
            let limited = kind.namespaced() && !namespaces.is_empty();
            let within = if limited { namespaces.iter().cloned().map(Some).collect() } else { everywhere() };
            within.into_iter().map(move |namespace| (kind, namespace))
        });
        let watches = Self {
            objects: Arc::default(),
            lists: Arc::new(Mutex::new(lists.map(|list| (list, Progress::listing())).collect())),
            unread: Arc::new(Mutex::new(settings.config_maps.clone())),
            endpoints: settings.endpoints.clone(),
            ..Self::default()
        };
        watches.change(|objects| {
            objects.set_proxy_namespaces(settings.proxies.clone());
            objects.set_controller_names(settings.controller_names.clone());
            objects.set_manageable(*manageable);
            objects.set_activates(settings.endpoints.is_some());
            // Each of the others once it was seen: until then nobody knows which of its objects exist.
            objects.set_scaled_kinds(&[]);
        });
        watches
    }

    /// The newest Plan; `None` until every required list was seen once. It is not an empty Plan until then: that would look as if
    /// everything had been removed.
    pub fn plan(&self) -> watch::Receiver<Option<Arc<Plan>>> {
        self.plan.subscribe()
    }

    /// Reads the objects as they are known now.
    pub fn objects<T>(&self, read: impl FnOnce(&Objects) -> T) -> T {
        read(&self.objects.read())
    }

    /// Registers the metrics of Plans: how many are made, and how long that takes.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }

    /// The version of each kind that is watched.
    pub fn resources(&self) -> Resources {
        self.resources.clone()
    }

    /// Every watch: the kind, the namespace that it is limited to, and its state.
    pub fn states(&self) -> Vec<(Kind, Option<String>, WatchState)> {
        self.progress().into_iter().map(|((kind, namespace), progress)| (kind, namespace, progress.state)).collect()
    }

    /// The lists that must be seen before anything is acted on, and were not yet. A list that was seen once is known, even while
    /// its watch fails.
    pub fn missing(&self) -> Vec<(Kind, Option<String>, WatchState)> {
        let missing = self.progress().into_iter().filter(|((kind, _), progress)| !progress.is_enough(*kind));
        missing.map(|((kind, namespace), progress)| (kind, namespace, progress.state)).collect()
    }

    /// Whether it is not known yet whether there is a configuration of Envoy Gateway, which decides what its Gateways are.
    pub fn awaits_configuration(&self) -> bool {
        !self.unread.lock().is_empty()
    }

    /// Notes that a configuration was asked for, and is known if it can be.
    pub(super) fn configured(&self, config_map: &ConfigMapName) {
        self.unread.lock().retain(|unread| unread != config_map);
        self.changed.notify_one();
    }

    /// Changes the known objects, and triggers a new Plan.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Objects) -> T) -> T {
        let changed = change(&mut self.objects.write());
        self.changed.notify_one();
        changed
    }

    fn progress(&self) -> BTreeMap<List, Progress> {
        self.lists.lock().clone()
    }

    async fn publish(self) {
        let (mut took, mut planned) = (Duration::ZERO, None);
        loop {
            self.changed.notified().await;
            // In a cluster that is so large that a Plan takes long, and where something changes all the time, planning must
            // not take all of a core.
            sleep(SETTLE.max(took * 4)).await;
            if !self.missing().is_empty() || self.awaits_configuration() {
                continue;
            }
            // Most changes are of a status that nothing here reads.
            let version = (self.objects.read().revision(), self.switched.load(Ordering::Relaxed));
            if planned == Some(version) {
                continue;
            }
            let objects = Arc::clone(&self.objects);
            let started = Instant::now();
            let made = tokio::task::spawn_blocking(move || objects.read().plan());
            // If planning panicked, the previous Plan stays.
            if let Ok(plan) = made.await {
                took = started.elapsed();
                planned = Some(version);
                self.metrics.planned(took);
                self.plan.send_replace(Some(Arc::new(plan)));
            }
        }
    }

    fn set(&self, list: &List, state: WatchState) {
        let mut lists = self.lists.lock();
        let Some(progress) = lists.get_mut(list) else { return };
        let changed = progress.state != state;
        if changed && let WatchState::Failing(error) = &state {
            tracing::warn!(kind = %list.0, namespace = list.1, error, "the watch fails; what was seen stays");
        }
        progress.seen |= state == WatchState::Synced;
        progress.state = state;
        let seen =
            |kind: Kind| lists.iter().filter(|((listed, _), _)| *listed == kind).all(|(_, progress)| progress.seen);
        let scaled = if let (Kind::Scaled(kind), true) = (list.0, changed && seen(list.0)) { Some(kind) } else { None };
        drop(lists);
        if let Some(kind) = scaled {
            self.objects.write().add_scaled_kind(kind);
        }
        if changed {
            self.switched.fetch_add(1, Ordering::Relaxed);
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::workload::WorkloadKind;

    use super::*;

    fn watches(lists: &[(Kind, &str, WatchState)]) -> Watches {
        let list = |(kind, namespace, _): &(Kind, &str, WatchState)| {
            let namespace = (!namespace.is_empty()).then(|| (*namespace).to_owned());
            ((*kind, namespace), Progress::listing())
        };
        let watches = Watches { lists: Arc::new(Mutex::new(lists.iter().map(list).collect())), ..Watches::default() };
        for entry in lists {
            watches.set(&list(entry).0, entry.2.clone());
        }
        watches
    }

    fn failing() -> WatchState {
        WatchState::Failing("forbidden".to_owned())
    }

    fn missing(lists: &[(Kind, &str, WatchState)]) -> Vec<(Kind, Option<String>)> {
        watches(lists).missing().into_iter().map(|(kind, namespace, _)| (kind, namespace)).collect()
    }

    #[test]
    fn what_is_still_being_listed_is_waited_for_whatever_it_is() {
        let lists = [(Kind::Deployment, "", WatchState::Synced), (Kind::TcpRoute, "", WatchState::Listing)];
        assert_eq!(missing(&lists), [(Kind::TcpRoute, None)]);
    }

    #[test]
    fn a_kind_that_is_not_installed_is_waited_for_only_where_acting_without_it_does_harm() {
        let lists =
            [(Kind::TcpRoute, "", WatchState::WaitingForCrd), (Kind::ScaledObject, "", WatchState::WaitingForCrd)];
        assert_eq!(missing(&lists), [(Kind::ScaledObject, None)]);
    }

    #[test]
    fn a_kind_of_workload_is_scaled_once_it_was_seen_in_every_namespace_and_holds_up_nothing_until_then() {
        let rollouts = Kind::of_workload(WorkloadKind::Rollout);
        let watches = watches(&[(rollouts, "a", WatchState::Synced), (rollouts, "b", failing())]);
        assert_eq!(watches.missing(), []);
        watches.change(|objects| objects.set_scaled_kinds(&[]));
        let scales = || watches.objects(|objects| objects.scales(WorkloadKind::Rollout));
        watches.set(&(rollouts, Some("b".to_owned())), WatchState::NotScalable);
        assert!(!scales());
        watches.set(&(rollouts, Some("b".to_owned())), WatchState::Synced);
        assert!(scales());
    }

    #[test]
    fn each_namespace_is_waited_for_on_its_own() {
        let lists = [(Kind::Deployment, "a", WatchState::Synced), (Kind::Deployment, "b", failing())];
        assert_eq!(missing(&lists), [(Kind::Deployment, Some("b".to_owned()))]);
    }

    #[test]
    fn what_was_seen_once_is_known_while_its_watch_fails() {
        let watches = watches(&[(Kind::Deployment, "", WatchState::Synced)]);
        watches.set(&(Kind::Deployment, None), failing());
        assert_eq!(watches.missing(), []);
        assert_eq!(watches.states(), [(Kind::Deployment, None, failing())]);
    }
}
