//! Boots the peers, in parallel where they do not need each other, and waits until all of them are ready.

mod ai_gateway;
mod apply;
mod argo_rollouts;
mod cert_manager;
mod envoy_gateway;
mod example_crds;
mod http_add_on;
mod kafka;
mod keda;
mod kubernetes;
mod kwok;
mod metrics_server;
mod pki;
mod prometheus;
mod ratelimit;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail};
use hyper::Request;
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client, Config,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use tokio::try_join;

use crate::{
    peers::tail,
    process::{Program, Supervised},
    sandbox::Opened,
    settings::{Component, Settings},
    wait::eventually,
};

use self::pki::Pki;

/// The supervised processes, by name: peers, and containers of pods.
pub(crate) type Processes = Arc<Mutex<BTreeMap<String, Supervised>>>;

/// A stack's peers.
pub(crate) struct Plane {
    pub(crate) settings: Settings,
    pub(crate) logs: PathBuf,
    /// Folder of data and keys; it disappears with the mount namespace.
    pub(crate) state: PathBuf,
    pub(crate) processes: Processes,
    pki: Pki,
    /// Sandboxes that are kept open until the stack ends.
    sandboxes: Mutex<Vec<Opened>>,
}

/// Time that a peer has to become ready, on a busy machine.
const READY: Duration = Duration::from_secs(300);

/// Times of KEDA's leader election: those of any cluster, but for the pause between two attempts, so that tests go on sooner. The
/// controllers and the scheduler of Kubernetes have none: there is one of each, and on a busy machine it would lose its lease,
/// and end, though nothing is wrong.
mod lease {
    pub(super) const DURATION: &str = "15s";
    pub(super) const RENEW_WITHIN: &str = "12s";
    pub(super) const RETRY: &str = "1s";
}

impl Plane {
    /// Prepares a plane with its logs and state in `run`.
    pub(crate) fn new(settings: Settings, run: &Path) -> Result<Self> {
        let (logs, state) = (run.join("logs"), run.join("state"));
        let pki = Pki::write(&state.join("pki"))?;
        Ok(Self { settings, logs, state, processes: Processes::default(), pki, sandboxes: Mutex::default() })
    }

    /// The kubeconfig of the administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    /// Writes a kubeconfig for a peer that acts as a ServiceAccount, with the rights that its own RBAC grants; returns its path.
    async fn kubeconfig_of(&self, client: &Client, namespace: &str, account: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(7 * 24 * 3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let token = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = token.status.context("a token request without a token")?.token;
        let path = self.state.join(format!("{account}.kubeconfig"));
        self.pki.kubeconfig_for(&path, &json!({ "token": token }))?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Starts etcd and the API server, and returns a client.
    pub(crate) async fn boot_kubernetes(&self) -> Result<Client> {
        kubernetes::api_server(self).await?;
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config)?;
        self.ready("kube-apiserver", async || {
            let request = Request::get("/readyz").body(Vec::new())?;
            Ok((client.request_text(request).await? == "ok").then_some(()))
        })
        .await?;
        Ok(client)
    }

    /// Starts all other peers; returns once they are ready.
    pub(crate) async fn boot_rest(&self, client: &Client) -> Result<()> {
        let controllers = kubernetes::controllers(self, client);
        let kwok = kwok::boot(self, client);
        let keda = async {
            if self.settings.has(Component::Keda) {
                keda::boot(self, client).await?;
            }
            // It has a ScaledObject of its own, which KEDA's webhooks have to admit.
            if self.settings.has(Component::HttpAddOn) { http_add_on::boot(self, client).await } else { Ok(()) }
        };
        let gateway = async {
            if self.settings.has(Component::EnvoyGateway) { envoy_gateway::boot(self, client).await } else { Ok(()) }
        };
        let prometheus = async {
            if self.settings.has(Component::Prometheus) { prometheus::boot(self, client).await } else { Ok(()) }
        };
        let kafka =
            async { if self.settings.has(Component::Kafka) { kafka::boot(self, client).await } else { Ok(()) } };
        let metrics_server = async {
            if self.settings.has(Component::MetricsServer) { metrics_server::boot(self, client).await } else { Ok(()) }
        };
        let argo_rollouts = async {
            if self.settings.has(Component::ArgoRollouts) { argo_rollouts::boot(self, client).await } else { Ok(()) }
        };
        let cert_manager = async {
            if self.settings.has(Component::CertManager) { cert_manager::boot(self, client).await } else { Ok(()) }
        };
        let redis = async {
            if self.settings.has(Component::Ratelimit) { ratelimit::boot(self, client).await } else { Ok(()) }
        };
        let ai_gateway = async {
            if self.settings.has(Component::AiGateway) { ai_gateway::boot(self, client).await } else { Ok(()) }
        };
        let example_crds = async {
            if self.settings.has(Component::ExampleCrds) { example_crds::boot(self, client).await } else { Ok(()) }
        };
        try_join!(
            controllers,
            kwok,
            keda,
            gateway,
            prometheus,
            kafka,
            metrics_server,
            argo_rollouts,
            redis,
            cert_manager,
            ai_gateway,
            example_crds
        )?;
        Ok(())
    }

    /// Starts the program of a peer.
    fn start(&self, name: &str, arguments: &[String], env: &[(&str, &str)]) -> Result<()> {
        let program = self.settings.peer(name)?.to_string_lossy().into_owned();
        self.start_as(name, [&[program], arguments].concat(), env)
    }

    fn start_as(&self, name: &str, command: Vec<String>, env: &[(&str, &str)]) -> Result<()> {
        let process = Supervised::start(Program {
            name: name.to_owned(),
            command,
            env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            clear_env: false,
            log: self.log(name),
            grace: Duration::from_secs(5),
            loud: true,
        })?;
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), process);
        Ok(())
    }

    fn keep(&self, sandbox: Opened) {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner).push(sandbox);
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Waits until `probe` reports the peer ready. It may end once before, as it does when it waited too long for another on a busy
    /// machine; if it ends again, the error has the end of its log, and the load of the machine.
    async fn ready(&self, name: &str, mut probe: impl AsyncFnMut() -> Result<Option<()>>) -> Result<()> {
        let process = self.processes.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let process = process.with_context(|| format!("{name} was not started"))?;
        let ready = eventually(READY, "ready", async || probe().await);
        let result = tokio::select! {
            result = ready => result,
            how = process.ends_again() => Err(anyhow!("it ended, was started again, and ended again: {how}")),
        };
        if let Err(error) = result {
            let log = self.log(name);
            bail!("{name}: {error:#}\n{}\nthe end of {}:\n{}", busy(), log.display(), tail(&log, 20));
        }
        Ok(())
    }

    /// Waits until a pod of the Deployment is ready.
    async fn deployed(&self, client: &Client, namespace: &str, name: &str) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let logs = self.logs.display();
        eventually(READY, &format!("{name} is ready (its log is in {logs})"), async || {
            let status = deployments.get(name).await?.status.unwrap_or_default();
            Ok((status.ready_replicas >= Some(1)).then_some(()))
        })
        .await
    }
}

/// The load of the machine, and what it means: a peer that ends or is late because of it says so in no log.
fn busy() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split(' ').next()?.parse().ok());
    let load: f64 = load.unwrap_or_default();
    let few =
        if load > 4.0 * cores as f64 { ": too many for a peer to be in time; try again when less runs" } else { "" };
    format!("the machine has {load:.0} processes that want to run, on {cores} cores{few}")
}
