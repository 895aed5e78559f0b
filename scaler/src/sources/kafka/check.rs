//! A check of whether a cluster can be used, in steps: the one that fails says what is missing.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use serde::Serialize;

use tidegate_core::kafka::Topics;
use tidegate_kafka_admin::{Admin, End, Partition, advised};

use super::oauth::OauthSettings;
use super::{groups::Groups, settings::ClusterSettings};

/// Timeout for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// One step, and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The name of the step
    pub step: String,
    /// Whether it succeeded
    pub ok: bool,
    /// The finding, or the problem and what to do about it
    pub detail: String,
}

/// Checks the settings, the connection to each broker, the credentials, and their permissions on these groups and topics, each a
/// value of `kafka-topics`: for patterns it lists the topics that they match. Steps that depend on one that failed are left out. Blocks, so it must not run on a thread of the runtime.
pub fn check(settings: &ClusterSettings, topics: &[String], groups: &[String]) -> Vec<Step> {
    let (mut steps, within) = (Steps(Vec::new()), settings.timeout());
    let Some(config) =
        steps.done("settings", settings.client().map(|config| (config, "all files can be read".to_owned())))
    else {
        return steps.0;
    };
    let resolved: Vec<_> = settings
        .brokers
        .iter()
        .filter_map(|broker| steps.done(&format!("resolve {broker}"), resolve(broker)))
        .collect();
    let reached: Vec<_> = resolved
        .into_iter()
        .filter_map(|addresses| steps.done(&format!("connect to {}", joined(&addresses)), connect(&addresses)))
        .collect();
    if reached.is_empty() {
        return steps.0;
    }
    let admin = Admin::new(&config, settings.oauth().cloned().map(OauthSettings::tokens), within).and_then(|admin| {
        let known = admin.partitions(None, within);
        let topics = known.map_err(|error| format!("{error}{}", complaint(&admin)))?.len();
        Ok((admin, format!("accepted; {topics} topics may be described")))
    });
    let Some(admin) = steps.done(&format!("log in {}", who(settings)), admin) else { return steps.0 };
    for written in topics {
        steps.topics(&admin, written, settings.read_committed, within);
    }
    for group in groups {
        let mut committed = admin.committed(std::slice::from_ref(group), within);
        let kind = |group: &str| admin.is_of_another_kind(group, within);
        Groups::default().refuse_others(&mut committed, Instant::now(), kind);
        let committed = committed.remove(group).unwrap_or_else(|| Err("no answer".to_owned()));
        let found = committed.map(|offsets| ((), format!("has committed offsets on {} partitions", offsets.len())));
        steps.done(&format!("group {group}"), found.map_err(|error| advised(error, "group", group)));
    }
    steps.0
}

struct Steps(Vec<Step>);

impl Steps {
    fn done<T>(&mut self, step: &str, outcome: Result<(T, String), String>) -> Option<T> {
        let (ok, value, detail) = match outcome {
            Ok((value, detail)) => (true, Some(value), detail),
            Err(detail) => (false, None, detail),
        };
        self.0.push(Step { step: step.to_owned(), ok, detail });
        value
    }

    /// A step for each topic that is named, and one for all patterns.
    fn topics(&mut self, admin: &Admin, written: &str, read_committed: bool, within: Duration) {
        let parsed = written.parse::<Topics>().map_err(|error| format!("wants {error}"));
        let Ok(topics) = parsed.as_ref() else {
            self.done(&format!("topic {written}"), parsed.map(|_| ((), String::new())));
            return;
        };
        for topic in topics.names() {
            let found = of_topic(admin, topic, read_committed, within);
            self.done(&format!("topic {topic}"), found.map(|found| ((), found)));
        }
        if topics.patterns().next().is_some() {
            let found = of_patterns(admin, topics, read_committed, within);
            self.done(&format!("topics {topics}"), found.map(|found| ((), found)));
        }
    }
}

fn resolve(broker: &str) -> Result<(Vec<SocketAddr>, String), String> {
    let found =
        broker.to_socket_addrs().map_err(|error| format!("{error}; wants HOST:PORT, and a host that is known here"))?;
    let addresses: Vec<_> = found.collect();
    if addresses.is_empty() {
        return Err("the host has no address".to_owned());
    }
    let shown = joined(&addresses);
    Ok((addresses, shown))
}

fn joined(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn connect(addresses: &[SocketAddr]) -> Result<((), String), String> {
    let mut last = String::new();
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT) {
            Ok(_) => return Ok(((), "accepts connections".to_owned())),
            Err(error) => last = format!("{error}; is a NetworkPolicy in the way?"),
        }
    }
    Err(last)
}

fn who(settings: &ClusterSettings) -> String {
    let transport = if settings.tls.is_some() { "over TLS" } else { "in plain text" };
    match &settings.sasl {
        None => transport.to_owned(),
        Some(sasl) => format!("as {} ({}) {transport}", sasl.user(), sasl.mechanism()),
    }
}

fn of_topic(admin: &Admin, topic: &str, read_committed: bool, within: Duration) -> Result<String, String> {
    let found = admin.partitions(Some(topic), within)?.remove(topic).unwrap_or_else(|| Err("not answered".to_owned()));
    let ids = found.map_err(|error| advised(error, "topic", topic))?;
    let partitions: Vec<Partition> = ids.iter().map(|id| (topic.to_owned(), *id)).collect();
    let messages = messages(admin, &partitions, read_committed, within)?;
    Ok(format!("{} partitions with {messages} messages", ids.len()))
}

/// The topics that patterns match, among all that may be described.
fn of_patterns(admin: &Admin, topics: &Topics, read_committed: bool, within: Duration) -> Result<String, String> {
    let all = admin.partitions(None, within)?;
    let matched = topics.matched(&all.keys().map(String::as_str)).map_err(|error| error.to_string())?;
    let mut partitions = Vec::new();
    for (topic, ids) in matched.iter().filter_map(|topic| Some((*topic, all.get(*topic)?))) {
        let ids = ids.as_ref().map_err(|error| format!("topic {topic}: {error}"))?;
        partitions.extend(ids.iter().map(|id| (topic.to_owned(), *id)));
    }
    let messages = messages(admin, &partitions, read_committed, within)?;
    let names = matched.iter().copied().collect::<Vec<_>>().join(", ");
    let (matched, partitions) = (matched.len(), partitions.len());
    Ok(format!("{matched} topics match, with {partitions} partitions and {messages} messages: {names}"))
}

/// The messages on these partitions.
fn messages(admin: &Admin, partitions: &[Partition], read_committed: bool, within: Duration) -> Result<i64, String> {
    let sum = |ends: HashMap<Partition, Result<i64, String>>| {
        let mut sum = 0i64;
        for ((topic, id), offset) in ends {
            let error = |error| advised(format!("partition {id} of topic {topic}: {error}"), "topic", &topic);
            sum = sum.saturating_add(offset.map_err(error)?);
        }
        Ok::<i64, String>(sum)
    };
    let first = sum(admin.ends(partitions, End::Earliest, false, within)?)?;
    let last = sum(admin.ends(partitions, End::Latest, read_committed, within)?)?;
    Ok(last.saturating_sub(first))
}

fn complaint(admin: &Admin) -> String {
    admin.complaint().map(|complaint| format!(" ({complaint})")).unwrap_or_default()
}
