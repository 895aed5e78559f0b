//! The answers of users' own PromQL queries.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{FORGET_AFTER, MAX_NAMED, NoReading, Reading};

/// A longer query is none that a person wrote.
const MAX_QUERY: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct Queries {
    asked: HashMap<Box<str>, Query>,
    planned: HashSet<Box<str>>,
}

#[derive(Debug)]
struct Query {
    wanted: Instant,
    value: Option<(Instant, f64)>,
    error: Option<String>,
}

impl Queries {
    /// The queries of the Plan are wanted for as long as it has them.
    pub(super) fn plan<'a>(&mut self, queries: impl Iterator<Item = &'a str>, now: Instant) {
        self.planned = queries.map(Box::from).collect();
        for query in self.planned.clone() {
            self.keep(&query, now);
        }
    }

    pub(super) fn keep(&mut self, promql: &str, now: Instant) {
        if let Some(query) = self.asked.get_mut(promql) {
            query.wanted = now;
        } else if self.asked.len() < MAX_NAMED && promql.len() <= MAX_QUERY {
            self.asked.insert(promql.into(), Query { wanted: now, value: None, error: None });
        }
    }

    /// The queries to ask now, in a stable order.
    pub(super) fn wanted(&mut self, now: Instant) -> Vec<String> {
        let planned = &self.planned;
        self.asked.retain(|promql, query| planned.contains(promql) || now.duration_since(query.wanted) < FORGET_AFTER);
        let mut wanted: Vec<_> = self.asked.keys().map(ToString::to_string).collect();
        wanted.sort_unstable();
        wanted
    }

    pub(super) fn commit(&mut self, promql: &str, answer: Result<f64, String>, now: Instant) {
        let Some(query) = self.asked.get_mut(promql) else { return };
        match answer {
            Ok(value) if value.is_finite() => {
                query.value = Some((now, value.max(0.0)));
                query.error = None;
            }
            Ok(value) => query.error = Some(format!("the query gives {value}, wants a finite number")),
            Err(error) => query.error = Some(error),
        }
    }

    /// A query that fails keeps its last value for a while, as every source does.
    pub(super) fn reading(&self, promql: &str, now: Instant, stale_after: Duration) -> Result<Reading, NoReading> {
        if promql.len() > MAX_QUERY {
            let reason = format!("the query has {} bytes, at most {MAX_QUERY} are taken", promql.len());
            return Err(NoReading::BadAnswer { reason });
        }
        let query = self.asked.get(promql);
        let error = query.and_then(|query| query.error.clone());
        let Some((at, value)) = query.and_then(|query| query.value) else {
            return Err(match error {
                Some(reason) => NoReading::BadAnswer { reason },
                None if query.is_none() && self.asked.len() >= MAX_NAMED => {
                    let waiting_for = format!("{MAX_NAMED} other queries are asked already, and no more are taken");
                    NoReading::NotYet { waiting_for }
                }
                None => NoReading::NotYet {
                    waiting_for: "Prometheus was not asked yet; --prometheus-url says where it is".to_owned(),
                },
            });
        };
        let age = now.saturating_duration_since(at);
        if age <= stale_after {
            return Ok(Reading { value, age });
        }
        Err(NoReading::Stale { age, reason: error.unwrap_or_else(|| "Prometheus was not asked since".to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(300);

    fn asked(promql: &str) -> (Queries, Instant) {
        let (mut queries, now) = (Queries::default(), Instant::now());
        queries.keep(promql, now);
        (queries, now)
    }

    #[test]
    fn a_query_holds_its_last_value_until_it_is_too_old_and_then_says_why() {
        let (mut queries, now) = asked("q");
        queries.commit("q", Ok(7.0), now);
        queries.commit("q", Err("the query found no series".to_owned()), now + STALE / 2);
        let held = queries.reading("q", now + STALE, STALE).unwrap();
        assert_eq!((held.value, held.age), (7.0, STALE));
        let late = STALE + Duration::from_secs(1);
        let stale = queries.reading("q", now + late, STALE).unwrap_err();
        assert_eq!(stale, NoReading::Stale { age: late, reason: "the query found no series".to_owned() });
    }

    #[test]
    fn numbers_that_are_none_are_errors_and_not_zeros() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (mut queries, now) = asked("q");
            queries.commit("q", Ok(number), now);
            let reason = format!("the query gives {number}, wants a finite number");
            assert_eq!(queries.reading("q", now, STALE), Err(NoReading::BadAnswer { reason }));
        }
    }

    #[test]
    fn a_negative_answer_asks_for_nothing() {
        let (mut queries, now) = asked("q");
        queries.commit("q", Ok(-3.0), now);
        assert_eq!(queries.reading("q", now, STALE).unwrap().value, 0.0);
    }

    #[test]
    fn a_query_is_asked_while_somebody_wants_it_and_forgotten_after() {
        let (mut queries, now) = asked("trigger");
        queries.plan(["plan"].into_iter(), now);
        assert_eq!(queries.wanted(now), ["plan", "trigger"]);
        assert_eq!(queries.wanted(now + FORGET_AFTER), ["plan"]);
        queries.plan([].into_iter(), now + FORGET_AFTER);
        assert!(queries.wanted(now + FORGET_AFTER * 2).is_empty());
    }

    #[test]
    fn a_query_that_is_too_long_is_refused_with_its_length() {
        let long = "x".repeat(MAX_QUERY + 1);
        let (mut queries, now) = asked(&long);
        assert!(queries.wanted(now).is_empty());
        let refused = queries.reading(&long, now, STALE).unwrap_err().to_string();
        assert_eq!(refused, "the query has 16385 bytes, at most 16384 are taken");
    }
}
