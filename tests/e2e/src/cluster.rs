//! Tidegate on the cluster, installed once with Helm, as a user installs it.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
};

use anyhow::{Context, Result, ensure};
use tokio::sync::{OnceCell, RwLock};

use crate::{
    kubectl::{apply, get, run},
    scenario::until,
};

/// Address at which KEDA reaches the scaler.
pub const SCALER_ADDRESS: &str = "tidegate.tidegate-system.svc:9090";

static INSTALLED: OnceCell<()> = OnceCell::const_new();
/// Lock of the peers: tests that use them hold it for reading, a test that takes one away for writing.
static PEERS: LazyLock<RwLock<()>> = LazyLock::new(RwLock::default);
/// Lock of Gateways: tests that have some hold it for reading, a test that wants to have the only ones for writing.
static GATEWAYS: LazyLock<RwLock<()>> = LazyLock::new(RwLock::default);

/// The right to use the cluster.
pub struct Cluster {
    peers: Box<dyn Send + Sync>,
    _gateways: Box<dyn Send + Sync>,
}

impl Cluster {
    /// Shares the cluster with other tests: for tests that leave the peers alone.
    pub async fn shared() -> Result<Self> {
        let gateways = GATEWAYS.read().await;
        let peers = PEERS.read().await;
        INSTALLED.get_or_try_init(install).await?;
        Ok(Self { peers: Box::new(peers), _gateways: Box::new(gateways) })
    }

    /// Waits until no other test uses the peers, and keeps it so: for tests that take one away.
    pub async fn alone(self) -> Self {
        drop(self.peers);
        Self { peers: Box::new(PEERS.write().await), ..self }
    }

    /// Waits until no other test has anything in the cluster, and keeps it so: for tests that other proxies would disturb.
    pub async fn empty() -> Result<Self> {
        let gateways = GATEWAYS.write().await;
        INSTALLED.get_or_try_init(install).await?;
        // Envoy Gateway forgets the proxies of Gateways that are deleted while it, or the API server, is away.
        let proxies = ["-n", "envoy-gateway-system", "-l", "gateway.envoyproxy.io/owning-gateway-name"];
        run("kubectl", &[&["delete", "deployments,services,serviceaccounts,configmaps"][..], &proxies].concat(), None)
            .await?;
        until("the proxies of other tests are gone", async || {
            let proxies = get(&[&["pods"][..], &proxies].concat()).await?;
            let left: Vec<_> =
                proxies["items"].as_array().into_iter().flatten().map(|pod| &pod["metadata"]["name"]).collect();
            ensure!(left.is_empty(), "{left:?} are left");
            Ok(())
        })
        .await?;
        Ok(Self { peers: Box::new(()), _gateways: Box::new(gateways) })
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
    let kinds = ["--set", "manage.cronJobs=true,manage.daemonSets=true,scaleKinds={rollouts.argoproj.io}"];
    let values = concat!(env!("CARGO_MANIFEST_DIR"), "/kafka-values.yaml");
    kafka_secret().await?;
    let kafka = ["--values", values];
    run("helm", &[&install[..], &wait[..], &kinds[..], &kafka[..]].concat(), None).await.map(drop)
}
