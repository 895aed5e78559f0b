//! The embedded KEDA and HPA of the demo against the real ones: the same sequence of metric values, the same replicas.

use std::{pin::Pin, process::Stdio, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use tidegate_proto::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
    external_scaler_server::{ExternalScaler, ExternalScalerServer},
};
use tidegate_sim::{
    hpa::ControllerFlags,
    keda::{Sample, ScaledObject, Simulation},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::Command,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, transport::Server};

use tidegate_e2e::{
    cluster::Cluster,
    scenario::{Scenario, until},
};

/// Phases of the script: the time in seconds, and the value that the scaler reports from then on (`None`: it fails). Each phase
/// lasts longer than the scale-down window, so that it ends at rest.
const SCRIPT: [(u64, Option<f64>); 8] = [
    (0, Some(50.0)),
    (8, Some(800.0)),
    (20, Some(1830.0)),
    (36, Some(1930.0)),
    (44, Some(1210.0)),
    (60, None),
    (70, Some(640.0)),
    (86, Some(30.0)),
];
const END: u64 = 104;

const SPEC: &str = r#"
  minReplicaCount: 1
  maxReplicaCount: 20
  pollingInterval: 2
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleUp:
          stabilizationWindowSeconds: 0
          selectPolicy: Max
          tolerance: "0"
          policies: [{type: Percent, value: 100, periodSeconds: 5}, {type: Pods, value: 4, periodSeconds: 5}]
        scaleDown:
          stabilizationWindowSeconds: 6
          tolerance: "0"
          policies: [{type: Percent, value: 50, periodSeconds: 3}]
  triggers:
    - type: external-push
"#;

/// A scaler that reports the values of the script, with nothing of Tidegate in it.
struct Scripted(watch::Receiver<Option<f64>>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ExternalScaler for Scripted {
    async fn is_active(&self, _: Request<ScaledObjectRef>) -> Result<Response<IsActiveResponse>, Status> {
        self.value().map(|_| Response::new(IsActiveResponse { result: true }))
    }

    type StreamIsActiveStream = Answers<IsActiveResponse>;

    async fn stream_is_active(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        Ok(Response::new(Box::pin(tokio_stream::pending())))
    }

    async fn get_metric_spec(&self, _: Request<ScaledObjectRef>) -> Result<Response<GetMetricSpecResponse>, Status> {
        let spec = MetricSpec { metric_name: "load".into(), target_size: 100, target_size_float: 100.0 };
        Ok(Response::new(GetMetricSpecResponse { metric_specs: vec![spec] }))
    }

    async fn get_metrics(&self, _: Request<GetMetricsRequest>) -> Result<Response<GetMetricsResponse>, Status> {
        let value = self.value()?;
        let value = MetricValue { metric_name: "load".into(), metric_value: value as i64, metric_value_float: value };
        Ok(Response::new(GetMetricsResponse { metric_values: vec![value] }))
    }

    type StreamMetricSpecStream = Answers<GetMetricSpecResponse>;

    async fn stream_metric_spec(
        &self,
        _: Request<ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        Err(Status::unimplemented("the script never changes its targets"))
    }
}

impl Scripted {
    fn value(&self) -> Result<f64, Status> {
        self.0.borrow().ok_or_else(|| Status::unavailable("the script says to fail"))
    }
}

#[tokio::test]
async fn the_embedded_loop_goes_through_the_same_replicas_as_the_real_keda_and_hpa() -> Result<()> {
    let _cluster = Cluster::shared_for_long().await?;
    let scenario = Scenario::new("conformance").await?;
    let (value, script) = watch::channel(SCRIPT[0].1);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = Server::builder().add_service(ExternalScalerServer::new(Scripted(script)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    scenario.apply(&real_objects(&address.to_string())).await?;
    until("the HPA reads the script", async || {
        let hpa = scenario.get(&["hpa", "keda-hpa-scripted"]).await?;
        ensure!(hpa["status"]["currentMetrics"][0]["external"]["current"]["averageValue"] == "50", "{}", hpa["status"]);
        Ok(())
    })
    .await?;

    let real = Arc::new(watched_replicas(&scenario)?);
    let start = Instant::now();
    for (at, said) in SCRIPT {
        sleep_until(start + Duration::from_secs(at)).await;
        value.send_replace(said);
    }
    sleep_until(start + Duration::from_secs(END)).await;
    let real = real.borrow().clone();

    let embedded = embedded_replicas()?;
    ensure!(real == embedded, "real: {real:?}\nembedded: {embedded:?}");
    ensure!(real.len() > 8, "the script leads through too few replicas to say anything: {real:?}");
    Ok(())
}

fn real_objects(address: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: scripted}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: scripted}}}}
  template:
    metadata: {{labels: {{app: scripted}}}}
    spec: {{containers: [{{name: c, image: nothing}}]}}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{name: scripted}}
spec:
  scaleTargetRef: {{name: scripted}}{SPEC}      metadata: {{scalerAddress: {address:?}}}
"
    )
}

/// The replicas that the Deployment goes through, without repetitions in a row.
fn watched_replicas(scenario: &Scenario) -> Result<watch::Receiver<Vec<u32>>> {
    let mut kubectl = Command::new("kubectl")
        .args(["-n", &scenario.namespace, "get", "deployment", "scripted", "--watch"])
        .args(["-o", r#"jsonpath={.spec.replicas}{"\n"}"#])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(kubectl.stdout.take().context("no pipe")?).lines();
    let (seen, replicas) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let _kubectl = kubectl;
        while let Ok(Ok(Some(line))) = timeout(Duration::from_secs(END + 60), lines.next_line()).await {
            let Ok(now) = line.parse() else { continue };
            seen.send_if_modified(|path: &mut Vec<u32>| {
                let changed = path.last() != Some(&now);
                if changed {
                    path.push(now);
                }
                changed
            });
        }
    });
    Ok(replicas)
}

fn embedded_replicas() -> Result<Vec<u32>> {
    let object: ScaledObject = tidegate_core::yaml::read(&format!("metadata: {{name: scripted}}\nspec:{SPEC}"))?;
    // The flags with which the stack runs kube-controller-manager.
    let flags = ControllerFlags { sync_period: Duration::from_secs(1), ..ControllerFlags::default() };
    let sample =
        |(at, value): (u64, Option<f64>)| Sample { at: Duration::from_secs(at), values: vec![value], active: true };
    let simulation = Simulation::new(object.spec, &[("load", 100.0)], flags);
    let run = simulation.run(1, &SCRIPT.map(sample), Duration::from_secs(END));
    Ok(std::iter::once(run.start).chain(run.changes().map(|(_, replicas)| replicas)).collect())
}
