//! One sweep over a Kafka cluster: the offsets of every group, and the ends of every partition, in as few requests as there are
//! brokers and groups.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use tidegate_core::kafka::{KafkaLag, Lag, PartitionOffsets, lag};

use super::admin::{Admin, End, Offsets, Partition};

/// Topics whose partitions are looked up one by one; of more, all topics of the cluster are looked up at once.
const ONE_BY_ONE: usize = 20;
/// Partitions are added now and then.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// The partitions of topics, as they were last looked up.
#[derive(Default)]
pub(super) struct Topics {
    known: HashMap<String, Vec<i32>>,
    looked_up: Option<Instant>,
}

impl Topics {
    fn look_up(&mut self, admin: &Admin, wanted: &BTreeSet<&str>, within: Duration) -> Result<(), String> {
        let fresh = self.looked_up.is_some_and(|at| at.elapsed() < LOOK_UP_EVERY);
        if fresh && wanted.iter().all(|topic| self.known.contains_key(*topic)) {
            return Ok(());
        }
        self.known = if wanted.len() > ONE_BY_ONE {
            admin.partitions(None, within)?
        } else {
            let mut known = HashMap::new();
            for topic in wanted {
                known.extend(admin.partitions(Some(topic), within)?);
            }
            known
        };
        self.looked_up = Some(Instant::now());
        Ok(())
    }
}

/// Finds the lags. Groups first, then the ends of partitions, so that a lag is never negative because somebody committed
/// meanwhile. Blocks.
pub(super) fn sweep(
    admin: &Admin,
    topics: &mut Topics,
    wanted: &[KafkaLag],
    read_committed: bool,
    within: Duration,
) -> Vec<(KafkaLag, Result<Lag, String>)> {
    let groups: BTreeSet<_> = wanted.iter().map(|lag| lag.group.clone()).collect();
    let committed = admin.committed(&groups.into_iter().collect::<Vec<_>>(), within);
    let of_groups = committed.values().flatten().flat_map(HashMap::keys).map(|(topic, _)| topic.as_str());
    let named: BTreeSet<_> = wanted.iter().flat_map(|lag| &lag.topics).map(String::as_str).chain(of_groups).collect();
    if let Err(error) = topics.look_up(admin, &named, within) {
        return wanted.iter().map(|lag| (lag.clone(), Err(error.clone()))).collect();
    }
    let partitions: Vec<Partition> = named
        .iter()
        .flat_map(|topic| {
            let ids = topics.known.get(*topic).map_or(&[][..], Vec::as_slice);
            ids.iter().map(|id| ((*topic).to_owned(), *id))
        })
        .collect();
    let ends = admin
        .ends(&partitions, End::Latest, read_committed, within)
        .and_then(|latest| Ok((latest, admin.ends(&partitions, End::Earliest, false, within)?)));
    let (latest, earliest) = match ends {
        Ok(ends) => ends,
        Err(error) => return wanted.iter().map(|lag| (lag.clone(), Err(error.clone()))).collect(),
    };
    let found = |wanted: &KafkaLag| {
        let of_group = match committed.get(&wanted.group) {
            Some(Ok(offsets)) => offsets,
            Some(Err(error)) => return Err(format!("group {}: {error}", wanted.group)),
            None => return Err(format!("group {} was not asked for", wanted.group)),
        };
        one(wanted, of_group, topics, &latest, &earliest)
    };
    wanted.iter().map(|wanted| (wanted.clone(), found(wanted))).collect()
}

fn one(
    wanted: &KafkaLag,
    committed: &Offsets,
    topics: &Topics,
    latest: &Offsets,
    earliest: &Offsets,
) -> Result<Lag, String> {
    let of_group: BTreeSet<_> = committed.keys().map(|(topic, _)| topic.clone()).collect();
    let names: Vec<_> = if wanted.topics.is_empty() { of_group.into_iter().collect() } else { wanted.topics.clone() };
    if names.is_empty() {
        return Err(format!(
            "group {} has committed no offset on any topic; name its topics in tidegate.dev/kafka-topics",
            wanted.group
        ));
    }
    let mut partitions = Vec::new();
    for topic in names {
        let ids = topics.known.get(&topic).filter(|ids| !ids.is_empty());
        let Some(ids) = ids else {
            if wanted.topics.is_empty() {
                // The group has offsets of a topic that was deleted: nothing waits there.
                continue;
            }
            return Err(format!("topic {topic} does not exist, or may not be described"));
        };
        for id in ids {
            let partition = (topic.clone(), *id);
            let end = |ends: &Offsets, which: &str| match ends.get(&partition) {
                Some(Ok(offset)) => Ok(*offset),
                Some(Err(error)) => Err(format!("{which} offset of partition {id} of topic {topic}: {error}")),
                None => Err(format!("{which} offset of partition {id} of topic {topic}: not answered")),
            };
            let committed = committed.get(&partition).cloned().transpose();
            let committed = committed.map_err(|error| format!("partition {id} of topic {topic}: {error}"))?;
            partitions.push(PartitionOffsets {
                earliest: end(earliest, "first")?,
                latest: end(latest, "last")?,
                committed,
            });
        }
    }
    lag(&partitions, wanted.no_offset).map_err(|error| error.to_string())
}
