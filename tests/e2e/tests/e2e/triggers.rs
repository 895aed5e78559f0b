//! KEDA's own triggers, given to a workload whole (`tidegate.dev/keda-triggers`), on the real KEDA.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tidegate_e2e::{
    cluster::Cluster,
    kubectl::apply,
    scenario::{Scenario, task_api, until},
};
use tokio::net::TcpListener;

/// The HTTP API of an application, which KEDA's `metrics-api` asks for the jobs that wait.
#[derive(Clone)]
struct Application {
    waiting: Arc<AtomicU64>,
    address: SocketAddr,
}

/// Number of jobs with which the application answers with an error.
const OUT_OF_ORDER: u64 = u64::MAX;

impl Application {
    /// Answers until the test ends.
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let application = Self { waiting: Arc::default(), address: listener.local_addr()? };
        let answering = application.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answering = answering.clone();
                let service = service_fn(move |_: hyper::Request<Incoming>| {
                    let answer = answering.answer();
                    async { answer }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(application)
    }

    fn answer(&self) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let status = if waiting == OUT_OF_ORDER { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        let body = serde_json::json!({ "jobs": { "waiting": waiting } });
        Response::builder().status(status).body(Full::from(body.to_string()))
    }

    fn have_waiting(&self, jobs: u64) {
        self.waiting.store(jobs, Ordering::Relaxed);
    }
}

fn calendar(hours: &str) -> String {
    format!(
        "apiVersion: tidegate.dev/v1alpha1\nkind: Calendar\nmetadata: {{name: e2e-triggers}}\nspec: {{timeZone: UTC, hours: {hours:?}}}\n"
    )
}

#[tokio::test]
async fn triggers_of_kedas_own_decide_by_day_and_a_pause_holds_them_down_at_night() -> Result<()> {
    let _cluster = Cluster::shared().await?;
    let scenario = Scenario::new("triggers").await?;
    let application = Application::start().await?;
    let triggers = format!(
        "- type: metrics-api
  name: jobs
  metadata: {{url: 'http://{}/', valueLocation: jobs.waiting, targetValue: 10}}
- type: cron
  metadata: {{timezone: UTC, start: 0 0 * * *, end: 59 23 * * *, desiredReplicas: 2}}
",
        application.address
    );
    apply(&calendar("24/7")).await?;
    let annotations = [
        ("keda-triggers", triggers.as_str()),
        ("calendar", "e2e-triggers"),
        ("off-hours-replicas", "1"),
        ("max-replicas", "8"),
        ("scale-down-after", "5s"),
    ];
    scenario.apply(&task_api("worker", &annotations)).await?;
    // Nothing waits, so the second trigger decides.
    scenario.wait_for_replicas("worker", 2).await?;
    for (jobs, wanted) in [(45, 5), (200, 8), (31, 4)] {
        application.have_waiting(jobs);
        scenario.wait_for_replicas("worker", wanted).await?;
    }
    // An error of one trigger is no zero.
    application.have_waiting(OUT_OF_ORDER);
    scenario.stays("worker", Duration::from_secs(15), |replicas| replicas == 4).await?;
    application.have_waiting(62);
    scenario.wait_for_replicas("worker", 7).await?;
    let told = scenario.event("Deployment", "worker", "PausedByHours").await?;
    ensure!(told.contains("(jobs, cron)") && told.contains("at 1 replicas"), "{told}");
    let by_day = scenario.get(&["scaledobject", "worker"]).await?;

    apply(&calendar("off")).await?;
    scenario.wait_for_replicas("worker", 1).await?;
    let told = scenario.event("ScaledObject", "worker", "Asleep").await?;
    ensure!(told.contains("KEDA pauses it at 1 replicas"), "{told}");
    until("no HPA is left to act at night", async || {
        let hpas = scenario.get(&["hpa"]).await?;
        ensure!(hpas["items"].as_array().is_some_and(Vec::is_empty), "{hpas}");
        Ok(())
    })
    .await?;
    application.have_waiting(80);
    scenario.stays("worker", Duration::from_secs(20), |replicas| replicas == 1).await?;
    let at_night = scenario.get(&["scaledobject", "worker"]).await?;
    ensure!(at_night["spec"] == by_day["spec"], "{at_night:#}");
    let hpas = scenario.get(&["hpa"]).await?;
    ensure!(hpas["items"].as_array().is_some_and(Vec::is_empty), "an HPA acts at night: {hpas}");

    apply(&calendar("24/7")).await?;
    scenario.wait_for_replicas("worker", 8).await?;
    scenario.event("ScaledObject", "worker", "Awake").await?;
    until("nothing of the night is left", async || {
        let object = scenario.get(&["scaledobject", "worker"]).await?;
        let annotations = object["metadata"]["annotations"].as_object().context("it has no annotations")?;
        let paused = annotations.keys().find(|key| key.starts_with("autoscaling.keda.sh/paused"));
        ensure!(paused.is_none(), "{paused:?}");
        ensure!(object["metadata"]["labels"] == by_day["metadata"]["labels"], "{}", object["metadata"]["labels"]);
        ensure!(object["spec"] == by_day["spec"], "{object:#}");
        Ok(())
    })
    .await?;

    // One that KEDA does not have is reported, and the others go on.
    let wrong = "tidegate.dev/keda-triggers=[{type: rabitmq, metadata: {}}]";
    scenario.kubectl(&["annotate", "deployment", "worker", "--overwrite", wrong]).await?;
    let told = scenario.event("Deployment", "worker", "InvalidAnnotations").await?;
    ensure!(told.contains("did you mean \"rabbitmq\"?"), "{told}");
    application.have_waiting(33);
    scenario.wait_for_replicas("worker", 4).await
}
