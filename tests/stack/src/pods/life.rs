//! The life of one pod: volumes, a sandbox with an address, containers, and at the end a graceful stop.

use std::{
    process::Stdio,
    sync::{Arc, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use futures::future::join_all;
use k8s_openapi::{
    api::core::v1::{Container, Pod},
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use serde_json::Value;
use tokio::{
    process::Command,
    sync::{Notify, watch},
    time::{interval, sleep, timeout},
};

use crate::{
    network,
    process::{Order, Program, Status, Supervised},
    sandbox::{Bind, Opened, Sandbox},
};

use super::{
    Runner, Seen, image, probe,
    sidecars::{is_sidecar, with_sidecars},
    spec::{self, Env},
    status::{self, ContainerState},
    volumes::Volumes,
};

/// Time between two reads of the Secrets and ConfigMaps of a pod, and between two attempts to start it.
const REFRESH: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(300);

/// Runs the pod until it is deleted.
pub(super) async fn live(runner: Arc<Runner>, mut seen: Seen) {
    let pod = Arc::clone(&seen.borrow_and_update());
    let number = runner.next_number();
    let mut reported = String::new();
    let mut running = loop {
        let started = tokio::select! {
            () = terminated(&mut seen) => return remove(&runner, &pod).await,
            started = Running::start(&runner, &pod, number) => started,
        };
        match started {
            Ok(running) => break running,
            Err(error) => {
                let why = format!("{error:#}");
                if why != reported {
                    patch(&runner, &pod, &status::waiting(&pod, &why)).await;
                    reported = why;
                }
                sleep(RETRY).await;
            }
        }
    };
    running.keep(&mut seen).await;
    if seen.has_changed().is_ok() {
        running.stop().await;
    }
    running.forget();
    remove(&runner, &pod).await;
}

/// A pod whose containers run.
struct Running {
    runner: Arc<Runner>,
    pod: Arc<Pod>,
    ip: String,
    volumes: Volumes,
    sandbox: Opened,
    containers: Vec<InContainer>,
    changed: Arc<Notify>,
    since: Timestamp,
}

/// A container with its process and its state.
struct InContainer {
    container: Container,
    process: Supervised,
    status: watch::Receiver<Status>,
    ready: watch::Receiver<bool>,
    started_at: Timestamp,
    /// Prefix that makes a command run inside.
    enter: Vec<String>,
    env: Env,
}

impl Running {
    async fn start(runner: &Arc<Runner>, pod: &Arc<Pod>, number: u32) -> Result<Self> {
        let address = network::pod_address(number)?;
        let ip = address.to_string();
        let folder = runner.state.join(number.to_string());
        let mut volumes = Volumes::new(runner.client.clone(), pod, &ip, folder.join("volumes"));
        volumes.refresh(pod).await?;
        let spec = pod.spec.as_ref().context("a pod without a spec")?;

        let mut containers = Vec::new();
        for container in with_sidecars(spec) {
            let image = container.image.as_deref().and_then(image::real).context("not a real image")?;
            let program = runner.programs.get(image).with_context(|| format!("{image} is not part of this stack"))?;
            if !program.exists() {
                return Err(anyhow!("{} has not been built", program.display()));
            }
            let env = spec::env(&runner.client, pod, container, &ip).await?;
            containers.push((container, program, env));
        }
        let programs = containers.iter().flat_map(|(_, program, _)| image::files(program));
        let mounts = with_sidecars(spec).flat_map(|container| container.volume_mounts.iter().flatten());
        let mounts = mounts.map(|mount| {
            let volume = volumes.path(&mount.name);
            let from = mount.sub_path.as_ref().map_or_else(|| volume.clone(), |path| volume.join(path));
            Bind::new(from, mount.mount_path.clone())
        });
        // All containers of a pod share one sandbox: a path that several of them mount is bound once.
        let resolver = folder.join("resolv.conf");
        std::fs::write(&resolver, network::resolver(&pod.namespace().unwrap_or_default()))?;
        let resolver = std::iter::once(Bind::new(resolver, "/etc/resolv.conf"));
        let mut binds: Vec<Bind> = programs.chain(mounts).chain(resolver).collect();
        binds.sort_by(|one, other| one.to.cmp(&other.to));
        binds.dedup_by(|one, other| one.to == other.to);
        let sandbox = Sandbox { root: folder.join("root"), binds }.open(number, address).await?;

        let mut running = Self {
            runner: Arc::clone(runner),
            pod: Arc::clone(pod),
            ip,
            volumes,
            sandbox,
            containers: Vec::new(),
            changed: Arc::new(Notify::new()),
            since: Timestamp::now(),
        };
        for (container, program, env) in containers {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            let container = running.start_container(container, &name, env)?;
            running.containers.push(container);
        }
        Ok(running)
    }

    fn start_container(&self, container: &Container, program: &str, env: Env) -> Result<InContainer> {
        let enter = self.sandbox.enter();
        let command = spec::command(container, program, &env);
        let name = self.name(container);
        let process = Supervised::start(Program {
            name: name.clone(),
            command: [enter.as_slice(), &command].concat(),
            env: env.clone(),
            clear_env: true,
            log: self.runner.logs.join(format!("{}.log", name.replace('/', "_"))),
            grace: self.grace(),
            loud: false,
        })?;
        self.runner.processes.lock().unwrap_or_else(PoisonError::into_inner).insert(name, process.clone());
        let ready = probe::watch(container, &self.ip, &process, &self.changed);
        let mut status = process.watch();
        let (mut forwarded, changed) = (process.watch(), Arc::clone(&self.changed));
        tokio::spawn(async move {
            while forwarded.changed().await.is_ok() {
                changed.notify_one();
            }
        });
        status.mark_unchanged();
        let started_at = Timestamp::now();
        Ok(InContainer { container: container.clone(), process, status, ready, started_at, enter, env })
    }

    /// Keeps the status and the volumes up to date until the pod is to end.
    async fn keep(&mut self, seen: &mut Seen) {
        let mut refresh = interval(REFRESH);
        let (mut was_ready, mut ready_since) = (false, self.since);
        let mut last = Value::Null;
        loop {
            let states = self.states();
            if status::is_ready(&states) != was_ready {
                (was_ready, ready_since) = (!was_ready, Timestamp::now());
            }
            let now = status::running(&self.ip, self.since, ready_since, &states);
            if now != last && patch(&self.runner, &self.pod, &now).await {
                last = now;
            }
            tokio::select! {
                () = terminated(seen) => return,
                () = self.changed.notified() => {}
                // Volumes that cannot be read now stay as they were.
                _ = refresh.tick() => drop(self.volumes.refresh(&self.pod).await),
            }
        }
    }

    fn states(&mut self) -> Vec<ContainerState> {
        let state = |running: &mut InContainer| {
            if running.status.has_changed().unwrap_or(false) {
                running.started_at = Timestamp::now();
            }
            ContainerState {
                name: running.container.name.clone(),
                image: running.container.image.clone().unwrap_or_default(),
                is_sidecar: is_sidecar(&running.container),
                process: running.status.borrow_and_update().clone(),
                started_at: running.started_at,
                ready: *running.ready.borrow(),
            }
        };
        self.containers.iter_mut().map(state).collect()
    }

    /// Stops all containers at once, and side-cars after them: `preStop` hooks, SIGTERM, and SIGKILL after the grace period.
    async fn stop(&self) {
        let grace = self.grace();
        let stops = |sidecars: bool| {
            let those = self.containers.iter().filter(move |running| is_sidecar(&running.container) == sidecars);
            join_all(those.map(|running| async move {
                // A hook that fails does not keep its container running.
                let _ = timeout(grace, running.before_stop(&self.ip, grace)).await;
                let _ = running.process.order(Order::Stop).await;
            }))
        };
        let _ = timeout(grace, async {
            stops(false).await;
            stops(true).await;
        })
        .await;
    }

    /// Drops the handles of the containers' processes: a process ends with its last handle.
    fn forget(self) {
        let mut processes = self.runner.processes.lock().unwrap_or_else(PoisonError::into_inner);
        for running in &self.containers {
            processes.remove(&self.name(&running.container));
        }
    }

    fn grace(&self) -> Duration {
        let seconds = self.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        Duration::from_secs(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(30))
    }

    fn name(&self, container: &Container) -> String {
        format!("pod/{}/{}/{}", self.pod.namespace().unwrap_or_default(), self.pod.name_any(), container.name)
    }
}

impl InContainer {
    async fn before_stop(&self, ip: &str, grace: Duration) -> Result<()> {
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(action) = hook.and_then(|hook| hook.http_get.as_ref()) {
            probe::get(action, &self.container, ip, grace).await?;
        }
        if let Some(command) = hook.and_then(|hook| hook.exec.as_ref()?.command.as_ref()) {
            let mut inside = Command::new(&self.enter[0]);
            inside.args(&self.enter[1..]).args(command).env_clear().envs(self.env.iter().cloned());
            inside.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
            inside.status().await?;
        }
        Ok(())
    }
}

/// Returns when the pod is to end, or is gone.
async fn terminated(seen: &mut Seen) {
    // An error means that it is gone.
    let _ = seen.wait_for(|pod| pod.metadata.deletion_timestamp.is_some()).await;
}

async fn patch(runner: &Runner, pod: &Pod, status: &Value) -> bool {
    let pods: Api<Pod> = Api::namespaced(runner.client.clone(), &pod.namespace().unwrap_or_default());
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await.is_ok()
}

/// Deletes the object, as a kubelet does when nothing of the pod is left. Tries until the API server answers.
async fn remove(runner: &Runner, pod: &Pod) {
    let pods: Api<Pod> = Api::namespaced(runner.client.clone(), &pod.namespace().unwrap_or_default());
    let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
    let now =
        DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteParams::default() };
    loop {
        match pods.delete(&pod.name_any(), &now).await {
            Ok(_) | Err(kube::Error::Api(_)) => return,
            Err(_) => sleep(RETRY).await,
        }
    }
}
