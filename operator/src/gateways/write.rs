//! The writes: server-side apply, the making of an EnvoyProxy, and the giving up of one.

use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tidegate_core::{
    fleet::{EnvoyProxyId, GatewayId},
    plan::ADOPTED_REPLICAS,
};

use super::object;
use crate::{api::FIELD_MANAGER, index::Kind};

/// The owners in server-side apply of the link of a Gateway to its EnvoyProxy, and of its status, besides that of the numbers:
/// who applies owns just what was in the last apply.
const LINK_MANAGER: &str = "tidegate-link";
pub(super) const STATUS_MANAGER: &str = "tidegate-status";

/// Server-side apply, by this owner.
pub(super) async fn patch(
    api: Api<DynamicObject>,
    name: &str,
    manager: &str,
    object: Value,
) -> Result<(), kube::Error> {
    api.patch(name, &PatchParams::apply(manager).force(), &Patch::Apply(&object)).await.map(drop)
}

/// Makes an EnvoyProxy for a Gateway, unless it was made before, and links it.
pub(super) async fn give_envoy_proxy(client: &Client, id: &GatewayId, uid: &str) -> Result<(), kube::Error> {
    let api = envoy_proxies(client, &id.namespace);
    let own = object::own_envoy_proxy(id);
    if let Some(there) = api.get_opt(&own.name).await? {
        if object::is_created(there.labels()) {
            return patch(gateways(client, &id.namespace), &id.name, LINK_MANAGER, object::link(id)).await;
        }
        let message =
            format!("{own} exists already: name it in spec.infrastructure.parametersRef, or call it otherwise");
        let status = kube::core::Status::failure(&message, "AlreadyExists").with_code(409);
        return Err(kube::Error::Api(Box::new(status)));
    }
    let object: DynamicObject = serde_json::from_value(object::created(id, uid)).map_err(kube::Error::SerdeError)?;
    let params = PostParams { field_manager: Some(LINK_MANAGER.to_owned()), ..PostParams::default() };
    api.create(&params, &object).await?;
    tracing::info!(gateway = %id, "made an EnvoyProxy");
    patch(gateways(client, &id.namespace), &id.name, LINK_MANAGER, object::link(id)).await
}

/// Gives up the ownership of the numbers, which stay as they are: server-side apply would take away what nobody else owns.
pub(super) async fn release(client: &Client, id: &EnvoyProxyId) -> Result<(), kube::Error> {
    let api = envoy_proxies(client, &id.namespace);
    let Some(object) = api.get_opt(&id.name).await? else { return Ok(()) };
    let others = object.managed_fields().iter().filter(|entry| entry.manager.as_deref() != Some(FIELD_MANAGER));
    let mut others = serde_json::to_value(others.collect::<Vec<_>>()).map_err(kube::Error::SerdeError)?;
    if others.as_array().is_some_and(Vec::is_empty) {
        // An empty list would be ignored; one empty entry says that nobody owns anything.
        others = json!([{}]);
    }
    let change = json!({ "metadata": {
        "resourceVersion": object.resource_version(),
        "managedFields": others,
        "annotations": { ADOPTED_REPLICAS: Value::Null },
    } });
    api.patch(
        &id.name,
        &PatchParams { field_manager: Some(LINK_MANAGER.to_owned()), ..PatchParams::default() },
        &Patch::Merge(change),
    )
    .await?;
    tracing::info!(%id, "no annotated Gateway uses it any more: its number of proxies stays, and is its owner's again");
    Ok(())
}

pub(super) fn envoy_proxies(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &Kind::EnvoyProxy.resource())
}

pub(super) fn gateways(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &Kind::Gateway.resource())
}
