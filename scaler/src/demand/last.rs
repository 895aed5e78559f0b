//! The last known values of triggers, except Kafka's, which the signal store holds itself.

use std::{collections::HashMap, time::Duration};

use tidegate_core::{
    signal::{Family, Signal},
    trigger::{Traffic, Trigger},
};
use tokio::time::Instant;

use crate::store::{Reading, WINDOW};

/// Entries that nobody asked for in this time are forgotten. KEDA asks at least every `pollingInterval`, which is seconds to minutes.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Interval of the search for entries that nobody asked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Maximum number of entries, ten times the workloads that Tidegate is designed for: names of Services and clusters come from
/// callers, so there has to be a limit. A value that does not fit is not held: callers get an error instead of an older value.
const MOST: usize = 100_000;
/// Maximum total bytes of the names that callers give: ten times what those workloads need.
const MOST_BYTES: usize = 32 << 20;

#[derive(Debug, Default)]
pub(super) struct LastValues {
    of_traffic: HashMap<Traffic, Entry>,
    of_queries: HashMap<String, Entry>,
    bytes: usize,
    looked: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    asked: Instant,
    /// End of the time in which the windows contain seconds without visible traffic
    unseen_until: Option<Instant>,
    values: Vec<(Signal, Value)>,
}

#[derive(Debug, Clone, Copy)]
struct Value {
    value: f64,
    measured: Instant,
}

impl LastValues {
    pub(super) fn remember(&mut self, trigger: &Trigger, signal: Signal, reading: Reading, now: Instant) {
        if signal.family() == Family::Kafka {
            return;
        }
        // A time before the clock's start cannot be represented.
        let measured = now.checked_sub(reading.age).unwrap_or(now);
        let value = Value { value: reading.value, measured };
        if let Some(entry) = self.entry(trigger, signal, now) {
            match entry.values.iter_mut().find(|(of, _)| *of == signal) {
                Some((_, last)) => *last = value,
                None => entry.values.push((signal, value)),
            }
            return;
        }
        self.make_room(now);
        let size = size(trigger, signal);
        if self.count() >= MOST || self.bytes + size > MOST_BYTES {
            return;
        }
        self.bytes += size;
        let entry = Entry { asked: now, unseen_until: None, values: vec![(signal, value)] };
        match (signal, &trigger.query, &trigger.traffic) {
            (Signal::PrometheusQuery, Some(query), _) => _ = self.of_queries.insert(query.clone(), entry),
            (.., Some(traffic)) if signal != Signal::PrometheusQuery => {
                self.of_traffic.insert(traffic.clone(), entry);
            }
            _ => {}
        }
    }

    /// Returns the last value, however old.
    pub(super) fn reading(&mut self, trigger: &Trigger, signal: Signal, now: Instant) -> Option<Reading> {
        let entry = self.entry(trigger, signal, now)?;
        let (_, Value { value, measured }) = *entry.values.iter().find(|(of, _)| *of == signal)?;
        Some(Reading { value, age: now.duration_since(measured) })
    }

    /// Whether the traffic cannot be seen now, or could not be seen at some time in the window.
    pub(super) fn was_unseen(&mut self, trigger: &Trigger, unseen: bool, now: Instant) -> bool {
        let entry = trigger.traffic.as_ref().and_then(|traffic| self.of_traffic.get_mut(traffic));
        let Some(entry) = entry else { return unseen };
        if unseen {
            entry.unseen_until = now.checked_add(WINDOW);
        }
        entry.unseen_until.is_some_and(|until| now <= until)
    }

    pub(super) fn count(&self) -> usize {
        self.of_traffic.len() + self.of_queries.len()
    }

    fn entry(&mut self, trigger: &Trigger, signal: Signal, now: Instant) -> Option<&mut Entry> {
        let entry = match signal {
            Signal::PrometheusQuery => self.of_queries.get_mut(trigger.query.as_ref()?),
            Signal::KafkaLag | Signal::KafkaLagSeconds => None,
            _ => self.of_traffic.get_mut(trigger.traffic.as_ref()?),
        }?;
        entry.asked = now;
        Some(entry)
    }

    /// Removes entries that nobody asked for. At most once a minute, so that a new entry stays cheap.
    fn make_room(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        let wanted = |entry: &Entry| now.duration_since(entry.asked) < FORGET_AFTER;
        self.of_traffic.retain(|_, entry| wanted(entry));
        self.of_queries.retain(|_, entry| wanted(entry));
        let queries: usize = self.of_queries.keys().map(String::len).sum();
        self.bytes = queries + self.of_traffic.keys().map(size_of).sum::<usize>();
    }
}

/// Bytes of the key under which a value is kept.
fn size(trigger: &Trigger, signal: Signal) -> usize {
    match (signal, &trigger.query, &trigger.traffic) {
        (Signal::PrometheusQuery, Some(query), _) => query.len(),
        (.., Some(traffic)) => size_of(traffic),
        _ => 0,
    }
}

fn size_of(traffic: &Traffic) -> usize {
    match traffic {
        Traffic::Workload(id) => id.namespace.len() + id.name.len(),
        Traffic::Service(id) => id.namespace.len() + id.name.len(),
        Traffic::Clusters(names) => names.iter().map(String::len).sum(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fixture::deployment;

    fn of(traffic: Traffic) -> Trigger {
        Trigger {
            namespace: "shop".into(),
            targets: Vec::new(),
            traffic: Some(traffic),
            query: None,
            kafka: None,
            model: None,
            schedule: None,
        }
    }

    #[test]
    fn what_strangers_name_takes_a_bounded_number_of_bytes_and_is_given_back() {
        let (mut last, now) = (LastValues::default(), Instant::now());
        let reading = Reading { value: 1.0, age: Duration::ZERO };
        let named =
            |n: usize| of(Traffic::Clusters((0..10).map(|i| format!("{n}-{i}-{}", "x".repeat(1000))).collect()));
        (0..10_000).for_each(|n| last.remember(&named(n), Signal::Concurrency, reading, now));
        assert!(last.bytes <= MOST_BYTES && last.count() < 4000, "{}", last.count());
        let later = now + FORGET_AFTER;
        last.remember(&of(Traffic::Workload(deployment("api"))), Signal::Concurrency, reading, later);
        assert_eq!((last.count(), last.bytes < 100), (1, true));
    }
}
