//! Proxies that push the statistics of their clusters, by address, and the reports of each.
//!
//! A report may come in several messages. It is complete when it shows all the clusters that the one before showed, or when
//! nothing has come for a while: only then is it known which clusters are missing.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use opentelemetry_proto::tonic::metrics::v1::Metric;
use tokio::time::Instant;

use super::{
    Outcome,
    clusters::Clusters,
    heard::{Heard, Silence},
    stream::Arrival,
};
use crate::store::{Sample, Series};

/// Most series of all proxies together: some 70 MiB.
const MAX_SERIES: usize = 500_000;
/// Longest time between two parts of a report, unless a quarter of the usual time between two reports is longer.
const PART_AFTER: Duration = Duration::from_millis(250);

/// The time of a proxy's report, and its sample, or why it cannot be used.
pub(super) type Report = (Instant, Result<Sample, String>);

/// The proxies that have pushed.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    known: HashMap<IpAddr, Pushing>,
    series: usize,
}

#[derive(Debug, Default)]
struct Pushing {
    clusters: Clusters,
    /// The times of the first and the latest part of the last report
    parts: Option<(Instant, Instant)>,
    /// Whether that report was not passed on yet
    is_open: bool,
    heard: Option<Heard>,
}

impl Proxies {
    /// Processes one message, or a part of it. When that begins a new report while the one before is still open, returns the one
    /// before.
    pub(super) fn take_in<'a>(
        &mut self,
        address: IpAddr,
        metrics: impl Iterator<Item = &'a Metric>,
        series: &Series,
        now: Arrival,
        outcome: &mut Outcome,
    ) -> Option<Report> {
        let room = MAX_SERIES.saturating_sub(self.series);
        let pushing = self.known.entry(address).or_default();
        let before = pushing.part(now.at, series);
        let left = metrics.fold(room, |room, metric| pushing.clusters.take_in(metric, series, now, room, outcome));
        self.series += room - left;
        before
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns the reports that are complete, and closes them.
    pub(super) fn over(&mut self, now: Instant, series: &Series) -> Vec<(IpAddr, Report)> {
        let over = self.known.iter_mut().filter(|(_, pushing)| pushing.is_over(now));
        let told = over.filter_map(|(address, pushing)| Some((*address, pushing.tell(series)?))).collect();
        self.series = self.known.values().map(|pushing| pushing.clusters.len()).sum();
        told
    }

    /// Forgets all but those at these addresses.
    pub(super) fn keep(&mut self, addresses: &HashSet<IpAddr>) {
        self.known.retain(|address, _| addresses.contains(address));
    }

    /// The time since the proxy at this address last reported anything new; `None` when it never did.
    pub(super) fn silence(&self, address: IpAddr) -> Option<Silence> {
        self.known.get(&address)?.heard.map(Heard::silence)
    }
}

impl Pushing {
    /// Registers a part of a report. It begins a new report, unless the last part was a moment ago; returns the one before if
    /// that is still open.
    fn part(&mut self, at: Instant, series: &Series) -> Option<Report> {
        if let Some((begun, last)) = self.parts.filter(|(_, last)| at.saturating_duration_since(*last) <= self.gap()) {
            self.parts = Some((begun, last.max(at)));
            return None;
        }
        let before = if self.is_open { self.tell(series) } else { None };
        self.clusters.begin();
        (self.parts, self.is_open) = (Some((at, at)), true);
        before
    }

    fn gap(&self) -> Duration {
        let usual = self.heard.map_or(Duration::ZERO, |heard| heard.silence().usual);
        PART_AFTER.max(usual / 4)
    }

    fn is_over(&self, now: Instant) -> bool {
        let since = self.parts.map_or(Duration::ZERO, |(_, last)| now.saturating_duration_since(last));
        self.is_open && (self.clusters.is_whole() || since > self.gap())
    }

    fn tell(&mut self, series: &Series) -> Option<Report> {
        self.is_open = false;
        let (begun, _) = self.parts?;
        let sample = self.clusters.sample(series)?;
        self.heard.get_or_insert_with(|| Heard::first(begun)).again(begun);
        Some((begun, sample))
    }
}
