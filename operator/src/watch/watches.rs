//! Feeds the index from the cluster, and publishes a Plan whenever something changed.
//!
//! A kind whose CRD is not installed is waited for. While the API server is unreachable everything stays as it was last seen: a
//! failed list removes nothing.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, TypeMeta},
    runtime::{WatchStreamExt, watcher},
};
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
    resource::{self, Resources},
    settings::{ConfigMapName, WatchSettings},
};
use crate::{endpoints::EndpointBook, metrics::PlanMetrics, writer::explained};

/// The state of the watch of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchState {
    /// The first list is under way
    Listing,
    /// Everything was seen once
    Synced,
    /// The API server does not know the kind
    WaitingForCrd,
    /// The API server serves the kind of workload without the scale subresource
    NotScalable,
    /// The watch fails
    Failing(String),
}

impl fmt::Display for WatchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listing => f.write_str("being listed"),
            Self::Synced => f.write_str("synced"),
            Self::WaitingForCrd => {
                f.write_str("the API server does not serve it; it is watched as soon as its CRD is installed")
            }
            Self::NotScalable => f.write_str(
                "the API server serves it without the scale subresource, so neither KEDA nor the HPA can scale it; take it off \
                 scaleKinds in the chart's values",
            ),
            Self::Failing(error) => write!(f, "{error}; what was seen stays"),
        }
    }
}

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

/// The scope of one watch: a kind in one of the namespaces that the watch is limited to, or everywhere.
type List = (Kind, Option<String>);

#[derive(Debug, Clone)]
struct Progress {
    state: WatchState,
    /// Whether everything was seen at least once, whatever has happened since
    seen: bool,
}

/// Pause before a Plan is made: changes come in bursts (a rollout, a re-list), and one Plan per burst is enough.
const SETTLE: Duration = Duration::from_millis(200);
/// Time between two checks whether a missing CRD was installed.
const CRD_RETRY: Duration = Duration::from_secs(10);
/// Label selector of the pods of Envoy Gateway's proxies, and of their ReplicaSets and DaemonSets.
const PROXIES: &str = "app.kubernetes.io/component=proxy,app.kubernetes.io/managed-by=envoy-gateway";
/// Label selector of the EndpointSlices that belong to a Service.
const OF_SERVICES: &str = "kubernetes.io/service-name";

/// Kinds that must be known before anything is acted on: a missing workload or default would look as if it had been removed.
const REQUIRED: [Kind; 5] =
    [Kind::Deployment, Kind::StatefulSet, Kind::Namespace, Kind::ScaledObject, Kind::HorizontalPodAutoscaler];

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
            lists: Arc::new(Mutex::new(
                lists.map(|list| (list, Progress { state: WatchState::Listing, seen: false })).collect(),
            )),
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
        let settled = |kind: Kind, progress: &Progress| match progress.state {
            WatchState::Synced => true,
            _ if progress.seen => true,
            WatchState::Listing => false,
            // A CRD that is not installed has no objects. A kind that may not be read at all is reported in /readyz, and only
            // waited for where acting without it could do harm.
            WatchState::WaitingForCrd | WatchState::NotScalable | WatchState::Failing(_) => !REQUIRED.contains(&kind),
        };
        let missing = self.progress().into_iter().filter(|((kind, _), progress)| !settled(*kind, progress));
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
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Objects) -> T) -> T {
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

    async fn watch(self, client: Client, list: List) {
        // Kept while the kind is gone: an object that is missing when the kind comes back was deleted with it.
        let mut known = HashSet::new();
        loop {
            match resource::served(&client, list.0).await {
                Ok(Some(resource)) if !self.is_scalable(&client, &list, &resource).await => {}
                Ok(Some(resource)) => {
                    self.resources.set(list.0, resource.clone());
                    let api = match &list.1 {
                        None => Api::<DynamicObject>::all_with(client.clone(), &resource),
                        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                    };
                    self.follow(&list, &resource, api, &mut known).await;
                }
                Ok(None) => self.set(&list, WatchState::WaitingForCrd),
                Err(error) => self.set(&list, WatchState::Failing(explained(&error))),
            }
            sleep(CRD_RETRY).await;
        }
    }

    /// Whether a kind that is to be scaled has the scale subresource; otherwise the state of the watch says so.
    async fn is_scalable(&self, client: &Client, list: &List, resource: &ApiResource) -> bool {
        if !matches!(list.0, Kind::Scaled(_)) {
            return true;
        }
        match resource::has_scale(client, resource).await {
            Ok(true) => return true,
            Ok(false) => self.set(list, WatchState::NotScalable),
            Err(error) => self.set(list, WatchState::Failing(explained(&error))),
        }
        false
    }

    /// Follows one list until its kind is gone.
    async fn follow(
        &self,
        list: &List,
        resource: &ApiResource,
        api: Api<DynamicObject>,
        known: &mut HashSet<(String, String)>,
    ) {
        let kind = list.0;
        let config = match kind {
            Kind::DaemonSet if self.objects(|objects| objects.manageable().daemon_sets) => watcher::Config::default(),
            Kind::Pod | Kind::ReplicaSet | Kind::DaemonSet => watcher::Config::default().labels(PROXIES),
            Kind::EndpointSlice => watcher::Config::default().labels(OF_SERVICES),
            _ => watcher::Config::default(),
        };
        let mut events: BoxStream<'_, _> = watcher(api, config).default_backoff().boxed();
        let mut listed = HashSet::new();
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::Init)) => listed.clear(),
                Ok(Some(watcher::Event::InitApply(object))) => {
                    listed.insert(key(&object));
                    self.apply(kind, resource, object);
                }
                Ok(Some(watcher::Event::InitDone)) => {
                    for (namespace, name) in known.difference(&listed) {
                        self.remove(kind, namespace, name);
                    }
                    *known = std::mem::take(&mut listed);
                    self.set(list, WatchState::Synced);
                    self.changed.notify_one();
                }
                Ok(Some(watcher::Event::Apply(object))) => {
                    known.insert(key(&object));
                    self.apply(kind, resource, object);
                    self.set(list, WatchState::Synced);
                    self.changed.notify_one();
                }
                Ok(Some(watcher::Event::Delete(object))) => {
                    let (namespace, name) = key(&object);
                    self.remove(kind, &namespace, &name);
                    known.remove(&(namespace, name));
                    self.changed.notify_one();
                }
                Ok(None) => return,
                Err(error) => {
                    let (gone, error) = told(&error);
                    self.set(list, WatchState::Failing(error));
                    if gone {
                        return;
                    }
                }
            }
        }
    }

    fn apply(&self, kind: Kind, resource: &ApiResource, mut object: DynamicObject) {
        // The items of a list do not name their own version and kind.
        object.types = Some(TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
        if !kind.is_scaled() {
            object.managed_fields_mut().clear();
        }
        let name = object.name_any();
        let applied = serde_json::to_value(&object)
            .map_err(|error| error.to_string())
            .inspect(|object| self.addresses(kind, |endpoints| endpoints.apply(object)))
            .and_then(|object| self.objects.write().apply_as(kind, object).map_err(|error| error.to_string()));
        if let Err(error) = applied {
            tracing::warn!(%kind, namespace = object.namespace(), name, error, "cannot be read, its last form stays");
        }
    }

    fn addresses(&self, kind: Kind, change: impl FnOnce(&EndpointBook)) {
        if let (Kind::EndpointSlice, Some(endpoints)) = (kind, &self.endpoints) {
            change(endpoints);
        }
    }

    fn remove(&self, kind: Kind, namespace: &str, name: &str) {
        self.addresses(kind, |endpoints| endpoints.remove(namespace, name));
        self.objects.write().remove(kind, namespace, name);
    }
}

fn key(object: &DynamicObject) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Whether the kind is gone, and the error as a sentence.
fn told(error: &watcher::Error) -> (bool, String) {
    match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => {
            (matches!(cause, kube::Error::Api(status) if status.code == 404), explained(cause))
        }
        watcher::Error::WatchError(status) => (false, status.message.clone()),
        watcher::Error::NoResourceVersion => (false, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::workload::WorkloadKind;

    use super::*;

    fn watches(lists: &[(Kind, &str, WatchState)]) -> Watches {
        let list = |(kind, namespace, _): &(Kind, &str, WatchState)| {
            let namespace = (!namespace.is_empty()).then(|| (*namespace).to_owned());
            ((*kind, namespace), Progress { state: WatchState::Listing, seen: false })
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
