//! The answers to users' own PromQL queries.

use std::{collections::BTreeMap, time::Duration};

use tidegate_core::measured::Measured;
use tokio::time::Instant;

use super::{MAX_NAMED, NoReading, Reading, questions::Questions};

/// Maximum length of a query in bytes: no person writes a longer one.
const MAX_QUERY: usize = 16 << 10;

/// Default for the maximum number of queries of a namespace.
const PER_NAMESPACE: usize = 100;
const NOBODY_ASKED: &str = "Prometheus was not asked yet; --prometheus-url says where it is";

/// Queries by namespace: each has a budget, so that a namespace with very many queries delays only its own.
#[derive(Debug)]
pub(super) struct Queries {
    namespaces: BTreeMap<String, Questions<String, f64>>,
    per_namespace: usize,
}

impl Default for Queries {
    fn default() -> Self {
        Self { namespaces: BTreeMap::new(), per_namespace: PER_NAMESPACE }
    }
}

impl Queries {
    pub(super) fn limit(&mut self, per_namespace: usize) {
        self.per_namespace = per_namespace;
    }

    /// Keeps the queries of the Plan, given with their namespaces, for as long as it has them.
    pub(super) fn plan<'a>(&mut self, queries: impl Iterator<Item = (&'a str, &'a str)>, now: Instant) {
        let mut planned: BTreeMap<String, Vec<&str>> =
            self.namespaces.keys().map(|namespace| (namespace.clone(), Vec::new())).collect();
        for (namespace, promql) in queries {
            planned.entry(namespace.to_owned()).or_default().push(promql);
        }
        for (namespace, queries) in planned {
            // The budget decides which ones are kept; the table of the namespace then only has these.
            for promql in &queries {
                self.keep(&namespace, promql, now);
            }
            if let Some(asked) = self.namespaces.get_mut(&namespace) {
                let kept = queries.into_iter().map(ToOwned::to_owned).filter(|promql| asked.has(promql));
                let kept: Vec<_> = kept.collect();
                asked.plan(kept.into_iter(), now);
            }
        }
    }

    pub(super) fn keep(&mut self, namespace: &str, promql: &str, now: Instant) {
        if promql.len() > MAX_QUERY || self.refused(namespace, promql).is_some() {
            return;
        }
        let asked = self.namespaces.entry(namespace.to_owned()).or_insert_with(|| Questions::new(NOBODY_ASKED));
        asked.keep(promql.to_owned(), now);
    }

    /// Returns the queries to ask now, by namespace, in a stable order.
    pub(super) fn wanted(&mut self, now: Instant) -> BTreeMap<String, Vec<String>> {
        let wanted =
            self.namespaces.iter_mut().map(|(namespace, asked)| (namespace.clone(), asked.wanted(now))).collect();
        self.namespaces.retain(|_, asked| asked.len() > 0);
        wanted
    }

    pub(super) fn commit(&mut self, namespace: &str, promql: &str, answer: Measured<f64, String>, now: Instant) {
        let answer = match answer {
            Measured::Exact(value) | Measured::AtLeast(value, _) if !value.is_finite() => {
                Measured::Unknown(format!("the query gives {value}, wants a finite number"))
            }
            answer => answer.map(|value| value.max(0.0)),
        };
        if let Some(asked) = self.namespaces.get_mut(namespace) {
            asked.commit(&promql.to_owned(), answer, now);
        }
    }

    pub(super) fn error(&self, namespace: &str, promql: &str) -> Option<String> {
        let known = self.namespaces.get(namespace).and_then(|asked| asked.error(&promql.to_owned()));
        known.or_else(|| self.refused(namespace, promql))
    }

    pub(super) fn reading(
        &self,
        namespace: &str,
        promql: &str,
        now: Instant,
        stale_after: Duration,
    ) -> Measured<Reading, NoReading> {
        if promql.len() > MAX_QUERY {
            let reason = format!("the query has {} bytes, at most {MAX_QUERY} are taken", promql.len());
            return Measured::Unknown(NoReading::BadAnswer { reason });
        }
        if let Some(reason) = self.refused(namespace, promql) {
            return Measured::Unknown(NoReading::BadAnswer { reason });
        }
        let Some(asked) = self.namespaces.get(namespace) else {
            return Measured::Unknown(NoReading::NotYet { waiting_for: NOBODY_ASKED.to_owned() });
        };
        let promql = promql.to_owned();
        if let Some((value, age, reason)) = asked.at_least(&promql, now, stale_after) {
            return Measured::AtLeast(Reading { value, age }, NoReading::BadAnswer { reason });
        }
        let answer = asked.answer(&promql, now, stale_after);
        answer.map_or_else(Measured::Unknown, |(value, age)| Measured::Exact(Reading { value, age }))
    }

    /// Returns why this query is not asked, if it exceeds the budget.
    fn refused(&self, namespace: &str, promql: &str) -> Option<String> {
        let asked = self.namespaces.get(namespace);
        if asked.is_some_and(|asked| asked.has(&promql.to_owned())) {
            return None;
        }
        let most = self.per_namespace;
        if asked.is_some_and(|asked| asked.len() >= most) {
            return Some(format!(
                "namespace {namespace} has {most} other queries, and no more are asked for one namespace: use fewer, or raise \
                 --prometheus-queries-per-namespace"
            ));
        }
        let all: usize = self.namespaces.values().map(Questions::len).sum();
        (all >= MAX_NAMED).then(|| format!("{MAX_NAMED} other queries are asked already, and no more are taken"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Duration = Duration::from_secs(300);

    fn asked(promql: &str) -> (Queries, Instant) {
        let (mut queries, now) = (Queries::default(), Instant::now());
        queries.keep("shop", promql, now);
        (queries, now)
    }

    #[test]
    fn numbers_that_are_none_are_errors_and_not_zeros() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (mut queries, now) = asked("q");
            queries.commit("shop", "q", Measured::Exact(number), now);
            let reason = format!("the query gives {number}, wants a finite number");
            assert_eq!(queries.reading("shop", "q", now, STALE).exact(), Err(NoReading::BadAnswer { reason }));
        }
    }

    #[test]
    fn a_negative_answer_asks_for_nothing() {
        let (mut queries, now) = asked("q");
        queries.commit("shop", "q", Measured::Exact(-3.0), now);
        assert_eq!(queries.reading("shop", "q", now, STALE).exact().unwrap().value, 0.0);
    }

    #[test]
    fn a_query_that_is_too_long_is_refused_with_its_length() {
        let long = "x".repeat(MAX_QUERY + 1);
        let (mut queries, now) = asked(&long);
        assert!(queries.wanted(now).is_empty());
        let refused = queries.reading("shop", &long, now, STALE).exact().unwrap_err().to_string();
        assert_eq!(refused, "the query has 16385 bytes, at most 16384 are taken");
    }
}
