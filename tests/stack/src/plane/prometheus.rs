//! A Prometheus at `http://prometheus.monitoring.svc:9090` that scrapes the proxy pods, AI gateways beside them, and Tidegate's pods, every
//! second.

use std::{fs, net::Ipv4Addr, path::PathBuf, time::Duration};

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use crate::{http, plane::apply};

use super::Plane;

/// An address of the fake pods' range, which any process may bind.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 255, 253);
/// The container of Envoy AI Gateway beside an Envoy.
const AI_GATEWAY: &str = "ai-gateway-extproc";

/// Pods that are scraped alike.
struct Job {
    name: &'static str,
    /// The selector of the pods' labels.
    pods: &'static str,
    /// Whether a metric's own labels take precedence over those of its target, as in the chart's ServiceMonitor.
    honor_labels: bool,
    targets: fn(&Pod) -> Vec<Value>,
}

static JOBS: [Job; 2] = [
    Job {
        name: "proxies",
        pods: "app.kubernetes.io/component=proxy,app.kubernetes.io/managed-by=envoy-gateway",
        honor_labels: false,
        targets: of_proxy,
    },
    Job { name: "tidegate", pods: "app.kubernetes.io/name=tidegate", honor_labels: true, targets: of_tidegate },
];

/// Starts Prometheus.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    let file = |job: &Job| plane.state.join(format!("prometheus-{}.json", job.name));
    for job in &JOBS {
        fs::write(file(job), "[]")?;
    }
    let scraped = |job: &Job| {
        json!({
            "job_name": job.name,
            "honor_labels": job.honor_labels,
            "file_sd_configs": [{ "files": [file(job)], "refresh_interval": "1s" }],
        })
    };
    let config = plane.state.join("prometheus.yaml");
    let text = json!({
        "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
        "scrape_configs": JOBS.each_ref().map(scraped),
    });
    fs::write(&config, text.to_string())?;
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", plane.state.join("prometheus").display()),
        format!("--web.listen-address={ADDRESS}:9090"),
        "--log.level=warn".to_owned(),
    ];
    plane.start("prometheus", &arguments, &[])?;
    for job in &JOBS {
        tokio::spawn(follow(job, client.clone(), file(job)));
    }
    expose(client).await?;
    let health = format!("http://{ADDRESS}:9090/-/ready");
    plane
        .ready("prometheus", async || {
            let (status, _) = http::get(&health, Duration::from_secs(1)).await?;
            Ok((status == 200).then_some(()))
        })
        .await
}

/// Keeps the list of a job's pods that Prometheus reads up to date.
async fn follow(job: &Job, client: Client, file: PathBuf) {
    let pods: Api<Pod> = Api::all(client);
    let mut written = Vec::new();
    loop {
        // A list or a write that fails is tried again.
        if let Ok(list) = pods.list(&ListParams::default().labels(job.pods)).await {
            let targets: Vec<Value> = list.items.iter().flat_map(job.targets).collect();
            if targets != written && fs::write(&file, Value::from(targets.clone()).to_string()).is_ok() {
                written = targets;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn address(pod: &Pod) -> Option<&String> {
    pod.status.as_ref().and_then(|status| status.pod_ip.as_ref())
}

/// The admin port of a pod of Tidegate.
fn of_tidegate(pod: &Pod) -> Vec<Value> {
    let labels = json!({ "namespace": pod.namespace(), "pod": pod.name_any() });
    let target = |address: &String| json!({ "targets": [format!("{address}:8080")], "labels": labels });
    address(pod).map(target).into_iter().collect()
}

/// Targets of a proxy's pod: the proxy, and its AI gateway if it has one.
fn of_proxy(pod: &Pod) -> Vec<Value> {
    let Some(address) = address(pod) else { return Vec::new() };
    let target = |port: u16, path: &str| {
        let mut labels = json!({ "namespace": pod.namespace(), "pod": pod.name_any(), "__metrics_path__": path });
        // The labels that a PodMonitor with `podTargetLabels` adds.
        for owner in ["owning-gateway-namespace", "owning-gateway-name"] {
            let label = format!("gateway.envoyproxy.io/{owner}");
            labels[label.replace(['.', '/', '-'], "_")] = json!(pod.labels().get(&label));
        }
        json!({ "targets": [format!("{address}:{port}")], "labels": labels })
    };
    let containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    let counts_tokens = containers.into_iter().any(|container| container.name == AI_GATEWAY);
    let ai_gateway = counts_tokens.then(|| target(1064, "/metrics"));
    [target(19001, "/stats/prometheus")].into_iter().chain(ai_gateway).collect()
}

async fn expose(client: &Client) -> Result<()> {
    let metadata = json!({ "name": "prometheus", "namespace": "monitoring" });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "monitoring" } });
    apply::one(client, namespace).await?;
    let ports = json!([{ "name": "http", "port": 9090, "protocol": "TCP" }]);
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": { "ports": ports } });
    apply::one(client, service).await?;
    apply::endpoints(client, "monitoring", "prometheus", ADDRESS, &ports).await
}
