//! A real Envoy with the route of the example, configured by files: its endpoints follow the replicas.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

use crate::with_parent;

/// A running Envoy. It ends when this is stopped or dropped, and with this process.
pub(super) struct Envoy {
    /// Address that takes requests
    pub(super) listener: SocketAddr,
    /// Address of `/stats/prometheus`
    pub(super) admin: SocketAddr,
    cluster: String,
    folder: PathBuf,
    process: Mutex<Child>,
}

impl Envoy {
    /// Starts Envoy with one route: everything goes to `cluster`, which has no endpoint yet.
    pub(super) async fn start(program: &Path, folder: &Path, cluster: &str) -> Result<Self> {
        let listener = free_address()?;
        let admin = free_address()?;
        write_endpoints(folder, cluster, &[])?;
        let bootstrap = folder.join("envoy.json");
        std::fs::write(&bootstrap, bootstrap_config(folder, cluster, listener, admin).to_string())
            .with_context(|| format!("cannot write {}", bootstrap.display()))?;
        let log = std::fs::File::create(folder.join("envoy.log")).context("cannot write Envoy's log")?;
        let mut process = with_parent::command(program)?
            .arg("--config-path")
            .arg(&bootstrap)
            // Several demos may run on one machine: nothing is shared between their Envoys.
            .args(["--log-level", "warning", "--disable-hot-restart", "--concurrency", "2"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        wait_until_listening(&mut process, folder, [listener, admin]).await?;
        let (cluster, folder, process) = (cluster.to_owned(), folder.to_owned(), Mutex::new(process));
        Ok(Self { listener, admin, cluster, folder, process })
    }

    /// Sets Envoy's endpoints to the replicas. It watches the file and applies a change within milliseconds.
    pub(super) fn set_endpoints(&self, endpoints: &[SocketAddr]) -> Result<()> {
        write_endpoints(&self.folder, &self.cluster, endpoints)
    }

    /// Ends it. What has a handle of it may live on.
    pub(super) fn stop(&self) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        // An error means that it has ended.
        let _ = process.start_kill();
    }
}

async fn wait_until_listening(process: &mut Child, folder: &Path, [listener, admin]: [SocketAddr; 2]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = process.try_wait()? {
            let log = std::fs::read_to_string(folder.join("envoy.log")).unwrap_or_default();
            bail!(
                "Envoy ended with {status}: {} (`make demo` fetches an Envoy and names it)",
                log.lines().last().unwrap_or("no output")
            );
        }
        let connected = tokio::net::TcpStream::connect(listener).await.is_ok();
        if connected && tokio::net::TcpStream::connect(admin).await.is_ok() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("Envoy does not listen on {listener} after 20 s");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A port that is free now. Envoy cannot inherit a listener from us, so another process could take it; the start then fails.
fn free_address() -> Result<SocketAddr> {
    let socket = std::net::TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), 0)).context("no free port")?;
    Ok(socket.local_addr()?)
}

/// Envoy reloads the file when another is moved over it (`path_config_source` in Envoy's `core.v3.ConfigSource`).
fn write_endpoints(folder: &Path, cluster: &str, endpoints: &[SocketAddr]) -> Result<()> {
    let endpoint = |address: &SocketAddr| json!({ "endpoint": { "address": socket_address(*address) } });
    let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
    let discovery = json!({
        "resources": [{
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": cluster,
            "endpoints": [{ "lb_endpoints": endpoints }],
        }],
    });
    let (next, current) = (folder.join("endpoints.next.json"), folder.join("endpoints.json"));
    std::fs::write(&next, discovery.to_string())
        .and_then(|()| std::fs::rename(&next, &current))
        .with_context(|| format!("cannot write {}", current.display()))
}

fn socket_address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn bootstrap_config(folder: &Path, cluster: &str, listener: SocketAddr, admin: SocketAddr) -> Value {
    json!({
        "node": { "id": "demo", "cluster": "demo" },
        "admin": { "address": socket_address(admin) },
        "static_resources": {
            "listeners": [{
                "name": "default/web/http",
                "address": socket_address(listener),
                "filter_chains": [{ "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "http-8080",
                        "http_filters": [{
                            "name": "envoy.filters.http.router",
                            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
                        }],
                        "route_config": {
                            "name": "default/web/http",
                            "virtual_hosts": [{
                                "name": "all",
                                "domains": ["*"],
                                "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": cluster } }],
                            }],
                        },
                    },
                }]}],
            }],
            "clusters": [{
                "name": cluster,
                "type": "EDS",
                "connect_timeout": "1s",
                "lb_policy": "LEAST_REQUEST",
                "eds_cluster_config": { "eds_config": {
                    "resource_api_version": "V3",
                    "path_config_source": {
                        "path": folder.join("endpoints.json"),
                        "watched_directory": { "path": folder },
                    },
                }},
            }],
        },
    })
}
