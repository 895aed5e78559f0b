//! The API server's resource for each kind.

use std::{collections::BTreeMap, sync::Arc};

use kube::{
    Client,
    api::{ApiResource, GroupVersionKind},
};
use parking_lot::RwLock;
use tidegate_cluster::Kind;

/// The version of each kind that the API server serves, as the watches find it. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Resources(Arc<RwLock<BTreeMap<Kind, ApiResource>>>);

impl Resources {
    /// The kind in the served version, or in the preferred one while that is not known.
    pub(crate) fn get(&self, kind: Kind) -> ApiResource {
        self.0.read().get(&kind).cloned().unwrap_or_else(|| preferred(kind))
    }

    pub(crate) fn set(&self, kind: Kind, served: ApiResource) {
        self.0.write().insert(kind, served);
    }
}

/// The kind in the version that is preferred here, whether or not the API server serves it.
pub fn preferred(kind: Kind) -> ApiResource {
    resource(kind, kind.versions()[0])
}

/// The kind in the first of [its versions](Kind::versions) that the API server serves; `None` while it serves none.
pub async fn served(client: &Client, kind: Kind) -> Result<Option<ApiResource>, kube::Error> {
    for version in kind.versions() {
        let resource = resource(kind, version);
        let listed = if resource.group.is_empty() {
            client.list_core_api_resources(version).await
        } else {
            client.list_api_group_resources(&resource.api_version).await
        };
        let resources = match listed {
            Ok(list) => list.resources,
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(error),
        };
        if resources.iter().any(|listed| listed.name == resource.plural) {
            return Ok(Some(resource));
        }
    }
    Ok(None)
}

/// Whether the API server serves the scale subresource of a resource.
pub(crate) async fn has_scale(client: &Client, resource: &ApiResource) -> Result<bool, kube::Error> {
    let listed = client.list_api_group_resources(&resource.api_version).await?;
    let scale = format!("{}/scale", resource.plural);
    Ok(listed.resources.iter().any(|listed| listed.name == scale))
}

fn resource(kind: Kind, version: &str) -> ApiResource {
    let known = GroupVersionKind::gvk(kind.api_group(), version, kind.as_str());
    ApiResource::from_gvk_with_plural(&known, kind.plural())
}
