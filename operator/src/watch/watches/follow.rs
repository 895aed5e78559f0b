//! One watch: follows the objects of a kind, and waits for the kind while the API server does not serve it.

use std::{collections::HashSet, time::Duration};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, TypeMeta},
    runtime::{WatchStreamExt, watcher},
};
use tidegate_cluster::Kind;
use tokio::time::sleep;

use super::Watches;
use crate::{
    endpoints::EndpointBook,
    watch::{
        resource,
        state::{List, WatchState},
    },
    writer::explained,
};

/// Time between two checks whether a missing CRD was installed.
const CRD_RETRY: Duration = Duration::from_secs(10);
/// Label selector of the pods of Envoy Gateway's proxies, and of their ReplicaSets and DaemonSets.
const PROXIES: &str = "app.kubernetes.io/component=proxy,app.kubernetes.io/managed-by=envoy-gateway";
/// Label selector of the EndpointSlices that belong to a Service.
const OF_SERVICES: &str = "kubernetes.io/service-name";

impl Watches {
    pub(super) async fn watch(self, client: Client, list: List) {
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
