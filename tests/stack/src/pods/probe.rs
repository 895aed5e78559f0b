//! Readiness probes, and the hooks that run before a container is stopped.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::{http, process::Supervised};

/// Time between two tries until the first success, so that a pod is ready as soon as it can be.
const EAGER: Duration = Duration::from_millis(100);

/// Watches whether the container is ready; without a probe it is ready while it runs.
pub(super) fn watch(
    container: &Container,
    ip: &str,
    process: &Supervised,
    changed: &Arc<Notify>,
) -> watch::Receiver<bool> {
    let (ready, seen) = watch::channel(false);
    let (container, ip, changed) = (container.clone(), ip.to_owned(), Arc::clone(changed));
    let mut status = process.watch();
    tokio::spawn(async move {
        let set = |value| {
            if ready.send_if_modified(|ready| std::mem::replace(ready, value) != value) {
                changed.notify_one();
            }
        };
        while let Ok(running) = status.wait_for(|status| status.pid.is_some()).await.map(|status| status.pid) {
            let ended = status.wait_for(|status| status.pid != running);
            tokio::select! {
                _ = ended => {}
                () = probe_for_ever(&container, &ip, &set) => {}
            }
            set(false);
        }
    });
    seen
}

async fn probe_for_ever(container: &Container, ip: &str, set: &impl Fn(bool)) {
    let Some(probe) = &container.readiness_probe else {
        set(true);
        return std::future::pending().await;
    };
    sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let (successes, failures) = (probe.success_threshold.unwrap_or(1), probe.failure_threshold.unwrap_or(3));
    let (mut good, mut bad, mut ready) = (0, 0, false);
    loop {
        if once(probe, container, ip).await.is_ok() {
            (good, bad) = (good + 1, 0);
        } else {
            (good, bad) = (0, bad + 1);
        }
        ready = if ready { bad < failures } else { good >= successes };
        set(ready);
        sleep(if ready { seconds(probe.period_seconds, 10) } else { EAGER }).await;
    }
}

async fn once(probe: &Probe, container: &Container, ip: &str) -> Result<()> {
    let deadline = seconds(probe.timeout_seconds, 1);
    if let Some(action) = &probe.http_get {
        get(action, container, ip, deadline).await
    } else if let Some(action) = &probe.tcp_socket {
        connect(ip, port(&action.port, container)?, deadline).await
    } else if let Some(action) = &probe.grpc {
        let port = u16::try_from(action.port)?;
        timeout(deadline, grpc(ip, port, action.service.clone().unwrap_or_default())).await?
    } else {
        bail!("only httpGet, tcpSocket and grpc probes are known here")
    }
}

/// Sends the `GET` of a probe or a hook: any status from 200 to 399 is a success.
pub(super) async fn get(action: &HTTPGetAction, container: &Container, ip: &str, deadline: Duration) -> Result<()> {
    let port = port(&action.port, container)?;
    let path = action.path.as_deref().unwrap_or("/");
    match http::get(&format!("http://{ip}:{port}{path}"), deadline).await? {
        (200..400, _) => Ok(()),
        (status, _) => bail!("{path} answered {status}"),
    }
}

async fn connect(ip: &str, port: u16, deadline: Duration) -> Result<()> {
    timeout(deadline, TcpStream::connect((ip, port))).await??;
    Ok(())
}

async fn grpc(ip: &str, port: u16, service: String) -> Result<()> {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let channel = tonic::transport::Endpoint::new(format!("http://{ip}:{port}"))?.connect().await?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest { service }).await?.into_inner();
    if answer.status() != ServingStatus::Serving {
        bail!("it is {:?}", answer.status());
    }
    Ok(())
}

fn port(port: &IntOrString, container: &Container) -> Result<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.with_context(|| format!("no port of {} is called {name}", container.name))?.container_port
        }
    };
    Ok(u16::try_from(number)?)
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}
