//! One watch: follows the objects of a kind, and waits for the kind while the API server does not serve it.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Map, Value};
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

/// Objects on a page of a list. All kinds are listed at the same time, and each holds a parsed page of whole objects meanwhile.
const PAGE: u32 = 100;
/// Time between two checks whether a missing CRD was installed.
const CRD_RETRY: Duration = Duration::from_secs(10);
/// Label selector of the pods of Envoy Gateway's proxies, and of their ReplicaSets and DaemonSets.
const PROXIES: &str = "app.kubernetes.io/component=proxy,app.kubernetes.io/managed-by=envoy-gateway";
/// Label selector of the EndpointSlices that belong to a Service.
const OF_SERVICES: &str = "kubernetes.io/service-name";

impl Watches {
    pub(super) async fn watch(self, client: Client, list: List) {
        loop {
            match resource::served(&client, list.0).await {
                Ok(Some(resource)) if !self.is_scalable(&client, &list, &resource).await => {}
                Ok(Some(resource)) => {
                    self.resources.set(list.0, resource.clone());
                    let api = match &list.1 {
                        None => Api::<DynamicObject>::all_with(client.clone(), &resource),
                        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                    };
                    self.follow(&list, api).await;
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

    /// Follows one list until its kind is gone. Its objects stay: one that is missing when the kind comes back was deleted with it.
    async fn follow(&self, list: &List, api: Api<DynamicObject>) {
        let kind = list.0;
        let config = match kind {
            Kind::DaemonSet if self.objects(|objects| objects.manageable().daemon_sets) => watcher::Config::default(),
            Kind::Pod | Kind::ReplicaSet | Kind::DaemonSet => watcher::Config::default().labels(PROXIES),
            Kind::EndpointSlice => watcher::Config::default().labels(OF_SERVICES),
            _ => watcher::Config::default(),
        };
        let mut events: BoxStream<'_, _> = watcher(api, config.page_size(PAGE)).default_backoff().boxed();
        let mut listed = HashMap::<_, HashSet<_>>::new();
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::Init)) => listed.clear(),
                Ok(Some(watcher::Event::InitApply(object))) => {
                    let (namespace, name) = key(&object);
                    listed.entry(namespace).or_default().insert(name);
                    self.apply(kind, object);
                }
                Ok(Some(watcher::Event::InitDone)) => {
                    let listed = std::mem::take(&mut listed);
                    let is_listed =
                        |namespace: &str, name: &str| listed.get(namespace).is_some_and(|names| names.contains(name));
                    self.addresses(kind, |endpoints| endpoints.keep_listed(list.1.as_deref(), is_listed));
                    self.objects.write().keep_listed(kind, list.1.as_deref(), is_listed);
                    self.set(list, WatchState::Synced);
                    self.changed.notify_one();
                }
                Ok(Some(watcher::Event::Apply(object))) => {
                    self.apply(kind, object);
                    self.set(list, WatchState::Synced);
                    self.changed.notify_one();
                }
                Ok(Some(watcher::Event::Delete(object))) => {
                    let (namespace, name) = key(&object);
                    self.addresses(kind, |endpoints| endpoints.remove(&namespace, &name));
                    self.objects.write().remove(kind, &namespace, &name);
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

    fn apply(&self, kind: Kind, mut object: DynamicObject) {
        if !kind.is_scaled() {
            object.managed_fields_mut().clear();
        }
        let (namespace, name) = key(&object);
        let applied = value(object)
            .map_err(|error| error.to_string())
            .inspect(|object| self.addresses(kind, |endpoints| endpoints.apply(object)))
            .and_then(|object| self.objects.write().apply_as(kind, object).map_err(|error| error.to_string()));
        if let Err(error) = applied {
            tracing::warn!(%kind, namespace, name, error, "cannot be read, its last form stays");
        }
    }

    fn addresses(&self, kind: Kind, change: impl FnOnce(&EndpointBook)) {
        if let (Kind::EndpointSlice, Some(endpoints)) = (kind, &self.endpoints) {
            change(endpoints);
        }
    }
}

/// The object as JSON. All but its metadata is moved: a copy of each page of a list would take as much memory as the page.
fn value(object: DynamicObject) -> serde_json::Result<Value> {
    let mut fields = if let Value::Object(fields) = object.data { fields } else { Map::new() };
    fields.insert("metadata".to_owned(), serde_json::to_value(object.metadata)?);
    Ok(Value::Object(fields))
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
