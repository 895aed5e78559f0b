//! Tidegate on the cluster, installed once with Helm, as a user installs it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::sync::OnceCell;

use crate::{
    kubectl::{apply, get, run, run_to},
    turns::{Order, Turn, Waiting},
};

/// Address at which KEDA reaches the scaler.
pub const SCALER_ADDRESS: &str = "tidegate.tidegate-system.svc:9090";

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// The right to use the cluster, beside other tests.
pub struct Cluster {
    turn: Turn,
}

impl Cluster {
    /// Shares the cluster with other tests: for tests that leave the peers alone.
    pub async fn shared() -> Result<Self> {
        Self::in_order(Order::Middle).await
    }

    /// The same for tests that take longer than a minute: they start before the others.
    pub async fn shared_for_long() -> Result<Self> {
        Self::in_order(Order::First).await
    }

    /// Shares the cluster once no other test waits for it: for tests that want to be [`alone`](Self::alone) later, and have to set
    /// something up before, as others of them do at the same time.
    pub async fn at_the_end() -> Result<Self> {
        Self::in_order(Order::Last).await
    }

    /// The cluster with the times that the chart sets by default, for benchmarks: each runs in a stack of its own.
    pub async fn as_shipped() -> Result<Self> {
        Self::installed(Order::Middle, &[]).await
    }

    /// Waits until no other test uses the peers, and keeps it so: for tests that take one away.
    pub async fn alone(self) -> Self {
        Self { turn: self.turn.alone().await }
    }

    /// What takes minutes by default takes seconds in tests.
    async fn in_order(order: Order) -> Result<Self> {
        let quick = ["--set", "extraArgs={--above-maximum-after=20s,--polling-interval=2s}"];
        let queries = ["--set", "prometheus.url=http://prometheus.monitoring.svc:9090"];
        Self::installed(order, &[quick, queries].concat()).await
    }

    async fn installed(order: Order, settings: &[&str]) -> Result<Self> {
        let waiting = Waiting::new(order);
        // While one test installs it, all others join those that wait.
        INSTALLED.get_or_try_init(async || install(settings).await).await?;
        Ok(Self { turn: waiting.turn().await })
    }

    /// The names of Tidegate's pods.
    pub async fn pods(&self) -> Result<Vec<String>> {
        let pods = get(&["pods", "-n", "tidegate-system", "-l", "app.kubernetes.io/name=tidegate"]).await?;
        let pods = pods["items"].as_array().context("no list of pods")?.iter();
        Ok(pods.filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect())
    }

    /// Runs the command line as a user does, with the stack's kubeconfig.
    pub async fn tidegate(&self, args: &[&str]) -> Result<String> {
        run("tidegate", args, None).await
    }

    /// Runs `tidegate explain`, whose exit code is 1 where it says that something is wrong.
    pub async fn explain(&self, args: &[&str]) -> Result<String> {
        run_to(&[0, 1], "tidegate", &[&["explain"], args].concat(), None).await
    }
}

/// Path of the CA certificate of the stack's broker.
pub fn kafka_ca() -> Result<PathBuf> {
    let kubeconfig = std::env::var("KUBECONFIG").context("these tests run in the stack, by `make test-e2e`")?;
    Ok(Path::new(&kubeconfig).with_file_name("pki").join("kafka-ca.crt"))
}

/// Applies a Secret with the CA of the stack's broker, and with the right and a wrong password of its user.
async fn kafka_secret() -> Result<()> {
    let ca = kafka_ca()?;
    let ca = std::fs::read_to_string(&ca).with_context(|| ca.display().to_string())?;
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kafka", "namespace": "tidegate-system"},
        "stringData": {"ca.crt": ca, "password": "lag-reader", "wrong": "no-idea"},
    });
    apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: tidegate-system}\n").await?;
    apply(&secret.to_string()).await
}

async fn install(settings: &[&str]) -> Result<()> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/tidegate");
    run("helm", &["lint", "--strict", chart, "--set", "requireKeda=false"], None).await?;
    apply(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: eg}\n\
         spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}\n",
    )
    .await?;
    let install = ["upgrade", "--install", "tidegate", chart, "--namespace", "tidegate-system", "--create-namespace"];
    let wait = ["--wait", "--timeout", "120s", "--set", "image.repository=tidegate"];
    let kinds = ["--set", "manage.cronJobs=true,manage.daemonSets=true,scaleKinds={rollouts.argoproj.io}"];
    let values = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka-values.yaml");
    kafka_secret().await?;
    let kafka = ["--values", values];
    run("helm", &[&install[..], &wait[..], &kinds[..], settings, &kafka[..]].concat(), None).await.map(drop)
}
