//! Control of a stack by a test that runs inside it.

use std::{collections::BTreeMap, env, path::PathBuf, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};

use crate::{
    control::{Request, ask},
    http,
    process::{Order, Status},
};

/// The stack that this process runs in.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// let stack = tidegate_stack::Stack::attach()?;
/// stack.stop("kube-apiserver").await?;
/// stack.start("kube-apiserver").await?;
/// stack.kill("pod/demo/task-api-5d4f8").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Stack {
    socket: PathBuf,
}

impl Stack {
    /// Attaches to the stack that `stack run` named in the environment.
    pub fn attach() -> Result<Self> {
        let socket = env::var_os("TIDEGATE_STACK").context("TIDEGATE_STACK is not set: run this with `stack run`")?;
        Ok(Self { socket: socket.into() })
    }

    /// A client with all rights.
    pub async fn client(&self) -> Result<Client> {
        Ok(Client::try_default().await?)
    }

    /// Stops a process: SIGTERM, then SIGKILL after its grace period. It stays down until [`start`](Self::start).
    ///
    /// A name is that of a peer (`kube-apiserver`), `pod/NAMESPACE/NAME`, or `pod/NAMESPACE/NAME/CONTAINER`.
    pub async fn stop(&self, name: &str) -> Result<()> {
        self.order(Order::Stop, name).await
    }

    /// Starts a process that was stopped; returns before it is ready.
    pub async fn start(&self, name: &str) -> Result<()> {
        self.order(Order::Start, name).await
    }

    /// Kills a process with SIGKILL. It is started again, as after a crash.
    pub async fn kill(&self, name: &str) -> Result<()> {
        self.order(Order::Kill, name).await
    }

    /// [`stop`](Self::stop) and [`start`](Self::start).
    pub async fn restart(&self, name: &str) -> Result<()> {
        self.stop(name).await?;
        self.start(name).await
    }

    /// Returns the status of a process, of the containers of a pod, or of all processes if the name is empty.
    pub async fn status(&self, name: &str) -> Result<BTreeMap<String, Status>> {
        ask(&self.socket, &Request { order: None, name: name.to_owned() }).await
    }

    async fn order(&self, order: Order, name: &str) -> Result<()> {
        ask(&self.socket, &Request { order: Some(order), name: name.to_owned() }).await.map(drop)
    }
}

/// The addresses of the ready pods that `selector` selects, such as `app=task-api`.
pub async fn ready_pods(client: &Client, namespace: &str, selector: &str) -> Result<Vec<String>> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = pods.list(&ListParams::default().labels(selector)).await?;
    let address = |pod: Pod| {
        let status = pod.status.filter(|_| pod.metadata.deletion_timestamp.is_none())?;
        let ready = status.conditions?.iter().any(|c| c.type_ == "Ready" && c.status == "True");
        status.pod_ip.filter(|_| ready)
    };
    Ok(pods.items.into_iter().filter_map(address).collect())
}

/// Reads `/stats/prometheus` of the proxy pod at `ip`: each series, with its labels as written, and its value.
/// `filter` is a regular expression for Envoy's own names of statistics (`upstream_rq_total`).
pub async fn scrape(ip: &str, filter: &str) -> Result<BTreeMap<String, f64>> {
    let filter: String = filter.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let url = format!("http://{ip}:19001/stats/prometheus?usedonly&filter={filter}");
    let (status, body) = http::get(&url, Duration::from_secs(3)).await?;
    if status != 200 {
        bail!("{url} answered {status}");
    }
    Ok(series(&body))
}

fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_keep_their_labels() {
        let text = "# TYPE envoy_cluster_upstream_rq_total counter\n\
                    envoy_cluster_upstream_rq_total{envoy_cluster_name=\"httproute/demo/x/rule/0\"} 51\n";
        let name = "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"httproute/demo/x/rule/0\"}";
        assert_eq!(series(text), BTreeMap::from([(name.to_owned(), 51.0)]));
    }
}
