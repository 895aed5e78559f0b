//! Envoy Gateway with its file provider and a real Envoy, without Kubernetes: what a proxy does with manifests, seconds after they are
//! written. It reads no EndpointSlices, so each Service becomes a Backend with the address that a test names.
//!
//! Its ports are fixed, so one test at a time may use it.

use std::{fs, net::SocketAddr, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_core::yaml;
use tokio::process::{Child, Command};

use crate::{kubectl::run, scenario::until};

/// The group of Envoy Gateway's own kinds.
const GROUP: &str = "gateway.envoyproxy.io";
/// Namespace of objects that name none.
const NAMESPACE: &str = "default";
/// Kinds that run something, or that it does not read.
const LEFT_OUT: [&str; 4] = ["Deployment", "EndpointSlice", "GatewayClass", "Service"];

/// Ends when dropped, and its Envoys with it.
pub struct FileGateway {
    child: Child,
    folder: TempDir,
}

impl FileGateway {
    /// Starts it with these manifests. `services` are the addresses behind the Services that routes and policies name.
    pub async fn start(manifests: &str, services: &[(&str, SocketAddr)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let (gateway, envoy) = (program("envoy-gateway").await?, program("envoy").await?);
        let version = run(&envoy, &["--version"], None).await?;
        let version = version.split('/').nth(1).context("Envoy reports no version")?.to_owned();
        let bin = at("data/envoy-versions").join(&version).join("bin");
        fs::create_dir_all(&bin)?;
        std::os::unix::fs::symlink(&envoy, bin.join("envoy"))?;
        fs::create_dir_all(at("resources"))?;
        fs::write(at("resources/all.yaml"), resources(manifests, services, &version)?)?;
        fs::write(at("envoy-gateway.yaml"), settings(folder.path()).to_string())?;
        let home = at("config").display().to_string();
        run(&gateway, &["certgen", "--local", "--config-home", &home], None).await?;
        let log = fs::File::create(at("log"))?;
        let child = Command::new(&gateway)
            .args(["server", "--config-path", &at("envoy-gateway.yaml").display().to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, folder })
    }

    /// The end of its log, to say why something does not come.
    pub fn log(&mut self) -> Result<String> {
        let ended = self.child.try_wait()?.map_or(String::new(), |status| format!("it has ended: {status}\n"));
        let log = fs::read_to_string(self.folder.path().join("log"))?;
        let end = log.lines().rev().take(20).collect::<Vec<_>>();
        Ok(ended + &end.into_iter().rev().collect::<Vec<_>>().join("\n"))
    }

    /// Requests that its Envoys have sent to a cluster.
    pub async fn requests(&self, cluster: &str) -> Result<u64> {
        let mut all = 0;
        for admin in admins(&self.folder.path().join("run"))? {
            let url = format!("http://{admin}/stats?usedonly&filter=upstream_rq_total");
            let (status, page) = tidegate_stack::get(&url, std::time::Duration::from_secs(5)).await?;
            ensure!(status == 200, "{status}: {page}");
            let line = format!("cluster.{cluster}.upstream_rq_total: ");
            all += page.lines().filter_map(|text| text.strip_prefix(&line)?.parse::<u64>().ok()).sum::<u64>();
        }
        Ok(all)
    }

    /// Waits until a Gateway listens there.
    pub async fn listens(&mut self, address: SocketAddr) -> Result<()> {
        until(&format!("an Envoy listens on {address}"), async || {
            let connected = tokio::net::TcpStream::connect(address).await.map(drop);
            connected.map_err(|error| anyhow::anyhow!("{error}; {}", self.log().unwrap_or_default()))
        })
        .await
    }
}

async fn program(peer: &str) -> Result<String> {
    Ok(run("stack", &["path", peer], None).await?.trim().to_owned())
}

/// The administration addresses of its Envoys.
fn admins(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(admins(&path)?);
        } else if path.ends_with("admin-address.txt") {
            found.push(fs::read_to_string(path)?.trim().to_owned());
        }
    }
    Ok(found)
}

fn settings(folder: &Path) -> Value {
    let at = |name: &str| folder.join(name);
    let host =
        json!({"configHome": at("config"), "dataHome": at("data"), "stateHome": at("state"), "runtimeDir": at("run")});
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        "provider": {"type": "Custom", "custom": {
            "resource": {"type": "File", "file": {"paths": [at("resources")]}},
            "infrastructure": {"type": "Host", "host": host},
        }},
        "extensionApis": {"enableBackend": true},
    })
}

/// The objects as it reads them from a file.
fn resources(manifests: &str, services: &[(&str, SocketAddr)], envoy: &str) -> Result<String> {
    let proxy = json!({"group": GROUP, "kind": "EnvoyProxy", "name": "proxy", "namespace": NAMESPACE});
    let mut objects = vec![
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "eg"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller", "parametersRef": proxy}}),
        json!({"apiVersion": format!("{GROUP}/v1alpha1"), "kind": "EnvoyProxy",
            "metadata": {"name": "proxy", "namespace": NAMESPACE},
            // Several Envoys of one network namespace, one for each Gateway, would share a socket for hot restarts.
            "spec": {"extraArgs": ["--use-dynamic-base-id"], "provider": {"type": "Host", "host": {"envoyVersion": envoy}}}}),
    ];
    for (name, address) in services {
        let ip = json!({"address": address.ip(), "port": address.port()});
        objects.push(json!({"apiVersion": format!("{GROUP}/v1alpha1"), "kind": "Backend",
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"endpoints": [{"ip": ip}]}}));
    }
    for mut object in yaml::read_all::<Value>(manifests)? {
        if LEFT_OUT.iter().any(|kind| object["kind"] == *kind) {
            continue;
        }
        if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!(NAMESPACE);
        }
        encode_secret(&mut object);
        lead_to_backends(&mut object, services);
        objects.push(object);
    }
    Ok(objects.iter().map(|object| format!("{object}\n---\n")).collect())
}

/// As the API server does when a Secret is written.
fn encode_secret(object: &mut Value) {
    let Some(Value::Object(texts)) = object.as_object_mut().and_then(|object| object.remove("stringData")) else {
        return;
    };
    let encode = |text: &Value| json!(BASE64_STANDARD.encode(text.as_str().unwrap_or_default()));
    object["data"] = texts.iter().map(|(key, text)| (key.clone(), encode(text))).collect();
}

/// Turns each reference to a Service into one to its Backend.
fn lead_to_backends(value: &mut Value, services: &[(&str, SocketAddr)]) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| lead_to_backends(one, services)),
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                let references = value.as_array_mut().filter(|_| key == "backendRefs" || key == "targetRefs");
                let named = |name: &Value| services.iter().any(|(service, _)| name == service);
                let to_service = |reference: &&mut Value| {
                    named(&reference["name"]) && (reference["kind"].is_null() || reference["kind"] == "Service")
                };
                for reference in references.into_iter().flatten().filter(to_service) {
                    *reference = json!({"group": GROUP, "kind": "Backend", "name": reference["name"]});
                }
                lead_to_backends(value, services);
            }
        }
        _ => {}
    }
}
