//! The only way to write to the cluster: while this replica leads, and no longer.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};
use tidegate_cluster::Kind;
use tokio::time::timeout;

use crate::{lease::Leadership, watch::resource::Resources};

/// The owner of our fields in server-side apply.
pub(crate) const FIELD_MANAGER: &str = "tidegate";
/// How long a write may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A client, and the leadership without which it writes nothing.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
    resources: Resources,
}

/// A write that did not happen, or whose outcome is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwritten {
    /// No failure: another replica does the write
    #[error("this replica does not lead")]
    NotLeading,
    #[error("no answer within {DEADLINE:?}")]
    NoAnswer,
    #[error("{}", explained(.0))]
    Refused(kube::Error),
}

impl Writer {
    /// A writer that checks this leadership before each write, and writes to the versions that are watched.
    pub fn new(client: Client, leadership: Leadership, resources: Resources) -> Self {
        Self { client, leadership, resources }
    }

    /// Whether this replica leads at this moment.
    pub fn may_write(&self) -> bool {
        self.leadership.may_write()
    }

    /// The leadership, to wait for a change of it.
    pub(crate) fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The API of a kind in a namespace, or of the whole cluster when that is empty.
    pub(crate) fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        let resource = self.resources.get(kind);
        match namespace {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }

    /// Applies the fields that `manager` owns of an object (server-side apply), within the deadline and while this replica leads.
    pub(crate) async fn apply(
        &self,
        kind: Kind,
        namespace: &str,
        manager: &str,
        object: Value,
    ) -> Result<(), Unwritten> {
        self.write(self.request_apply(kind, namespace, manager, object)).await
    }

    /// As [`Self::apply`], for the object's status.
    pub(crate) async fn apply_status(&self, kind: Kind, manager: &str, object: Value) -> Result<(), Unwritten> {
        let (api, name) = (self.api(kind, ""), name(&object));
        let (params, object) = (PatchParams::apply(manager).force(), self.typed(kind, object));
        self.write(api.patch_status(&name, &params, &Patch::Apply(&object))).await.map(drop)
    }

    /// The request of [`Self::apply`], for a caller that carries out several as one write.
    pub(crate) async fn request_apply(
        &self,
        kind: Kind,
        namespace: &str,
        manager: &str,
        object: Value,
    ) -> Result<(), kube::Error> {
        let (api, name) = (self.api(kind, namespace), name(&object));
        let (params, object) = (PatchParams::apply(manager).force(), self.typed(kind, object));
        api.patch(&name, &params, &Patch::Apply(&object)).await.map(drop)
    }

    /// Changes an existing object by a merge patch, which removes what is null.
    pub(crate) async fn merge(&self, kind: Kind, namespace: &str, object: &Value) -> Result<(), Unwritten> {
        let (api, name) = (self.api(kind, namespace), name(object));
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        self.write(api.patch(&name, &params, &Patch::Merge(object))).await.map(drop)
    }

    /// Sets annotations, and removes those that are null. An object that was deleted meanwhile is no error.
    pub(crate) async fn annotate(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        annotations: &Value,
    ) -> Result<(), Unwritten> {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
        let (api, params) = (self.api(kind, namespace), PatchParams::default());
        ignoring(&[404], self.write(api.patch(name, &params, &patch)).await)
    }

    /// Deletes the object with this UID. If it is gone, or another object has its name by now, that is no error.
    pub(crate) async fn delete(&self, kind: Kind, namespace: &str, name: &str, uid: String) -> Result<(), Unwritten> {
        let preconditions = Some(Preconditions { uid: Some(uid), ..Preconditions::default() });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        let api = self.api(kind, namespace);
        ignoring(&[404, 409], self.write(api.delete(name, &params)).await)
    }

    /// Sets `apiVersion` and `kind` of an object to the version that is written to.
    pub(crate) fn typed(&self, kind: Kind, mut object: Value) -> Value {
        let resource = self.resources.get(kind);
        object["apiVersion"] = resource.api_version.into();
        object["kind"] = resource.kind.into();
        object
    }

    /// Carries out a write within its deadline. Leadership is checked before every step of it: a write that reads first, and is
    /// frozen then, does not go on to write.
    pub(crate) async fn write<T>(&self, write: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Unwritten> {
        let mut write = pin!(write);
        let fenced = poll_fn(|context| {
            if self.may_write() {
                write.as_mut().poll(context).map_err(Unwritten::Refused)
            } else {
                Poll::Ready(Err(Unwritten::NotLeading))
            }
        });
        timeout(DEADLINE, fenced).await.unwrap_or(Err(Unwritten::NoAnswer))
    }
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn ignoring<T>(codes: &[u16], written: Result<T, Unwritten>) -> Result<(), Unwritten> {
    match written {
        Err(Unwritten::Refused(kube::Error::Api(status))) if codes.contains(&status.code) => Ok(()),
        written => written.map(drop),
    }
}

/// The text of an error, for people.
pub(crate) fn explained(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use kube::api::ApiResource;
    use tokio::time::{advance, sleep};

    use super::*;
    use crate::fixture::{Scenario, context};
    use crate::watch::resource::preferred;

    #[tokio::test(start_paused = true)]
    async fn a_write_that_reads_first_and_is_frozen_then_does_not_go_on() {
        let (_server, term, context) = context();
        let writer = context.writer;
        term.begin();
        advance(Duration::from_secs(5)).await;
        let mut wrote = false;
        let outcome = writer
            .write(async {
                sleep(Duration::from_secs(6)).await;
                wrote = true;
                Ok(())
            })
            .await;
        assert!(matches!(outcome, Err(Unwritten::NotLeading)));
        assert!(!wrote);
    }

    /// The outcomes of `apply`, `annotate` and `delete`, and the writes that arrived.
    async fn each_write_when(scenario: Scenario) -> ([Result<(), String>; 3], Vec<String>) {
        let (server, term, context) = context();
        term.begin();
        server.play(scenario);
        let writer = context.writer;
        let object = || json!({"metadata": {"name": "api"}, "spec": {}});
        let text = |outcome: Result<(), Unwritten>| outcome.map_err(|error| error.to_string());
        let apply = text(writer.apply(Kind::ScaledObject, "shop", FIELD_MANAGER, object()).await);
        term.begin();
        let annotate = text(writer.annotate(Kind::ScaledObject, "shop", "api", &json!({"a": "b"})).await);
        term.begin();
        let delete = text(writer.delete(Kind::ScaledObject, "shop", "api", "uid-1".to_owned()).await);
        ([apply, annotate, delete], server.writes())
    }

    #[tokio::test(start_paused = true)]
    async fn each_write_names_its_object_and_carries_the_version_that_is_served() {
        let (server, term, context) = context();
        term.begin();
        let writer = context.writer;
        let gateway = ApiResource {
            version: "v1beta1".into(),
            api_version: "gateway.networking.k8s.io/v1beta1".into(),
            ..preferred(Kind::Gateway)
        };
        context.watches.resources().set(Kind::Gateway, gateway);
        writer.apply(Kind::Gateway, "edge", "tidegate-status", json!({"metadata": {"name": "web"}})).await.unwrap();
        let path = "/apis/gateway.networking.k8s.io/v1beta1/namespaces/edge/gateways/web";
        assert_eq!(server.writes(), [format!("PATCH {path}")]);
        assert_eq!(server.object(path)["apiVersion"], "gateway.networking.k8s.io/v1beta1");
        assert_eq!(server.object(path)["kind"], "Gateway");
    }

    #[tokio::test(start_paused = true)]
    async fn a_permission_that_is_missing_is_an_error_of_every_write() {
        let (outcomes, writes) = each_write_when(Scenario::Answers(StatusCode::FORBIDDEN)).await;
        assert!(
            outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.contains("403"))),
            "{outcomes:?}"
        );
        assert_eq!(writes.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_is_gone_cannot_be_applied_to_and_needs_no_annotation_and_no_deletion() {
        let ([apply, annotate, delete], _) = each_write_when(Scenario::Answers(StatusCode::NOT_FOUND)).await;
        assert!(apply.is_err_and(|error| error.contains("404")));
        assert_eq!((annotate, delete), (Ok(()), Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn another_object_of_the_name_is_not_deleted_and_a_conflict_is_an_error_of_all_else() {
        let ([apply, annotate, delete], _) = each_write_when(Scenario::Answers(StatusCode::CONFLICT)).await;
        assert!(apply.is_err() && annotate.is_err());
        assert_eq!(delete, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_not_answered_ends_at_its_deadline() {
        // It leads until 10 s after the last renewal, which is the deadline of a write, too: either may end it first.
        let (outcomes, _) = each_write_when(Scenario::IsSilent).await;
        let ended = ["no answer within 10s", "this replica does not lead"];
        for outcome in outcomes {
            assert!(outcome.as_ref().is_err_and(|error| ended.contains(&&**error)), "{outcome:?}");
        }
    }
}
