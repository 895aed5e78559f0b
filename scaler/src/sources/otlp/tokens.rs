//! Tokens (`gen_ai.client.token.usage`) and answers (`gen_ai.server.request.duration`) of one sender.

use std::{collections::HashMap, sync::Arc};

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    metrics::v1::{Metric, metric::Data},
};
use tidegate_core::llm::TokenNames;

use super::{
    Outcome,
    clusters::clock_error,
    stream::{Arrival, Dropped, Point, Reports, Stream, Temporality, identity},
    who::text,
};
use crate::store::TokenCounters;

/// Most series of one sender: models times token types times operations.
const MAX_STREAMS: usize = 50_000;
/// Longest name in bytes: no model has a longer one.
const LONGEST_NAME: usize = 512;

/// Requests that ended, whether or not their answers had token counts.
const ENDED: &str = "gen_ai.server.request.duration";

/// Whether a metric is about tokens, or about requests that may have lacked their counts.
pub(super) fn is_wanted(metric: &str) -> bool {
    matches!(metric, ENDED | "gen_ai.client.token.usage" | "gen_ai.client.token.usage.token")
}

/// The counts of one sender.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    streams: HashMap<u64, (Stream, Place)>,
    reports: Reports,
    models: HashMap<TokenNames, usize>,
    totals: Vec<(TokenNames, TokenCounters)>,
    call: Call,
}

/// The call that is being processed.
#[derive(Debug, Default)]
struct Call {
    /// The models that it reports, as indexes of `Tokens::totals`
    told: Vec<usize>,
    /// Models with a late point: their counts are incomplete
    late: Vec<usize>,
    /// Nanoseconds by which its clock is behind that of the calls before
    behind: u64,
}

/// The model and the counter that a series adds to.
#[derive(Debug, Clone, Copy)]
struct Place {
    model: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Input,
    Cached,
    Output,
    /// Requests that succeeded
    Answered,
    /// Failed requests, and tokens that are already part of another kind: cache creation of input, reasoning of output
    Within,
}

impl Kind {
    fn of(metric: &str, attributes: &[KeyValue]) -> Option<Self> {
        if metric == ENDED {
            return Some(if text(attributes, "error.type").is_some() { Self::Within } else { Self::Answered });
        }
        Some(match text(attributes, "gen_ai.token.type")? {
            "input" => Self::Input,
            "cached_input" => Self::Cached,
            "output" => Self::Output,
            _ => Self::Within,
        })
    }
}

impl Tokens {
    /// The number of known series.
    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Processes a metric. No more than `most` series are known afterwards.
    pub(super) fn take_in(&mut self, metric: &Metric, now: Arrival, most: usize, outcome: &mut Outcome) {
        let most = most.min(MAX_STREAMS);
        let mut take =
            |attributes: &[KeyValue], start: u64, time: u64, sum: Option<f64>, count: u64, temporality: i32| {
                let at = Point { start, time, sum: sum.unwrap_or(f64::NAN), count: count as f64 };
                let taken = self.point(&metric.name, attributes, at, Temporality::of(temporality), now, most);
                outcome.count(taken, &metric.name);
            };
        match &metric.data {
            Some(Data::Histogram(all)) => all.data_points.iter().for_each(|p| {
                let (start, time) = (p.start_time_unix_nano, p.time_unix_nano);
                take(&p.attributes, start, time, p.sum, p.count, all.aggregation_temporality);
            }),
            Some(Data::ExponentialHistogram(all)) => all.data_points.iter().for_each(|p| {
                let (start, time) = (p.start_time_unix_nano, p.time_unix_nano);
                take(&p.attributes, start, time, p.sum, p.count, all.aggregation_temporality);
            }),
            _ => outcome.count(Err(Dropped::Malformed), &metric.name),
        }
    }

    fn point(
        &mut self,
        metric: &str,
        attributes: &[KeyValue],
        point: Point,
        temporality: Option<Temporality>,
        now: Arrival,
        most: usize,
    ) -> Result<(), Dropped> {
        let temporality = temporality.ok_or(Dropped::Malformed)?;
        let id = identity(metric, attributes);
        if !self.streams.contains_key(&id) {
            if self.streams.len() >= most {
                return Err(Dropped::TooMany);
            }
            let place = self.place(metric, attributes)?;
            self.streams.insert(id, (Stream::default(), place));
        }
        let Some((stream, place)) = self.streams.get_mut(&id) else { return Err(Dropped::TooMany) };
        let Place { model, kind } = *place;
        let behind = stream.lead(point.time);
        let accepted = stream.accept(point, temporality, now, &mut self.reports);
        if accepted == Err(Dropped::Late) {
            self.call.late.push(model);
            self.call.behind = self.call.behind.max(behind);
        }
        let [sum, count] = accepted?;
        self.call.told.push(model);
        if let Some((_, totals)) = self.totals.get_mut(model) {
            match kind {
                Kind::Input => {
                    totals.input += sum;
                    totals.requests += count;
                }
                Kind::Cached => totals.cached += sum,
                Kind::Output => totals.output += sum,
                Kind::Answered => totals.answered += count,
                Kind::Within => {}
            }
        }
        Ok(())
    }

    fn place(&mut self, metric: &str, attributes: &[KeyValue]) -> Result<Place, Dropped> {
        let kind = Kind::of(metric, attributes).ok_or(Dropped::Malformed)?;
        let name = |key: &str| text(attributes, key).unwrap_or_default();
        let request = name("gen_ai.request.model");
        let all = [name("gen_ai.original.model"), request, name("gen_ai.provider.name")];
        if request.is_empty() || all.iter().any(|name| name.len() > LONGEST_NAME) {
            return Err(Dropped::Malformed);
        }
        let [original, request, provider] = all.map(Arc::from);
        let names = TokenNames { original, request, provider, ..TokenNames::default() };
        let next = self.totals.len();
        let model = *self.models.entry(names.clone()).or_insert(next);
        if model == next {
            self.totals.push((names, TokenCounters::default()));
        }
        Ok(Place { model, kind })
    }

    /// The counts of the models that the call reports, since the sender was first heard, under this set of proxies. An error when
    /// its clock made all of them late. `None` when it only repeats earlier points.
    pub(super) fn counted(&mut self, fleet: &Arc<str>) -> Option<Result<Vec<(TokenNames, TokenCounters)>, String>> {
        let Call { mut told, late, behind } = std::mem::take(&mut self.call);
        told.retain(|model| !late.contains(model));
        if told.is_empty() {
            return (!late.is_empty()).then(|| Err(clock_error(behind)));
        }
        told.sort_unstable();
        told.dedup();
        let totals = told.iter().filter_map(|model| self.totals.get(*model));
        let of_fleet = |names: &TokenNames| TokenNames { fleet: Arc::clone(fleet), ..names.clone() };
        Some(Ok(totals.map(|(names, counters)| (of_fleet(names), *counters)).collect()))
    }
}
