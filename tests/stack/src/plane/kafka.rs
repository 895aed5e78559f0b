//! A Kafka broker that is its own controller, as `kafka.messaging.svc:9092`.

use std::{fs, net::Ipv4Addr, process::Stdio, time::Duration};

use anyhow::{Result, ensure};
use kube::Client;
use serde_json::json;
use tokio::{net::TcpStream, process::Command, time::timeout};

use crate::plane::apply;

use super::Plane;

/// An address of the fake pods' range, which any process may bind.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 255, 252);

/// Formats the broker's disk and starts it.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    let (folder, config) = (plane.state.join("kafka"), plane.state.join("kafka.properties"));
    fs::write(
        &config,
        format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{ADDRESS}:9093\n\
             listeners=PLAINTEXT://{ADDRESS}:9092,CONTROLLER://{ADDRESS}:9093\n\
             advertised.listeners=PLAINTEXT://{ADDRESS}:9092\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\nnum.partitions=1\noffsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
             log.cleaner.dedupe.buffer.size=4194304\nnum.network.threads=1\nnum.io.threads=2\nbackground.threads=2\n",
            folder.display()
        ),
    )?;
    let program = plane.settings.peer("kafka")?.clone();
    let format = Command::new(&program)
        .args(["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"])
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .await?;
    let told = String::from_utf8_lossy(&format.stderr);
    ensure!(format.status.success(), "kafka.tools.StorageTool: {}", told.trim());
    let arguments = ["kafka.Kafka".to_owned(), config.to_string_lossy().into_owned()];
    plane.start("kafka", &arguments, &[])?;
    expose(client).await?;
    plane
        .ready("kafka", async || {
            timeout(Duration::from_secs(1), TcpStream::connect((ADDRESS, 9092))).await??;
            Ok(Some(()))
        })
        .await
}

async fn expose(client: &Client) -> Result<()> {
    let metadata = json!({ "name": "kafka", "namespace": "messaging" });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "messaging" } });
    apply::one(client, namespace).await?;
    let ports = json!([{ "name": "kafka", "port": 9092, "protocol": "TCP" }]);
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": { "ports": ports } });
    apply::one(client, service).await?;
    apply::endpoints(client, "messaging", "kafka", ADDRESS, &ports).await
}
