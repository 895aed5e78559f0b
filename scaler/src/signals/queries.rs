//! The answers of users' own PromQL queries.

use std::time::Duration;

use tokio::time::Instant;

use super::{NoReading, Reading, asked::Asked};

/// A longer query is none that a person wrote.
const MAX_QUERY: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Queries(Asked<String, f64>);

impl Default for Queries {
    fn default() -> Self {
        Self(Asked::new("Prometheus was not asked yet; --prometheus-url says where it is"))
    }
}

impl Queries {
    /// The queries of the Plan are wanted for as long as it has them.
    pub(super) fn plan<'a>(&mut self, queries: impl Iterator<Item = &'a str>, now: Instant) {
        self.0.plan(queries.filter(|query| query.len() <= MAX_QUERY).map(ToOwned::to_owned), now);
    }

    pub(super) fn keep(&mut self, promql: &str, now: Instant) {
        if promql.len() <= MAX_QUERY {
            self.0.keep(promql.to_owned(), now);
        }
    }

    /// The queries to ask now, in a stable order.
    pub(super) fn wanted(&mut self, now: Instant) -> Vec<String> {
        self.0.wanted(now)
    }

    pub(super) fn commit(&mut self, promql: &str, answer: Result<f64, String>, now: Instant) {
        let answer = answer.and_then(|value| {
            let wrong = || format!("the query gives {value}, wants a finite number");
            value.is_finite().then_some(value.max(0.0)).ok_or_else(wrong)
        });
        self.0.commit(&promql.to_owned(), answer, now);
    }

    pub(super) fn error(&self, promql: &str) -> Option<String> {
        self.0.error(&promql.to_owned())
    }

    pub(super) fn reading(&self, promql: &str, now: Instant, stale_after: Duration) -> Result<Reading, NoReading> {
        if promql.len() > MAX_QUERY {
            let reason = format!("the query has {} bytes, at most {MAX_QUERY} are taken", promql.len());
            return Err(NoReading::BadAnswer { reason });
        }
        let (value, age) = self.0.answer(&promql.to_owned(), now, stale_after)?;
        Ok(Reading { value, age })
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
    fn a_query_that_is_too_long_is_refused_with_its_length() {
        let long = "x".repeat(MAX_QUERY + 1);
        let (mut queries, now) = asked(&long);
        assert!(queries.wanted(now).is_empty());
        let refused = queries.reading(&long, now, STALE).unwrap_err().to_string();
        assert_eq!(refused, "the query has 16385 bytes, at most 16384 are taken");
    }
}
