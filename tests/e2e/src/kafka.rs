//! Kafka for tests: topics, messages and offsets by a client, and the lag as Kafka's own tool reports it.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    error::KafkaError,
    producer::{BaseProducer, BaseRecord, Producer},
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    task::spawn_blocking,
};

use crate::{kubectl::run, scenario::until};

/// The stack's broker.
pub const BROKER: &str = "kafka.messaging.svc:9092";

const SOON: Duration = Duration::from_secs(30);

/// A Kafka cluster.
#[derive(Clone)]
pub struct Kafka {
    brokers: String,
}

impl Kafka {
    /// The cluster with these bootstrap servers.
    pub fn at(brokers: &str) -> Self {
        Self { brokers: brokers.to_owned() }
    }

    /// Settings of a client.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// A client that creates and deletes topics and groups.
    pub fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(self.config().create()?)
    }

    /// Runs one of Kafka's own tools, and returns its output.
    pub async fn tool(&self, class: &str, args: &[&str], stdin: Option<&str>) -> Result<String> {
        let class = format!("org.apache.kafka.tools.{class}");
        run("kafka", &[&[class.as_str(), "--bootstrap-server", &self.brokers], args].concat(), stdin).await
    }

    /// Creates a topic with one replica of each partition, on any broker.
    pub async fn topic(&self, name: &str, partitions: i32) -> Result<()> {
        self.create(&NewTopic::new(name, partitions, TopicReplication::Fixed(1))).await
    }

    /// Creates the topic, which does not exist yet.
    pub async fn create(&self, topic: &NewTopic<'_>) -> Result<()> {
        let admin = self.admin()?;
        until(&format!("Kafka makes topic {}", topic.name), async || {
            let made = admin.create_topics([topic], &AdminOptions::new()).await?;
            ensure!(made.iter().all(Result::is_ok), "{made:?}");
            Ok(())
        })
        .await
    }

    /// Produces this many messages to a partition, all with the same key.
    pub async fn produce(&self, topic: &str, partition: i32, messages: u32) -> Result<()> {
        let producer: BaseProducer = self.config().create()?;
        let topic = topic.to_owned();
        spawn_blocking(move || send(&producer, &topic, partition, messages)).await?
    }

    /// Produces this many messages in a transaction, which is open until the result is dropped, aborted or committed.
    pub async fn transaction(&self, topic: &str, messages: u32) -> Result<BaseProducer> {
        let mut config = self.config();
        config.set("transactional.id", topic).set("transaction.timeout.ms", "600000");
        let producer: BaseProducer = config.create()?;
        let topic = topic.to_owned();
        spawn_blocking(move || {
            producer.init_transactions(SOON)?;
            producer.begin_transaction()?;
            send(&producer, &topic, 0, messages)?;
            Ok(producer)
        })
        .await?
    }

    /// Counts the messages that a partition still has.
    pub async fn held(&self, topic: &str, partition: i32) -> Result<usize> {
        let consumer: BaseConsumer =
            self.config().set("group.id", "held").set("enable.partition.eof", "true").create()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
        spawn_blocking(move || {
            consumer.assign(&list)?;
            let mut held = 0;
            loop {
                match consumer.poll(SOON).context("no message and no end")? {
                    Ok(_) => held += 1,
                    Err(KafkaError::PartitionEOF(_)) => return Ok(held),
                    Err(error) => return Err(error.into()),
                }
            }
        })
        .await?
    }

    /// Makes the first replica of a partition its leader.
    pub async fn lead_by_first(&self, topic: &str, partition: i32) -> Result<()> {
        let partition = partition.to_string();
        let args = ["--election-type", "preferred", "--topic", topic, "--partition", &partition];
        until(&format!("the first replica of partition {partition} of {topic} leads"), async || {
            let told = self.tool("LeaderElectionCommand", &args, None).await?;
            ensure!(told.contains("Successfully completed") || told.contains("Valid replica already"), "{told}");
            Ok(())
        })
        .await
    }

    /// Commits these offsets of partitions for the group.
    pub async fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) -> Result<()> {
        let consumer: BaseConsumer = self.config().set("group.id", group).create()?;
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        spawn_blocking(move || Ok(consumer.commit(&list, CommitMode::Sync)?)).await?
    }

    /// The lag of each of these groups, as the sum of the lags that Kafka's own tool reports; partitions without an offset are left out.
    pub async fn lags(&self, groups: &[&str]) -> Result<BTreeMap<String, i64>> {
        let mut args = vec!["--describe"];
        for group in groups {
            args.extend(["--group", group]);
        }
        let tables = self.tool("consumer.group.ConsumerGroupCommand", &args, None).await?;
        let mut lags = BTreeMap::new();
        // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG …
        for line in tables.lines() {
            let cells: Vec<_> = line.split_whitespace().collect();
            if let [group, _, _, _, _, lag, ..] = cells[..]
                && groups.contains(&group)
            {
                *lags.entry(group.to_owned()).or_default() += if lag == "-" { 0 } else { lag.parse::<i64>()? };
            }
        }
        ensure!(lags.len() == groups.len(), "Kafka's tool tells of {lags:?} only: {tables}");
        Ok(lags)
    }
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, messages: u32) -> Result<()> {
    for number in 0..messages {
        let number = number.to_string();
        let record = BaseRecord::to(topic).partition(partition).key("same").payload(&number);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    Ok(producer.flush(SOON)?)
}

/// Three brokers that a test may kill: each is a controller too.
pub struct Brokers {
    folder: TempDir,
    nodes: BTreeMap<u8, Child>,
}

impl Brokers {
    /// Formats and starts them.
    pub async fn start() -> Result<Self> {
        let mut brokers = Self { folder: tempfile::tempdir()?, nodes: BTreeMap::new() };
        for node in 1..=3 {
            brokers.format(node, address(node)).await?;
        }
        for node in 1..=3 {
            brokers.boot(node)?;
        }
        Ok(brokers)
    }

    /// The cluster of these brokers.
    pub fn kafka(&self) -> Kafka {
        Kafka::at(&format!("{}:9092,{}:9092,{}:9092", address(1), address(2), address(3)))
    }

    /// Kills a broker, without a clean shutdown.
    pub async fn kill(&mut self, node: u8) -> Result<()> {
        let mut child = self.nodes.remove(&node).context("it does not run")?;
        Ok(child.kill().await?)
    }

    /// Starts a broker with the disk that it had.
    pub fn boot(&mut self, node: u8) -> Result<()> {
        let log = fs::File::create(self.folder.path().join(format!("{node}.log")))?;
        let child = Command::new("kafka")
            .arg("kafka.Kafka")
            .arg(self.properties(node))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.nodes.insert(node, child);
        Ok(())
    }

    /// Replaces a broker by another machine, with an empty disk and another address for its clients.
    pub async fn replace(&mut self, node: u8) -> Result<()> {
        fs::remove_dir_all(self.disk(node))?;
        self.format(node, address(node + 3)).await?;
        self.boot(node)
    }

    fn properties(&self, node: u8) -> PathBuf {
        self.folder.path().join(format!("{node}.properties"))
    }

    fn disk(&self, node: u8) -> PathBuf {
        self.folder.path().join(node.to_string())
    }

    async fn format(&self, node: u8, advertised: String) -> Result<()> {
        let voters: Vec<_> = (1..=3).map(|node| format!("{node}@{}:9093", address(node))).collect();
        let mut properties = format!(
            "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={}\n\
             listeners=PLAINTEXT://{advertised}:9092,CONTROLLER://{}:9093\n\
             advertised.listeners=PLAINTEXT://{advertised}:9092\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\nlog.dirs={}\n",
            voters.join(","),
            address(node),
            self.disk(node).display()
        );
        // Short timeouts, so that a dead broker is noticed soon, and few threads and partitions, because no machine is large here.
        for (key, value) in [
            ("broker.session.timeout.ms", "3000"),
            ("broker.heartbeat.interval.ms", "500"),
            ("offsets.topic.num.partitions", "1"),
            ("offsets.topic.replication.factor", "3"),
            ("group.initial.rebalance.delay.ms", "0"),
            ("log.cleaner.enable", "false"),
            ("num.network.threads", "1"),
            ("num.io.threads", "2"),
            ("background.threads", "2"),
        ] {
            writeln!(properties, "{key}={value}")?;
        }
        let file = self.properties(node);
        fs::write(&file, properties)?;
        let file = file.display().to_string();
        let format = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", &file];
        run("kafka", &format, None).await.map(drop)
    }
}

/// Addresses of the fake pods' range, which any process may bind.
fn address(node: u8) -> String {
    format!("10.244.255.{}", 240 + node)
}

/// Checks that Kafka's own tool does not know a group.
pub async fn is_unknown(kafka: &Kafka, group: &str) -> Result<()> {
    let told = kafka.tool("consumer.group.ConsumerGroupCommand", &["--describe", "--group", group], None).await;
    let told = told.unwrap_or_else(|error| error.to_string());
    ensure!(told.contains("does not exist") || told.contains("not found"), "Kafka's tool knows group {group}: {told}");
    Ok(())
}
