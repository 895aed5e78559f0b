//! All that is wrong now: what Warning events say, for as long as it is true. The API server forgets events after an hour.

use std::{collections::BTreeMap, fmt, sync::Arc};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use serde::{Deserialize, Serialize};
use tidegate_core::metric::Metric;

/// Something that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandingProblem {
    /// The object's namespace; empty for one without
    pub namespace: String,
    /// Its kind: `Deployment`
    pub kind: String,
    /// Its name
    pub name: String,
    /// The reason of the event
    pub reason: String,
    /// The text of the event
    pub message: String,
    /// When it was first seen by the replica that leads; `None` where only the present is known
    pub since: Option<DateTime<Utc>>,
}

/// The problems that the replica that leads sees. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ProblemBook(Arc<Mutex<Pages>>);

/// The problems that each part of the operator has found at its last look.
#[derive(Debug, Default)]
struct Pages {
    begun: usize,
    of_parts: BTreeMap<usize, Vec<StandingProblem>>,
}

/// The page of one part of the operator.
#[derive(Debug)]
pub(crate) struct Page {
    book: ProblemBook,
    part: usize,
}

impl ProblemBook {
    /// All problems, by namespace, kind and name.
    pub fn all(&self) -> Vec<StandingProblem> {
        let mut all: Vec<_> = self.0.lock().of_parts.values().flatten().cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Forgets everything: this replica does not lead any more, and another one knows better.
    pub fn clear(&self) {
        self.0.lock().of_parts.clear();
    }

    /// Registers the number of problems by reason.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    /// A page for one more part.
    pub(crate) fn page(&self) -> Page {
        let mut pages = self.0.lock();
        pages.begun += 1;
        Page { book: self.clone(), part: pages.begun }
    }
}

impl Page {
    /// Replaces what the part has found.
    pub(crate) fn set(&self, problems: Vec<StandingProblem>) {
        self.book.0.lock().of_parts.insert(self.part, problems);
    }
}

impl Collector for ProblemBook {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        const METRIC: Metric = Metric::WorkloadProblems;
        let mut counts = BTreeMap::<String, u32>::new();
        self.all().into_iter().for_each(|problem| *counts.entry(problem.reason).or_default() += 1);
        let mut family = encoder.encode_descriptor(METRIC.stem(), METRIC.help(), None, MetricType::Gauge)?;
        counts.into_iter().try_for_each(|(reason, count)| {
            ConstGauge::new(f64::from(count)).encode(family.encode_family(&[("reason", reason)])?)
        })
    }
}
