//! The answers of users' own PromQL queries.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use super::{FORGET_AFTER, MAX_NAMED, NoReading, Reading};

#[derive(Debug, Default)]
pub(super) struct Queries(HashMap<String, Query>);

#[derive(Debug)]
struct Query {
    wanted: Instant,
    value: Option<(Instant, f64)>,
    error: Option<String>,
}

impl Queries {
    pub(super) fn keep(&mut self, promql: &str, now: Instant) {
        if let Some(query) = self.0.get_mut(promql) {
            query.wanted = now;
        } else if self.0.len() < MAX_NAMED {
            self.0.insert(promql.to_owned(), Query { wanted: now, value: None, error: None });
        }
    }

    pub(super) fn wanted(&mut self, now: Instant) -> Vec<String> {
        self.0.retain(|_, query| now.duration_since(query.wanted) < FORGET_AFTER);
        self.0.keys().cloned().collect()
    }

    pub(super) fn commit(&mut self, promql: &str, answer: Result<f64, String>, now: Instant) {
        let Some(query) = self.0.get_mut(promql) else { return };
        match answer {
            Ok(value) => {
                query.value = Some((now, value.max(0.0)));
                query.error = None;
            }
            Err(error) => query.error = Some(error),
        }
    }

    /// A query that fails keeps its last value for a while, as every source does.
    pub(super) fn reading(&self, promql: &str, now: Instant, stale_after: Duration) -> Result<Reading, NoReading> {
        let query = self.0.get(promql);
        let error = query.and_then(|query| query.error.clone());
        let Some((at, value)) = query.and_then(|query| query.value) else {
            return Err(match error {
                Some(reason) => NoReading::BadAnswer { reason },
                None => NoReading::NotYet { waiting_for: "the first answer of Prometheus to its query".to_owned() },
            });
        };
        let age = now.duration_since(at);
        if age <= stale_after {
            return Ok(Reading { value, age });
        }
        Err(NoReading::Stale { age, reason: error.unwrap_or_else(|| "Prometheus was not asked since".to_owned()) })
    }
}
