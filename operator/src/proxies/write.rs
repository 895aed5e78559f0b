//! The requests of each step: server-side apply, the creation of an EnvoyProxy, and its release.

use kube::{
    ResourceExt,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tidegate_cluster::Kind;
use tidegate_core::{
    fleet::{EnvoyProxyId, GatewayId},
    plan::ADOPTED_REPLICAS,
};

use super::{object, steps::Step};
use crate::writer::{FIELD_MANAGER, Writer};

/// Field managers of the link of a Gateway to its EnvoyProxy, and of its status, besides the one of the numbers: in server-side
/// apply, a manager owns only the fields of its last apply.
const LINK_MANAGER: &str = "tidegate-link";
const STATUS_MANAGER: &str = "tidegate-status";

/// Carries out one step. It may take several requests.
pub(super) async fn request(writer: &Writer, step: Step) -> Result<(), kube::Error> {
    match step {
        Step::Scale { envoy_proxy, numbers, adopted } => {
            tracing::info!(%envoy_proxy, ?numbers, "sets the number of proxies");
            let object = object::envoy_proxy(&envoy_proxy, numbers, &adopted);
            writer.request_apply(Kind::EnvoyProxy, &envoy_proxy.namespace, FIELD_MANAGER, object).await
        }
        Step::Status { gateway, status } => {
            let object = object::with_status(&gateway, status.as_deref());
            writer.request_apply(Kind::Gateway, &gateway.namespace, STATUS_MANAGER, object).await
        }
        Step::Create { gateway, uid } => give_envoy_proxy(writer, &gateway, &uid).await,
        Step::Release(envoy_proxy) => release(writer, &envoy_proxy).await,
    }
}

/// Creates an EnvoyProxy for a Gateway, unless it was created before, and links it.
async fn give_envoy_proxy(writer: &Writer, id: &GatewayId, uid: &str) -> Result<(), kube::Error> {
    let api = writer.api(Kind::EnvoyProxy, &id.namespace);
    let own = object::own_envoy_proxy(id);
    if let Some(there) = api.get_opt(&own.name).await? {
        if object::is_created(there.labels()) {
            return link(writer, id).await;
        }
        let message =
            format!("{own} exists already: name it in spec.infrastructure.parametersRef, or call it otherwise");
        let status = kube::core::Status::failure(&message, "AlreadyExists").with_code(409);
        return Err(kube::Error::Api(Box::new(status)));
    }
    let object: DynamicObject = serde_json::from_value(writer.typed(Kind::EnvoyProxy, object::created(id, uid)))
        .map_err(kube::Error::SerdeError)?;
    let params = PostParams { field_manager: Some(LINK_MANAGER.to_owned()), ..PostParams::default() };
    api.create(&params, &object).await?;
    tracing::info!(gateway = %id, "created an EnvoyProxy");
    link(writer, id).await
}

/// Gives up the ownership of the numbers, which stay as they are: server-side apply would remove fields that nobody else owns.
async fn release(writer: &Writer, id: &EnvoyProxyId) -> Result<(), kube::Error> {
    let api = writer.api(Kind::EnvoyProxy, &id.namespace);
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

async fn link(writer: &Writer, id: &GatewayId) -> Result<(), kube::Error> {
    writer.request_apply(Kind::Gateway, &id.namespace, LINK_MANAGER, object::link(id)).await
}
