//! One sweep over a Kafka cluster: the offsets of every group, and the ends of every partition, in as few requests as there are
//! brokers and groups.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use tidegate_core::kafka::{KafkaLag, Lag, PartitionOffsets};

use tidegate_kafka_admin::{Admin, End, Offsets, Partition, advised};

use super::{groups::Groups, history::History};

/// Most topics whose partitions are looked up one by one; if there are more, all topics of the cluster are looked up at once.
const ONE_BY_ONE: usize = 20;
/// How long partitions are remembered: some are added, and topics are created, now and then.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// The result for each lag.
pub(super) type Answers = Vec<(KafkaLag, Result<Lag, String>)>;

/// Gives all lags the same error.
pub(super) fn none_known(wanted: &[KafkaLag], error: &str) -> Answers {
    wanted.iter().map(|lag| (lag.clone(), Err(error.to_owned()))).collect()
}

/// The state of a cluster that is kept from one sweep to the next.
#[derive(Default)]
pub(super) struct Sweeper {
    groups: Groups,
    topics: Topics,
    history: History,
}

impl Sweeper {
    /// Finds the wanted lags, which have to be sorted. Asks for the offsets of groups first, then for the ends of partitions, so
    /// that no offset is beyond the end because a consumer committed meanwhile. Blocks.
    pub(super) fn sweep(
        &mut self,
        admin: &Admin,
        wanted: &[KafkaLag],
        read_committed: bool,
        within: Duration,
    ) -> Answers {
        match self.offsets(admin, wanted, read_committed, within) {
            Ok(found) => {
                self.history.keep(wanted);
                wanted.iter().map(|lag| (lag.clone(), self.one(lag, &found))).collect()
            }
            Err(error) => none_known(wanted, &error),
        }
    }

    fn offsets(
        &mut self,
        admin: &Admin,
        wanted: &[KafkaLag],
        read_committed: bool,
        within: Duration,
    ) -> Result<Found, String> {
        let groups: BTreeSet<_> = wanted.iter().map(|lag| lag.group.clone()).collect();
        let mut committed = admin.committed(&groups.into_iter().collect::<Vec<_>>(), within);
        let kind = |group: &str| admin.is_of_another_kind(group, within);
        self.groups.refuse_others(&mut committed, Instant::now(), kind);
        let of_groups = committed.values().flatten().flat_map(HashMap::keys).map(|(topic, _)| topic.as_str());
        let named = wanted.iter().flat_map(|lag| &lag.topics).map(String::as_str).chain(of_groups).collect();
        self.topics.look_up(admin, &named, within)?;
        let partitions: Vec<Partition> = self.topics.partitions(&named).collect();
        let latest = admin.ends(&partitions, End::Latest, read_committed, within)?;
        let ends = admin.ends(&beyond(&committed, &latest), End::Latest, false, within)?;
        let earliest = admin.ends(&partitions, End::Earliest, false, within)?;
        if [&latest, &ends, &earliest].into_iter().flat_map(HashMap::values).any(Result::is_err) {
            // A topic was deleted, or a partition has another leader.
            self.topics.looked_up = None;
        }
        Ok(Found { committed, latest, ends, earliest, at: Instant::now() })
    }

    fn one(&mut self, wanted: &KafkaLag, found: &Found) -> Result<Lag, String> {
        let of_group = match found.committed.get(&wanted.group) {
            Some(Ok(offsets)) => offsets,
            Some(Err(error)) => {
                return Err(advised(format!("group {}: {error}", wanted.group), "group", &wanted.group));
            }
            None => return Err(format!("group {} was not asked for", wanted.group)),
        };
        let partitions = self.topics.counted(wanted, of_group)?;
        let offsets = |partition| found.of(&partition, of_group).map(|offsets| (partition, offsets));
        let offsets = partitions.into_iter().map(offsets).collect::<Result<_, String>>()?;
        self.history.lag(wanted, offsets, found.at).map_err(|error| error.to_string())
    }
}

/// Partitions on which a group has committed an offset beyond the end. Their end is asked for again, because a leader that was
/// just replaced may answer with less than there is; and with open transactions included, because a group that reads uncommitted
/// messages passes those.
fn beyond(committed: &HashMap<String, Result<Offsets, String>>, latest: &Offsets) -> Vec<Partition> {
    let is_beyond = |(partition, offset): &(&Partition, &Result<i64, String>)| match (offset, latest.get(*partition)) {
        (Ok(offset), Some(Ok(latest))) => offset > latest,
        _ => false,
    };
    let beyond = committed.values().flatten().flatten().filter(is_beyond).map(|(partition, _)| partition);
    beyond.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// All offsets of one sweep.
struct Found {
    committed: HashMap<String, Result<Offsets, String>>,
    latest: Offsets,
    /// The ends with open transactions included, of the partitions that are [`beyond`]
    ends: Offsets,
    earliest: Offsets,
    at: Instant,
}

impl Found {
    fn of(&self, partition: &Partition, committed: &Offsets) -> Result<PartitionOffsets, String> {
        let (topic, id) = partition;
        let end = |ends: &Offsets, which: &str| match ends.get(partition) {
            Some(Ok(offset)) => Ok(*offset),
            Some(Err(error)) => Err(format!("{which} offset of partition {id} of topic {topic}: {error}")),
            None => Err(format!("{which} offset of partition {id} of topic {topic}: not answered")),
        };
        let committed = committed.get(partition).cloned().transpose();
        let committed = committed.map_err(|error| format!("partition {id} of topic {topic}: {error}"))?;
        let latest = end(&self.latest, "last")?;
        let is_beyond = committed.is_some_and(|committed| committed > latest);
        Ok(PartitionOffsets {
            earliest: end(&self.earliest, "first")?,
            latest,
            end: if is_beyond { end(&self.ends, "last")? } else { latest },
            committed,
            stuck: false,
        })
    }
}

/// The partitions of topics, as they were last looked up, or why they are not known.
#[derive(Default)]
struct Topics {
    known: HashMap<String, Result<Vec<i32>, String>>,
    looked_up: Option<Instant>,
}

impl Topics {
    fn look_up(&mut self, admin: &Admin, wanted: &BTreeSet<&str>, within: Duration) -> Result<(), String> {
        let fresh = self.looked_up.is_some_and(|at| at.elapsed() < LOOK_UP_EVERY);
        if fresh && wanted.iter().all(|topic| self.known.contains_key(*topic)) {
            return Ok(());
        }
        let mut found = if wanted.len() > ONE_BY_ONE {
            admin.partitions(None, within)?
        } else {
            let mut found = HashMap::new();
            for topic in wanted {
                found.extend(admin.partitions(Some(topic), within)?);
            }
            found
        };
        let missing = || Err("does not exist, or may not be described".to_owned());
        self.known =
            wanted.iter().map(|topic| ((*topic).to_owned(), found.remove(*topic).unwrap_or_else(missing))).collect();
        self.looked_up = Some(Instant::now());
        Ok(())
    }

    fn of(&self, topic: &str) -> impl Iterator<Item = Partition> {
        let ids = self.known.get(topic).and_then(|known| known.as_deref().ok()).unwrap_or_default();
        ids.iter().map(move |id| (topic.to_owned(), *id))
    }

    fn partitions<'a>(&'a self, topics: &'a BTreeSet<&str>) -> impl Iterator<Item = Partition> {
        topics.iter().flat_map(|topic| self.of(topic))
    }

    /// The partitions whose lag is wanted.
    fn counted(&self, wanted: &KafkaLag, committed: &Offsets) -> Result<Vec<Partition>, String> {
        let of_group: BTreeSet<_> = committed.keys().map(|(topic, _)| topic).collect();
        if wanted.topics.is_empty() && of_group.is_empty() {
            return Err(format!(
                "group {} has committed no offset on any topic; name its topics in tidegate.dev/kafka-topics",
                wanted.group
            ));
        }
        for topic in &wanted.topics {
            if let Some(Err(error)) = self.known.get(topic) {
                return Err(advised(format!("topic {topic}: {error}"), "topic", topic));
            }
        }
        // If no topic is named, the group may have offsets of a topic that was deleted: nothing waits there.
        let topics: Vec<_> =
            if wanted.topics.is_empty() { of_group.into_iter().collect() } else { wanted.topics.iter().collect() };
        let all = topics.into_iter().flat_map(|topic| self.of(topic));
        let counted: Vec<_> = all.filter(|(_, id)| wanted.partitions.contains(*id)).collect();
        if counted.is_empty() && !wanted.topics.is_empty() {
            return Err(format!("none of its topics has one of the partitions {}", wanted.partitions));
        }
        Ok(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: i64 = 9;

    fn partition() -> Partition {
        ("orders".to_owned(), 0)
    }

    fn offset(offset: i64) -> Offsets {
        [(partition(), Ok(offset))].into()
    }

    /// The offsets of the partition, with the first answer for its end and, if that was asked for again, the second.
    fn found(latest: i64, ends: Offsets) -> Result<PartitionOffsets, String> {
        let found =
            Found { committed: HashMap::new(), latest: offset(latest), ends, earliest: offset(0), at: Instant::now() };
        found.of(&partition(), &offset(COMMITTED))
    }

    #[test]
    fn the_end_is_asked_again_only_where_a_group_is_beyond_it() {
        let committed = [("billing".to_owned(), Ok(offset(COMMITTED))), ("away".to_owned(), Err(String::new()))].into();
        assert_eq!(beyond(&committed, &offset(COMMITTED - 1)), [partition()]);
        assert_eq!(beyond(&committed, &offset(COMMITTED)), []);
        assert_eq!(beyond(&committed, &Offsets::new()), [], "it has an error of its own");
    }

    #[test]
    fn an_offset_is_beyond_the_end_when_both_answers_say_so() {
        assert_eq!(found(9, Offsets::new()).unwrap().valid(), Some(COMMITTED));
        assert_eq!(found(4, offset(9)).unwrap().valid(), Some(COMMITTED), "the first leader was behind");
        assert_eq!(found(4, offset(4)).unwrap().valid(), None);
        let unanswered = found(4, Offsets::new()).unwrap_err();
        assert_eq!(unanswered, "last offset of partition 0 of topic orders: not answered");
    }
}
