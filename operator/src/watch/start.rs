//! Starts everything that follows the cluster.

use kube::Client;
use tidegate_core::{intent::Managed, workload::WorkloadKind};
use tokio::task::JoinSet;

use super::{Watches, serving, strangers};

/// Starts the watches, in all namespaces or in the given ones, until the result is dropped. `proxies` are the namespaces in which
/// Envoy Gateway runs the proxies of any Gateway.
///
/// `scaled` are the kinds of workload besides Deployments and StatefulSets that are scaled. One that the API server does not serve is
/// watched as soon as its CRD is installed.
///
/// `manageable` are the kinds besides Deployments and StatefulSets that may be managed. CronJobs are only watched in that case.
pub fn start(
    client: &Client,
    namespaces: &[String],
    proxies: &[String],
    manageable: Managed,
    scaled: &[WorkloadKind],
) -> (Watches, JoinSet<()>) {
    let (watches, mut tasks) = Watches::start(client, namespaces, proxies, manageable, scaled);
    tasks.spawn(serving::follow(client.clone(), watches.clone()));
    tasks.spawn(strangers::report(watches.clone()));
    (watches, tasks)
}
