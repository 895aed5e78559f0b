//! One sweep over a Kafka cluster: the offsets of every group, and the ends of every partition, in as few requests as there are
//! brokers and groups.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use tidegate_core::kafka::{KafkaLag, Lag, PartitionOffsets};

use tidegate_kafka_admin::{Admin, End, Offsets, Partition, advised};

use super::{groups::Groups, history::History, topics::KnownTopics};

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
    topics: KnownTopics,
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
        let named = wanted.iter().flat_map(|lag| lag.topics.names()).chain(of_groups).collect();
        let patterns = wanted.iter().map(|lag| &lag.topics).filter(|topics| topics.patterns().next().is_some());
        self.topics.look_up(admin, &named, &patterns.collect(), within)?;
        let partitions = self.topics.partitions(named);
        let latest = admin.ends(&partitions, End::Latest, read_committed, within)?;
        let ends = admin.ends(&beyond(&committed, &latest), End::Latest, false, within)?;
        let earliest = admin.ends(&partitions, End::Earliest, false, within)?;
        if [&latest, &ends, &earliest].into_iter().flat_map(HashMap::values).any(Result::is_err) {
            // A topic was deleted, or a partition has another leader.
            self.topics.forget();
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
        let topics: BTreeSet<_> = partitions.iter().map(|(topic, _)| topic.clone()).collect();
        let offsets = |partition| found.of(&partition, of_group).map(|offsets| (partition, offsets));
        let offsets = partitions.into_iter().map(offsets).collect::<Result<_, String>>()?;
        let lag = self.history.lag(wanted, offsets, found.at).map_err(|error| error.to_string())?;
        Ok(Lag { topics: u32::try_from(topics.len()).unwrap_or(u32::MAX), ..lag })
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
