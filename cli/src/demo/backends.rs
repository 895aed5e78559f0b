//! The replicas of the example's Deployment, as processes of this machine: each has an address of its own, as a pod has.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    sync::Mutex,
    time::{Instant, sleep},
};

use super::envoy::Envoy;
use crate::with_parent;

/// The Deployment's container, to be run as a process.
#[derive(Debug, Clone)]
pub(super) struct Container {
    /// The program that runs in place of the image
    pub(super) program: PathBuf,
    /// `args` of the container, with `$(POD_IP)` in them
    pub(super) args: Vec<String>,
    /// The port that the Service targets
    pub(super) port: u16,
}

/// The running replicas. All of them end when they are stopped, when the last clone is dropped, and with this process.
#[derive(Clone)]
pub(super) struct Backends(Arc<Shared>);

struct Shared {
    container: Container,
    envoy: Arc<Envoy>,
    replicas: Mutex<Replicas>,
    subnet: u8,
}

#[derive(Default)]
struct Replicas {
    running: Vec<Replica>,
    /// Number of replicas ever started, so that a new one never takes the address of one that still drains
    started: u32,
}

struct Replica {
    address: SocketAddr,
    process: Child,
}

impl Backends {
    pub(super) fn new(container: Container, envoy: Arc<Envoy>) -> Self {
        // Demos that run side by side take different addresses of 127.0.0.0/8, all of which are loopback.
        let subnet = 1 + (std::process::id() % 250) as u8;
        Self(Arc::new(Shared { container, envoy, replicas: Mutex::default(), subnet }))
    }

    /// Returns the number of running replicas.
    pub(super) async fn count(&self) -> u32 {
        u32::try_from(self.0.replicas.lock().await.running.len()).unwrap_or(u32::MAX)
    }

    /// Starts or stops replicas until there are `wanted`. New ones get traffic when they listen; old ones first lose
    /// their traffic and are then asked to end.
    pub(super) async fn set(&self, wanted: u32) -> Result<()> {
        let mut replicas = self.0.replicas.lock().await;
        let Replicas { running, started } = &mut *replicas;
        let wanted = wanted as usize;
        while running.len() < wanted {
            *started += 1;
            running.push(self.0.start(*started)?);
        }
        for replica in running.iter() {
            wait_until_listening(replica.address).await?;
        }
        let leaving = running.split_off(wanted);
        let addresses: Vec<_> = running.iter().map(|replica| replica.address).collect();
        self.0.envoy.set_endpoints(&addresses)?;
        for replica in leaving {
            tokio::spawn(end(replica));
        }
        Ok(())
    }

    /// Ends all of them at once. What has a clone of this may live on.
    pub(super) async fn stop(&self) {
        for mut replica in self.0.replicas.lock().await.running.drain(..) {
            // An error means that it has ended.
            let _ = replica.process.start_kill();
        }
    }
}

impl Shared {
    fn start(&self, number: u32) -> Result<Replica> {
        let ip = Ipv4Addr::new(127, 21, self.subnet, 1 + (number % 250) as u8);
        let args = self.container.args.iter().map(|arg| arg.replace("$(POD_IP)", &ip.to_string()));
        let process = with_parent::command(&self.container.program)?
            .args(args)
            .env("POD_IP", ip.to_string())
            .env("POD_NAME", format!("task-api-{number}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", self.container.program.display()))?;
        Ok(Replica { address: SocketAddr::from((ip, self.container.port)), process })
    }
}

/// Sends SIGTERM through `kill`, because the standard library can only send SIGKILL; then waits for requests to finish.
async fn end(mut replica: Replica) {
    if let Some(pid) = replica.process.id() {
        let _ = Command::new("kill").arg(pid.to_string()).status().await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(15), replica.process.wait()).await;
}

async fn wait_until_listening(address: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).await.is_err() {
        if Instant::now() > deadline {
            bail!("the backend does not listen on {address} after 10 s");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
