//! The topics of a cluster: their partitions, and which of them patterns match.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use tidegate_core::kafka::{KafkaLag, Topics};
use tidegate_kafka_admin::{Admin, Offsets, Partition, advised};

/// Most topics whose partitions are looked up one by one; if there are more, all topics of the cluster are looked up at once.
const ONE_BY_ONE: usize = 20;
/// How long partitions are remembered: some are added, and topics are created, now and then. Patterns are looked up with every
/// sweep, so that a new topic can wake a workload at once.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);

/// The partitions of each topic, or why they are not known.
type Known = HashMap<String, Result<Vec<i32>, String>>;

/// The topics of a cluster as they were last looked up.
#[derive(Default)]
pub(super) struct KnownTopics {
    known: Known,
    /// The topics that the patterns of a list match
    matched: BTreeMap<Topics, Result<BTreeSet<String>, String>>,
    looked_up: Option<Instant>,
}

impl KnownTopics {
    /// Looks up the topics of these names, and those that the patterns in these lists match, unless all are known.
    pub(super) fn look_up(
        &mut self,
        admin: &Admin,
        names: &BTreeSet<&str>,
        patterns: &BTreeSet<&Topics>,
        within: Duration,
    ) -> Result<(), String> {
        let fresh = patterns.is_empty() && self.looked_up.is_some_and(|at| at.elapsed() < LOOK_UP_EVERY);
        if fresh && names.iter().all(|topic| self.known.contains_key(*topic)) {
            return Ok(());
        }
        let found = if names.len() > ONE_BY_ONE || !patterns.is_empty() {
            admin.partitions(None, within)?
        } else {
            let mut found = HashMap::new();
            for topic in names {
                found.extend(admin.partitions(Some(topic), within)?);
            }
            found
        };
        self.take(found, names, patterns);
        self.looked_up = Some(Instant::now());
        Ok(())
    }

    /// Looks up everything again in the next sweep.
    pub(super) fn forget(&mut self) {
        self.looked_up = None;
    }

    fn take(&mut self, mut found: Known, names: &BTreeSet<&str>, patterns: &BTreeSet<&Topics>) {
        let all = found.keys().map(String::as_str);
        let matched = |topics: &Topics| match topics.matched(&all) {
            Ok(matched) => Ok(matched.into_iter().map(str::to_owned).collect()),
            Err(error) => Err(error.to_string()),
        };
        self.matched = patterns.iter().map(|topics| ((*topics).clone(), matched(topics))).collect();
        let missing = || Err("does not exist, or may not be described".to_owned());
        let matched = self.matched.values().flatten().flatten().map(String::as_str);
        let wanted: BTreeSet<_> = matched.chain(names.iter().copied()).collect();
        self.known =
            wanted.into_iter().map(|topic| (topic.to_owned(), found.remove(topic).unwrap_or_else(missing))).collect();
    }

    fn of(&self, topic: &str) -> impl Iterator<Item = Partition> {
        let ids = self.known.get(topic).and_then(|known| known.as_deref().ok()).unwrap_or_default();
        ids.iter().map(move |id| (topic.to_owned(), *id))
    }

    /// The partitions of the topics of these names, and of those that patterns match.
    pub(super) fn partitions<'a>(&'a self, mut names: BTreeSet<&'a str>) -> Vec<Partition> {
        names.extend(self.matched.values().flatten().flatten().map(String::as_str));
        names.into_iter().flat_map(|topic| self.of(topic)).collect()
    }

    /// The partitions whose lag is wanted.
    pub(super) fn counted(&self, wanted: &KafkaLag, committed: &Offsets) -> Result<Vec<Partition>, String> {
        let topics = self.chosen(wanted, committed)?;
        let all = topics.into_iter().flat_map(|topic| self.of(topic));
        let counted: Vec<_> = all.filter(|(_, id)| wanted.partitions.contains(*id)).collect();
        if counted.is_empty() && !wanted.topics.is_empty() {
            return Err(format!("none of its topics has one of the partitions {}", wanted.partitions));
        }
        Ok(counted)
    }

    /// The topics whose lag is wanted, each once.
    fn chosen<'a>(&'a self, wanted: &'a KafkaLag, committed: &'a Offsets) -> Result<BTreeSet<&'a str>, String> {
        if wanted.topics.is_empty() {
            // The group may have offsets of a topic that was deleted: nothing waits there.
            let of_group: BTreeSet<_> = committed.keys().map(|(topic, _)| topic.as_str()).collect();
            let group = &wanted.group;
            let none = format!(
                "group {group} has committed no offset on any topic; name its topics in tidegate.dev/kafka-topics"
            );
            return if of_group.is_empty() { Err(none) } else { Ok(of_group) };
        }
        let mut topics: BTreeSet<_> = wanted.topics.names().collect();
        if let Some(matched) = self.matched.get(&wanted.topics) {
            topics.extend(matched.as_ref().map_err(Clone::clone)?.iter().map(String::as_str));
        }
        for topic in &topics {
            if let Some(Err(error)) = self.known.get(*topic) {
                return Err(advised(format!("topic {topic}: {error}"), "topic", topic));
            }
        }
        Ok(topics)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::kafka::{NoOffset, Partitions};

    use super::*;

    const GROUP: &str = "billing";

    fn lag(topics: &str) -> KafkaLag {
        KafkaLag {
            cluster: "default".into(),
            group: GROUP.into(),
            topics: if topics.is_empty() { Topics::default() } else { topics.parse().unwrap() },
            partitions: Partitions::default(),
            no_offset: NoOffset::Earliest,
            stuck_after: None,
        }
    }

    /// A cluster with these topics of two partitions each.
    fn cluster(topics: &[&str]) -> Known {
        topics.iter().map(|topic| ((*topic).to_owned(), Ok(vec![0, 1]))).collect()
    }

    /// The partitions that are counted of a cluster, as `topic/partition`.
    fn counted(found: Known, topics: &str, committed: &[&str]) -> Result<String, String> {
        let (lag, committed) = (lag(topics), committed.iter().map(|topic| (((*topic).to_owned(), 0), Ok(7))).collect());
        let mut known = KnownTopics::default();
        let names = lag.topics.names().chain(Offsets::keys(&committed).map(|(topic, _)| topic.as_str())).collect();
        let patterns = lag.topics.patterns().next().map(|_| &lag.topics);
        known.take(found, &names, &patterns.into_iter().collect());
        let counted = known.counted(&lag, &committed)?;
        assert!(
            counted.iter().all(|partition| known.partitions(names.clone()).contains(partition)),
            "all are asked for"
        );
        Ok(counted.iter().map(|(topic, id)| format!("{topic}/{id}")).collect::<Vec<_>>().join(" "))
    }

    fn all() -> Known {
        cluster(&["orders-eu", "orders-us", "reorders", "audit", "__consumer_offsets"])
    }

    #[test]
    fn a_pattern_counts_the_topics_of_the_cluster_whether_the_group_has_read_them_or_not() {
        let counts = "orders-eu/0 orders-eu/1 orders-us/0 orders-us/1";
        assert_eq!(counted(all(), "/orders-.*/", &["orders-eu", "audit"]).as_deref(), Ok(counts));
        assert_eq!(counted(all(), "/orders-.*/", &[]).as_deref(), Ok(counts));
        assert_eq!(counted(all(), "", &["audit"]).as_deref(), Ok("audit/0 audit/1"));
    }

    #[test]
    fn a_topic_that_is_named_twice_and_matched_counts_once() {
        assert_eq!(
            counted(all(), "/.*-eu/, /orders-e./, orders-eu, orders-eu", &[]).as_deref(),
            Ok("orders-eu/0 orders-eu/1")
        );
    }

    #[test]
    fn a_topic_that_begins_to_match_counts_and_one_that_is_gone_does_not() {
        let mut known = KnownTopics::default();
        let lag = lag("/orders-.*/");
        let mut counts = |topics: &[&str]| {
            known.take(cluster(topics), &BTreeSet::new(), &[&lag.topics].into());
            known.counted(&lag, &Offsets::new()).map(|counted| counted.len())
        };
        assert_eq!(counts(&["orders-eu"]), Ok(2));
        assert_eq!(counts(&["orders-eu", "orders-us"]), Ok(4));
        assert_eq!(counts(&["orders-us"]), Ok(2));
        assert!(counts(&["audit"]).unwrap_err().starts_with("/orders-.*/ matches no topic"), "it is no zero");
    }

    #[test]
    fn a_pattern_that_matches_too_much_is_an_error_and_its_topics_are_not_asked_for() {
        let names: Vec<_> = (0..101).map(|n| format!("t{n}")).collect();
        let topics = cluster(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let error = counted(topics.clone(), "/t.*/", &[]).unwrap_err();
        assert!(error.starts_with("/t.*/ matches 101 topics, and at most 100"), "{error}");
        let (lag, mut known) = (lag("/t.*/"), KnownTopics::default());
        known.take(topics, &BTreeSet::new(), &[&lag.topics].into());
        assert_eq!(known.partitions(BTreeSet::new()), []);
    }

    #[test]
    fn a_topic_whose_partitions_are_not_known_is_an_error_whether_named_or_matched() {
        let mut found = all();
        found.insert("orders-us".into(), Err("Broker: Leader not available".into()));
        for topics in ["/orders-.*/", "orders-us"] {
            let error = counted(found.clone(), topics, &[]).unwrap_err();
            assert_eq!(error, "topic orders-us: Broker: Leader not available");
        }
        let missing = counted(all(), "/orders-.*/, lost", &[]).unwrap_err();
        assert_eq!(missing, "topic lost: does not exist, or may not be described");
    }
}
