//! Each pod of Tidegate by itself, for what only one of them knows.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use crate::{args::PodsArgs, cluster::Cluster, exit::Exit, tidegate::Tidegate};

/// Asks the admin server of each pod of a release, through the API server.
pub(crate) async fn ask_each<T: DeserializeOwned>(cluster: &Cluster, args: &PodsArgs, path: &str) -> Result<Vec<T>> {
    let (namespace, release) = (&args.installed.system_namespace, &args.release);
    let labels = format!("app.kubernetes.io/name=tidegate,app.kubernetes.io/instance={release}");
    let api = Api::<Pod>::namespaced(cluster.client(), namespace);
    let pods = cluster.ask(api.list(&ListParams::default().labels(&labels))).await?;
    if pods.items.is_empty() {
        let where_it_is = "--system-namespace and --release say where it is";
        return Err(Exit::NoAnswer.with(format!("no pod of Tidegate in namespace {namespace}: {where_it_is}")).into());
    }
    let tidegate = Tidegate::in_cluster(cluster.clone(), &args.installed);
    let mut answers = Vec::new();
    for name in pods.items.iter().map(ResourceExt::name_any) {
        let pod = tidegate.to_pod(&name, args.admin.admin_port);
        answers.push(pod.json(path).await.with_context(|| format!("pod {name}"))?);
    }
    Ok(answers)
}
