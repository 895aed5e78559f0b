//! Shared parts of the scenarios: a namespace with a Gateway, Deployments behind it, load, and replicas over time.

use std::{
    fmt::Write,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;
use tidegate_sim::load::{Load, LoadSpec, Profile, Traffic};
use tidegate_stack::eventually;

use crate::kubectl::{apply, get, kubectl};

/// Deadline of steps that take seconds, on a machine where everything runs at once.
const SOON: Duration = Duration::from_secs(180);

/// Calls `probe` until it succeeds, and returns its value.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually(SOON, what, async || probe().await.map(Some)).await
}

/// A namespace of its own for one test.
pub struct Scenario {
    pub namespace: String,
    started: Instant,
}

impl Drop for Scenario {
    /// Deletes the namespace, because leftovers of a test take a process per pod, and other resources that are limited on a machine.
    fn drop(&mut self) {
        let mut delete = std::process::Command::new("kubectl");
        delete.args(["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"]);
        let _ = self.note_time();
        // A cluster that does not answer now is being taken down.
        let _ = delete.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status();
    }
}

impl Scenario {
    /// A fresh namespace.
    pub async fn new(name: &str) -> Result<Self> {
        let namespace = format!("e2e-{name}");
        apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n")).await?;
        Ok(Self { namespace, started: Instant::now() })
    }

    /// Adds a line "SECONDS NAMESPACE" to the file `$TIDEGATE_E2E_TIMES`, from which `make test-e2e` lists the slowest.
    fn note_time(&self) -> std::io::Result<()> {
        let Some(path) = std::env::var_os("TIDEGATE_E2E_TIMES") else { return Ok(()) };
        let mut times = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        times.write_all(format!("{:>6} s  {}\n", self.started.elapsed().as_secs(), self.namespace).as_bytes())
    }

    /// Applies manifests that name no namespace, in this one.
    pub async fn apply(&self, manifests: &str) -> Result<()> {
        crate::kubectl::run("kubectl", &["apply", "-n", &self.namespace, "-f", "-"], Some(manifests)).await.map(drop)
    }

    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", &self.namespace];
        all.extend(args);
        kubectl(&all).await
    }

    pub async fn get(&self, args: &[&str]) -> Result<Value> {
        let mut all = vec!["-n", &self.namespace];
        all.extend(args);
        get(&all).await
    }

    /// `spec.replicas` of a Deployment, or of another workload that is given as `statefulset/NAME`.
    pub async fn replicas(&self, workload: &str) -> Result<u64> {
        let workload = if workload.contains('/') { workload.to_owned() } else { format!("deployment/{workload}") };
        let workload = self.get(&[&workload]).await?;
        workload["spec"]["replicas"].as_u64().context("a workload without replicas")
    }

    pub async fn wait_for_replicas(&self, workload: &str, wanted: u64) -> Result<()> {
        until(&format!("{workload} has {wanted} replicas"), async || {
            let replicas = self.replicas(workload).await?;
            anyhow::ensure!(replicas == wanted, "it has {replicas}");
            Ok(())
        })
        .await
    }

    /// Reads the replicas of a workload twice a second for `period`: every number must be right. Reads without an answer are ignored,
    /// but must be fewer than half.
    pub async fn stays(&self, workload: &str, period: Duration, is_right: impl Fn(u64) -> bool) -> Result<()> {
        self.stays_through(workload, std::future::ready(Ok(())), period, is_right).await
    }

    /// Reads the replicas of a workload twice a second while something happens to it, and for `period` after that: every number
    /// must be right. Reads without an answer are ignored, but must be fewer than half of those after it.
    pub async fn stays_through<T>(
        &self,
        workload: &str,
        happens: impl Future<Output = Result<T>>,
        period: Duration,
        is_right: impl Fn(u64) -> bool,
    ) -> Result<T> {
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut seen, mut unanswered) = (0_u32, 0_u32);
        let mut happens = std::pin::pin!(happens);
        let mut happened = None;
        loop {
            tokio::select! {
                result = &mut happens, if happened.is_none() => {
                    happened = Some((result?, Instant::now()));
                    (seen, unanswered) = (0, 0);
                }
                _ = ticks.tick() => match self.replicas(workload).await {
                    Ok(replicas) if is_right(replicas) => seen += 1,
                    Ok(replicas) => anyhow::bail!("{workload} has {replicas} replicas"),
                    Err(_) => unanswered += 1,
                },
            }
            if let Some((result, _)) = happened.take_if(|(_, at)| at.elapsed() >= period) {
                anyhow::ensure!(seen > unanswered, "{workload}: {unanswered} looks were not answered, and {seen} were");
                return Ok(result);
            }
        }
    }

    /// The reasons and messages of the events on an object.
    pub async fn events(&self, kind: &str, name: &str) -> Result<Vec<(String, String)>> {
        let about = format!("involvedObject.kind={kind},involvedObject.name={name}");
        let events = self.get(&["events", "--field-selector", &about]).await?;
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let events = events["items"].as_array().cloned().unwrap_or_default();
        Ok(events.iter().map(|event| (text(event, "reason"), text(event, "message"))).collect())
    }

    /// Waits for an event with this reason and gives its message.
    pub async fn event(&self, kind: &str, name: &str, reason: &str) -> Result<String> {
        until(&format!("{kind} {name} gets an event {reason}"), async || {
            let events = self.events(kind, name).await?;
            let found = events.iter().find(|(of, _)| of == reason).map(|(_, message)| message.clone());
            found.with_context(|| format!("its events are {events:?}"))
        })
        .await
    }

    /// Waits until the pod of the Gateway's Envoy listens on this port, and returns its address.
    pub async fn gateway(&self, name: &str, port: u16) -> Result<SocketAddr> {
        let owner = owner(name, &self.namespace);
        until(&format!("the Envoy of Gateway {name} listens on port {port}"), async || {
            let pods = get(&["pods", "-A", "-l", &owner]).await?;
            let ip = pods["items"][0]["status"]["podIP"].as_str().context("it has no pod with an address")?.to_owned();
            let address = SocketAddr::new(ip.parse::<IpAddr>()?, port);
            tokio::net::TcpStream::connect(address).await?;
            Ok(address)
        })
        .await
    }

    /// Waits for the Service of the Gateway's proxies: its address stays when they are replaced or scaled.
    pub async fn service(&self, name: &str, port: u16) -> Result<SocketAddr> {
        let owner = owner(name, &self.namespace);
        until(&format!("the proxies of Gateway {name} have a Service"), async || {
            let services = get(&["services", "-A", "-l", &owner]).await?;
            let ip = services["items"][0]["spec"]["clusterIP"].as_str().context("there is none")?.to_owned();
            Ok(SocketAddr::new(ip.parse()?, port))
        })
        .await
    }

    /// Waits until so many Envoys of the Gateway listen on this port, and returns their addresses.
    pub async fn proxies(&self, name: &str, port: u16, count: usize) -> Result<Vec<SocketAddr>> {
        let owner = owner(name, &self.namespace);
        until(&format!("{count} Envoys of Gateway {name} listen on port {port}"), async || {
            let pods = get(&["pods", "-A", "-l", &owner]).await?;
            let pods = pods["items"].as_array().context("no list of pods")?.iter();
            let ips: Vec<_> = pods.filter_map(|pod| pod["status"]["podIP"].as_str()).collect();
            anyhow::ensure!(ips.len() == count, "{} have an address", ips.len());
            let mut proxies = Vec::new();
            for ip in ips {
                let proxy = SocketAddr::new(ip.parse()?, port);
                tokio::net::TcpStream::connect(proxy).await?;
                proxies.push(proxy);
            }
            Ok(proxies)
        })
        .await
    }

    /// Starts steady load once a first request is answered; it lasts until the result is dropped.
    pub async fn load(&self, to: SocketAddr, traffic: Traffic, per_second: f64) -> Result<Load> {
        let forever = Duration::from_secs(3600);
        until(&format!("{to} answers"), async || {
            let one = Profile::starting_at(1.0).hold(Duration::from_secs(1));
            let counts = Load::start(LoadSpec::new(traffic.clone(), one), vec![to]).finished().await.counts;
            anyhow::ensure!(counts.ok > 0, "{counts:?}");
            Ok(())
        })
        .await?;
        Ok(Load::start(LoadSpec::new(traffic, Profile::starting_at(per_second).hold(forever)), vec![to]))
    }
}

/// The labels of a Gateway's proxies.
pub fn owner(name: &str, namespace: &str) -> String {
    let of_gateway = "gateway.envoyproxy.io/owning-gateway";
    format!("{of_gateway}-name={name},{of_gateway}-namespace={namespace},app.kubernetes.io/component=proxy")
}

/// A Gateway `web` with these listeners: name, protocol, port.
pub fn gateway(listeners: &[(&str, &str, u16)]) -> String {
    let mut yaml = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: web}\nspec:\n  \
                    gatewayClassName: eg\n  listeners:\n"
        .to_owned();
    for (name, protocol, port) in listeners {
        let _ = writeln!(yaml, "    - {{name: {name}, protocol: {protocol}, port: {port}}}");
    }
    yaml
}

/// The part of a Deployment that is the same in all of them: up to the spec of its pods.
pub(crate) fn deployment_head(name: &str, annotations: &[(&str, &str)]) -> String {
    let mut lines = String::new();
    for (key, value) in annotations {
        let _ = writeln!(lines, "    tidegate.dev/{key}: {value:?}");
    }
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  annotations:
    example.com/owner: e2e
{lines}spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:"
    )
}

/// A Deployment of the task API and a Service of the same name: HTTP on 8000, gRPC on 9000, TCP on 7000.
pub fn task_api(name: &str, annotations: &[(&str, &str)]) -> String {
    let head = deployment_head(name, annotations);
    format!(
        "{head}
      terminationGracePeriodSeconds: 2
      containers:
        - name: task-api
          image: task-api
          args: [--http=$(POD_IP):8000, --grpc=$(POD_IP):9000, --tcp=$(POD_IP):7000, --service-time=5ms, --concurrency=50]
          env:
            - {{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
          # Without it a pod is ready before it listens, and what Envoy sends it then is lost.
          readinessProbe: {{httpGet: {{path: /healthz, port: 8000}}, periodSeconds: 5}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports:
    - {{name: http, port: 8000}}
    - {{name: grpc, port: 9000, appProtocol: kubernetes.io/h2c}}
    - {{name: tcp, port: 7000}}
"
    )
}

/// A complete example of the simplest case: Gateway `web`, Deployment `task-api` with these annotations, HTTPRoute `tasks`.
pub fn http_stack(annotations: &[(&str, &str)]) -> String {
    gateway(&[("http", "HTTP", 8080)]) + &task_api("task-api", annotations) + &http_route("tasks", &[("task-api", 1)])
}

/// The manifests of a Deployment, as those of a StatefulSet.
pub fn stateful(deployment: &str) -> String {
    deployment
        .replace("kind: Deployment", "kind: StatefulSet")
        .replace("spec:\n  selector: {matchLabels", "spec:\n  serviceName: task-api\n  selector: {matchLabels")
}

/// An HTTPRoute on Gateway `web` with one rule; backends with weights.
pub fn http_route(name: &str, backends: &[(&str, u32)]) -> String {
    route("HTTPRoute", name, "", 8000, backends)
}

/// A route of any kind on Gateway `web`, on the named listener (all when empty).
pub fn route(kind: &str, name: &str, listener: &str, port: u16, backends: &[(&str, u32)]) -> String {
    let section = if listener.is_empty() { String::new() } else { format!(", sectionName: {listener}") };
    let mut yaml = format!(
        "---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: web{section}}}]
  rules:
    - backendRefs:
"
    );
    for (backend, weight) in backends {
        let _ = writeln!(yaml, "        - {{name: {backend}, port: {port}, weight: {weight}}}");
    }
    yaml
}

pub fn http() -> Result<Traffic> {
    Ok(Traffic::http("tasks.example.com", "/tasks")?)
}
