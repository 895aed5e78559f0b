//! `-l`: the rows whose objects have these labels, by the API server's own matching.

use std::collections::HashSet;

use kube::{
    Api, ResourceExt,
    api::{DynamicObject, ListParams},
};
use tidegate_scaler::overview::{Overview, OverviewRow};

use crate::{
    cluster::Cluster,
    exit::{Exit, Failure},
    object::ObjectKind,
};

/// Leaves the rows whose objects match the selector.
pub(super) async fn retain(
    overview: &mut Overview,
    selector: &str,
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<(), Failure> {
    let kinds: HashSet<_> = overview.rows().map(|row| row.kind.clone()).collect();
    let mut matching = HashSet::new();
    for kind in kinds {
        let found = matches(&kind, selector, cluster, namespace).await?;
        matching.extend(found.into_iter().map(|(namespace, name)| (kind.clone(), namespace, name)));
    }
    let is_one = |row: &OverviewRow| matching.contains(&(row.kind.clone(), row.namespace.clone(), row.name.clone()));
    overview.workloads.retain(is_one);
    overview.gateways.retain(is_one);
    Ok(())
}

/// Namespaces and names of the objects of a kind that match.
async fn matches(
    kind: &str,
    selector: &str,
    cluster: &Cluster,
    namespace: Option<&str>,
) -> Result<Vec<(String, String)>, Failure> {
    let unknown =
        |()| Exit::Wrong.with(format!("labels of a {kind} cannot be asked for: this command is older than Tidegate"));
    let resource = cluster.resource(&kind.parse::<ObjectKind>().map_err(unknown)?).await?;
    let objects: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client(), namespace, &resource),
        None => Api::all_with(cluster.client(), &resource),
    };
    let found = cluster.ask(objects.list_metadata(&ListParams::default().labels(selector))).await?;
    Ok(found.items.iter().map(|object| (object.namespace().unwrap_or_default(), object.name_any())).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{fixture::Fixture, fleet::fixture::overview};

    #[tokio::test]
    async fn rows_of_objects_that_the_api_server_matches_are_left() {
        let server = Fixture::start().await;
        let list = |names: &[&str]| {
            let items: Vec<_> =
                names.iter().map(|name| json!({"metadata": {"namespace": "shop", "name": name}})).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items})
        };
        let kinds = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "apps/v1", "resources": [
            {"name": "deployments", "singularName": "", "namespaced": true, "kind": "Deployment", "verbs": ["list"]},
            {"name": "statefulsets", "singularName": "", "namespaced": true, "kind": "StatefulSet", "verbs": ["list"]}]});
        server.has("/apis/apps/v1", &kinds);
        for (resource, names) in [("deployments", &["api", "other"][..]), ("statefulsets", &[])] {
            let path = format!("/apis/apps/v1/namespaces/shop/{resource}?&labelSelector=team%3Dpayments");
            server.has(&path, &list(names));
        }
        let mut rows = overview();
        rows.gateways.clear();
        retain(&mut rows, "team=payments", &server.cluster(), Some("shop")).await.unwrap();
        assert_eq!(rows.rows().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["api"]);
    }
}
