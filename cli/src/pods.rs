//! Each pod of Tidegate by itself, for what only one of them knows.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{cluster::Cluster, exit::Exit, tidegate::forwarded};

/// Asks the admin server of each pod of a release, through the API server.
pub(crate) async fn ask_each<T: DeserializeOwned>(
    cluster: &Cluster,
    namespace: &str,
    release: &str,
    port: u16,
    path: &str,
) -> Result<Vec<T>> {
    let labels = format!("app.kubernetes.io/name=tidegate,app.kubernetes.io/instance={release}");
    let api = Api::<Pod>::namespaced(cluster.client(), namespace);
    let pods = cluster.ask(api.list(&ListParams::default().labels(&labels))).await?;
    if pods.items.is_empty() {
        let where_it_is = "--system-namespace and --release say where it is";
        return Err(Exit::NoAnswer.with(format!("no pod of Tidegate in namespace {namespace}: {where_it_is}")).into());
    }
    let mut answers = Vec::new();
    for pod in &pods.items {
        let name = pod.name_any();
        let path = forwarded(namespace, &format!("pods/{name}:{port}"), path);
        let answer = cluster.get(&path).await?.text().with_context(|| format!("pod {name}"))?;
        answers.push(serde_json::from_str(&answer).with_context(|| format!("pod {name}"))?);
    }
    Ok(answers)
}
