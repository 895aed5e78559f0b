//! Tidegate on the cluster, installed once with Helm, as a user installs it.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context, Result};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::kubectl::{apply, get, run};

/// Where KEDA reaches the scaler.
pub const SCALER_ADDRESS: &str = "tidegate.tidegate-system.svc:9090";

static INSTALLED: OnceCell<()> = OnceCell::const_new();
static PEERS: LazyLock<RwLock<()>> = LazyLock::new(RwLock::default);

/// The right to use the cluster: together with other tests, or alone.
pub struct Cluster<Guard = RwLockReadGuard<'static, ()>> {
    _guard: Guard,
}

impl Cluster {
    /// For tests that leave the peers alone.
    pub async fn shared() -> Result<Self> {
        let guard = PEERS.read().await;
        INSTALLED.get_or_try_init(install).await?;
        Ok(Self { _guard: guard })
    }

    /// For tests that take a peer away.
    pub async fn alone() -> Result<Cluster<RwLockWriteGuard<'static, ()>>> {
        let guard = PEERS.write().await;
        INSTALLED.get_or_try_init(install).await?;
        Ok(Cluster { _guard: guard })
    }
}

impl<Guard> Cluster<Guard> {
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
}

/// The file of the CA that the stack's broker shows.
pub fn kafka_ca() -> Result<PathBuf> {
    let kubeconfig = std::env::var("KUBECONFIG").context("these tests run in the stack, by `make test-e2e`")?;
    Ok(Path::new(&kubeconfig).with_file_name("pki").join("kafka-ca.crt"))
}

/// The CA of the stack's broker, and the password of its user, right and wrong.
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

async fn install() -> Result<()> {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/tidegate");
    run("helm", &["lint", "--strict", chart], None).await?;
    apply(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: eg}\n\
         spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}\n",
    )
    .await?;
    let install = ["upgrade", "--install", "tidegate", chart, "--namespace", "tidegate-system", "--create-namespace"];
    let wait = ["--wait", "--timeout", "120s", "--set", "image.repository=tidegate"];
    let values = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka-values.yaml");
    kafka_secret().await?;
    let kafka = ["--values", values];
    run("helm", &[&install[..], &wait[..], &kafka[..]].concat(), None).await.map(drop)
}
