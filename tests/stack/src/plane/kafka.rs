//! A Kafka broker that is its own controller: `kafka.messaging.svc:9092` is open to all, and `:9094` requires TLS and a user. The
//! user is `tidegate` with the password `lag-reader`, or any that an unsigned token names, and may do nothing until an ACL allows
//! it.

use std::{fs, net::Ipv4Addr, process::Stdio, time::Duration};

use anyhow::{Result, ensure};
use kube::Client;
use serde_json::json;
use tokio::{net::TcpStream, process::Command, time::timeout};

use crate::{plane::apply, settings::Profile};

use super::Plane;

/// An address of the fake pods' range, which any process may bind.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 255, 252);

/// Formats the broker's disk and starts it.
pub(super) async fn boot(plane: &Plane, client: &Client) -> Result<()> {
    let (folder, config) = (plane.state.join("kafka"), plane.state.join("kafka.properties"));
    // Kafka reads the key and the certificate from one file.
    let keys = plane.state.join("kafka.pem");
    let pem = |name: &str| fs::read_to_string(plane.pki.path(name));
    fs::write(&keys, pem("kafka.key")? + &pem("kafka.crt")?)?;
    fs::write(
        &config,
        format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{ADDRESS}:9093\n\
             listeners=PLAINTEXT://{ADDRESS}:9092,CONTROLLER://{ADDRESS}:9093,SASL_SSL://{ADDRESS}:9094\n\
             advertised.listeners=PLAINTEXT://{ADDRESS}:9092,SASL_SSL://{ADDRESS}:9094\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL\n\
             sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=\
             org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;\n\
             ssl.keystore.type=PEM\nssl.keystore.location={}\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\n\
             inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\nnum.partitions=1\noffsets.topic.num.partitions=4\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\nshare.coordinator.state.topic.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\n\
             log.cleaner.dedupe.buffer.size=4194304\nnum.network.threads=1\nnum.io.threads=2\nbackground.threads=2\n",
            keys.display(),
            folder.display()
        ),
    )?;
    let program = plane.settings.peer("kafka")?.clone();
    let format = Command::new(&program)
        .args(["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk"])
        .args(["--add-scram", "SCRAM-SHA-512=[name=tidegate,password=lag-reader]", "-c"])
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .await?;
    let told = String::from_utf8_lossy(&format.stderr);
    ensure!(format.status.success(), "kafka.tools.StorageTool: {}", told.trim());
    let arguments = ["kafka.Kafka".to_owned(), config.to_string_lossy().into_owned()];
    plane.start("kafka", &arguments, &[("JAVA_ARGS", &java_args(plane.settings.profile))])?;
    expose(client).await?;
    plane
        .ready("kafka", async || {
            timeout(Duration::from_secs(1), TcpStream::connect((ADDRESS, 9092))).await??;
            Ok(Some(()))
        })
        .await
}

/// Arguments of the JVM. Benchmarks, which use the stock profile, read the broker's counts of requests over JMX.
fn java_args(profile: Profile) -> String {
    let memory = "-Xmx256m -Xms32m";
    let jmx = "-Dcom.sun.management.jmxremote";
    match profile {
        Profile::Fast => memory.to_owned(),
        Profile::Stock => format!(
            "{memory} {jmx}.port=9999 {jmx}.rmi.port=9999 {jmx}.host={ADDRESS} -Djava.rmi.server.hostname={ADDRESS} \
             {jmx}.authenticate=false {jmx}.ssl=false"
        ),
    }
}

async fn expose(client: &Client) -> Result<()> {
    let metadata = json!({ "name": "kafka", "namespace": "messaging" });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "messaging" } });
    apply::one(client, namespace).await?;
    let port = |name: &str, port: u16| json!({ "name": name, "port": port, "protocol": "TCP" });
    let ports = json!([port("kafka", 9092), port("kafka-tls", 9094)]);
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": { "ports": ports } });
    apply::one(client, service).await?;
    apply::endpoints(client, "messaging", "kafka", ADDRESS, &ports).await
}
