//! What is known of each proxy: its last counters, and what it contributes to every cluster's demand.

use std::time::Duration;

use tokio::time::Instant;

use super::{names::Series, window::Values};

/// What Envoy counts of one cluster.
///
/// Seen with Envoy 1.40: `requests + refused - retries` is the number of requests that users sent, whether they were
/// answered (10 of 10), refused by the circuit breaker (4 + 16 of 20), ejected because connecting failed (10 of 10),
/// ejected with two retries each (30 - 20 of 10), or answered 503 with two retries each (30 - 20 of 10).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counters {
    /// `upstream_rq_total`: requests and TCP connections that were sent to an endpoint, retries included
    pub requests: f64,
    /// `upstream_rq_pending_overflow` and `upstream_rq_pending_failure_eject`: those that got no connection, because of the
    /// circuit breaker or because connecting failed; a retry counts again
    pub refused: f64,
    /// `upstream_rq_retry`: those that the proxy sent again on its own
    pub retries: f64,
    /// `upstream_rq_active` and `upstream_rq_pending_active`
    pub in_flight: f64,
    /// `upstream_cx_active`
    pub connections: f64,
    /// `membership_total`: endpoints. Shown for every cluster that is configured and has some, used or not
    pub members: f64,
}

/// What a proxy answered: its counters, of the clusters that are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    generation: u64,
    clusters: Vec<(u32, Counters)>,
}

impl Sample {
    /// Counters by the ids of `series`; each id once.
    pub fn new(series: &Series, mut clusters: Vec<(u32, Counters)>) -> Self {
        clusters.sort_unstable_by_key(|(id, _)| *id);
        clusters.dedup_by_key(|(id, _)| *id);
        Self { generation: series.generation(), clusters }
    }

    /// The counters, sorted by id.
    pub fn clusters(&self) -> &[(u32, Counters)] {
        &self.clusters
    }
}

/// One proxy.
#[derive(Debug, Default)]
pub(super) struct KnownProxy {
    pub(super) name: String,
    /// Why the last attempt failed, if it did
    pub(super) error: Option<String>,
    last: Option<Last>,
    /// What it contributes counts for clusters that are kept since this generation or longer; `None` while nothing was
    /// measured of it
    rated: Option<u64>,
    cells: Vec<Cell>,
    spare: Vec<Cell>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    at: Instant,
    generation: u64,
}

/// One cluster on one proxy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) id: u32,
    /// For how many samples the series was not there
    absent: u8,
    pub(super) contribution: Values,
    requests: f64,
    refused: f64,
    retries: f64,
}

/// Two samples that are nearer than this measure the clock rather than the rate.
const TOO_NEAR: Duration = Duration::from_millis(100);
/// A series that was away for longer than this many samples has counted from 0 when it comes back.
const REMEMBERED: u8 = 10;
/// After a restart a proxy sees about what it saw before. A reset to more than ten times its rate, and more than this many
/// requests/s, is another process behind the same address, whose counters say nothing about this second.
const ABSURD_RATE: f64 = 1000.0;

impl KnownProxy {
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// When it last answered.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.last.map(|last| last.at)
    }

    pub(super) fn rated(&self) -> Option<u64> {
        self.rated
    }

    pub(super) fn contributions(&self) -> &[Cell] {
        &self.cells
    }

    /// It gets no traffic any more and does not answer: what it contributed is over. Its counters stay known.
    pub(super) fn is_silent_and_not_ready(&mut self) {
        self.rated = None;
        self.cells.iter_mut().for_each(|cell| cell.contribution = Values::default());
    }

    /// Drops the clusters that are not kept any more.
    pub(super) fn forget(&mut self, keep: impl Fn(u32) -> bool) {
        self.cells.retain(|cell| keep(cell.id));
    }

    /// Takes in an answer. `kept_since` is the generation in which each id was given to its cluster.
    pub(super) fn take_in(&mut self, at: Instant, sample: &Sample, kept_since: impl Fn(u32) -> Option<u64>) {
        self.error = None;
        let elapsed = self.last.map(|last| at.saturating_duration_since(last.at));
        if elapsed.is_some_and(|elapsed| elapsed < TOO_NEAR) {
            return;
        }
        let seconds = elapsed.unwrap_or_default().as_secs_f64();
        // `None`: nothing was looked for before.
        let looked_for = self.last.map(|last| last.generation);
        let mut next = std::mem::take(&mut self.spare);
        let mut known = self.cells.iter().peekable();
        for (id, counters) in &sample.clusters {
            while let Some(cell) = known.next_if(|cell| cell.id < *id) {
                next.extend(cell.without_series());
            }
            // The id was given to another cluster after this sample was asked for.
            let Some(since) = kept_since(*id).filter(|since| *since <= sample.generation) else { continue };
            let cell = match known.next_if(|cell| cell.id == *id) {
                Some(cell) => cell.after(counters, seconds),
                None if looked_for.is_some_and(|generation| since <= generation) => {
                    Cell::counted(*id, counters, seconds)
                }
                None => Cell::baseline(*id, counters),
            };
            next.push(cell);
        }
        next.extend(known.filter_map(Cell::without_series));
        self.spare = std::mem::replace(&mut self.cells, next);
        self.spare.clear();
        self.rated = looked_for;
        self.last = Some(Last { at, generation: sample.generation });
    }
}

impl Cell {
    /// The first values are of no known time.
    fn baseline(id: u32, counters: &Counters) -> Self {
        let Counters { requests, refused, retries, .. } = *counters;
        Self { id, absent: 0, contribution: gauges(0.0, counters), requests, refused, retries }
    }

    /// The series was not there in the last sample: it has counted from 0 since.
    fn counted(id: u32, counters: &Counters, seconds: f64) -> Self {
        let zero = Self { absent: 0, contribution: Values::default(), ..Self::baseline(id, &Counters::default()) };
        let demand = zero.demand(counters).0;
        Self { contribution: gauges(demand / seconds, counters), ..Self::baseline(id, counters) }
    }

    fn after(&self, counters: &Counters, seconds: f64) -> Self {
        let (demand, reset) = self.demand(counters);
        let (rate, before) = (demand / seconds, f64::from(self.contribution[0]));
        let absurd = reset && rate > ABSURD_RATE.max(10.0 * before);
        let rate = if absurd { before } else { rate };
        Self { contribution: gauges(rate, counters), ..Self::baseline(self.id, counters) }
    }

    /// The series is not in this sample: nothing is carried. Its counters are remembered for a while, because they go on
    /// where they were when it comes back soon.
    fn without_series(&self) -> Option<Self> {
        let absent = self.absent + 1;
        (absent <= REMEMBERED).then_some(Self { absent, contribution: Values::default(), ..*self })
    }

    /// Requests that users sent since, and whether the counters began anew in between. As Prometheus does: a counter that
    /// went down has counted from 0.
    fn demand(&self, now: &Counters) -> (f64, bool) {
        let since = |now: f64, then: f64| if now < then { (now, true) } else { (now - then, false) };
        let (sent, sent_anew) = since(now.requests, self.requests);
        let (refused, refused_anew) = since(now.refused, self.refused);
        let (retries, retries_anew) = since(now.retries, self.retries);
        ((sent + refused - retries).max(0.0), sent_anew || refused_anew || retries_anew)
    }
}

fn gauges(rate: f64, counters: &Counters) -> Values {
    [rate as f32, counters.in_flight as f32, counters.connections as f32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::names::Ids;

    /// One proxy that is asked once a second for the cluster `c`.
    struct Asked {
        proxy: KnownProxy,
        series: Series,
        now: Instant,
    }

    impl Asked {
        fn new() -> Self {
            let mut series = Series::default();
            series.keep(["c"].into_iter(), &mut Ids::default());
            Self { proxy: KnownProxy::named("proxy"), series, now: Instant::now() }
        }

        fn answers(&mut self, counters: impl Into<Option<Counters>>) -> Option<f32> {
            self.answers_after(1.0, counters)
        }

        fn answers_after(&mut self, seconds: f64, counters: impl Into<Option<Counters>>) -> Option<f32> {
            self.now += Duration::from_secs_f64(seconds);
            let sample = Sample::new(&self.series, counters.into().map(|counters| (0, counters)).into_iter().collect());
            self.proxy.take_in(self.now, &sample, |_| Some(1));
            let rate = self.proxy.contributions().first().map_or(0.0, |cell| cell.contribution[0]);
            self.proxy.rated().map(|_| rate)
        }
    }

    fn requests(requests: f64) -> Counters {
        Counters { requests, ..Counters::default() }
    }

    #[test]
    fn the_first_answer_of_a_proxy_is_only_a_baseline() {
        let mut asked = Asked::new();
        assert_eq!(asked.answers(requests(1e9)), None);
        assert_eq!(asked.answers(requests(1e9 + 50.0)), Some(50.0));
    }

    #[test]
    fn a_series_that_is_new_on_a_known_proxy_has_counted_from_zero() {
        let mut asked = Asked::new();
        assert_eq!(asked.answers(None), None);
        assert_eq!(asked.answers(None), Some(0.0));
        assert_eq!(asked.answers(requests(40.0)), Some(40.0));
    }

    #[test]
    fn a_restart_is_neither_negative_nor_huge() {
        let mut asked = Asked::new();
        asked.answers(requests(1e6));
        asked.answers(requests(1e6 + 100.0));
        assert_eq!(asked.answers(requests(90.0)), Some(90.0));
    }

    #[test]
    fn a_reset_that_no_restart_explains_holds_the_rate() {
        let mut asked = Asked::new();
        asked.answers(requests(1.2e6));
        asked.answers(requests(1.2e6 + 100.0));
        assert_eq!(asked.answers(requests(1e6)), Some(100.0));
        assert_eq!(asked.answers(requests(1e6 + 70.0)), Some(70.0));
    }

    #[test]
    fn the_rate_over_a_gap_is_the_mean_and_no_lump() {
        let mut asked = Asked::new();
        asked.answers(requests(0.0));
        assert_eq!(asked.answers_after(20.0, requests(2000.0)), Some(100.0));
    }

    #[test]
    fn a_series_that_vanishes_for_a_moment_is_not_counted_from_zero_again() {
        let mut asked = Asked::new();
        asked.answers(requests(5000.0));
        asked.answers(requests(5100.0));
        assert_eq!(asked.answers(None), Some(0.0));
        assert_eq!(asked.answers(requests(5300.0)), Some(200.0));
    }

    #[test]
    fn a_series_that_was_away_for_long_comes_back_from_zero() {
        let mut asked = Asked::new();
        asked.answers(requests(50.0));
        (0..11).for_each(|_| _ = asked.answers(None));
        assert_eq!(asked.answers(requests(60.0)), Some(60.0));
    }

    #[test]
    fn samples_that_are_too_near_count_with_the_next() {
        let mut asked = Asked::new();
        asked.answers(requests(0.0));
        assert_eq!(asked.answers_after(0.05, requests(50.0)), None);
        assert_eq!(asked.answers_after(0.95, requests(100.0)), Some(100.0));
    }

    #[test]
    fn refused_requests_are_demand_and_retries_are_not() {
        let mut asked = Asked::new();
        asked.answers(Counters::default());
        let counted = Counters { requests: 30.0, refused: 5.0, retries: 20.0, ..Counters::default() };
        assert_eq!(asked.answers(counted), Some(15.0));
    }

    #[test]
    fn retries_that_show_before_their_requests_are_no_negative_rate() {
        let mut asked = Asked::new();
        asked.answers(Counters::default());
        assert_eq!(asked.answers(Counters { retries: 3.0, ..Counters::default() }), Some(0.0));
    }

    #[test]
    fn a_cluster_that_is_kept_from_now_on_has_no_rate_of_its_past() {
        let mut asked = Asked::new();
        asked.answers(None);
        asked.answers(None);
        let mut ids = Ids::default();
        let mut series = Series::default();
        series.keep(["c"].into_iter(), &mut ids);
        series.keep(["c", "d"].into_iter(), &mut ids);
        let kept_since = |id: u32| Some(if id == 0 { 1 } else { 2 });
        let sample = |total| Sample::new(&series, vec![(1, Counters { requests: total, ..Counters::default() })]);
        asked.proxy.take_in(asked.now + Duration::from_secs(1), &sample(1e9), kept_since);
        assert_eq!(asked.proxy.contributions()[0].contribution[0], 0.0);
        assert_eq!(asked.proxy.rated(), Some(1), "says nothing about a cluster of generation 2");
        asked.proxy.take_in(asked.now + Duration::from_secs(2), &sample(1e9 + 7.0), kept_since);
        assert_eq!((asked.proxy.contributions()[0].contribution[0], asked.proxy.rated()), (7.0, Some(2)));
    }

    #[test]
    fn an_id_that_went_to_another_cluster_meanwhile_is_not_counted_for_it() {
        let mut asked = Asked::new();
        asked.answers(requests(10.0));
        let sample = Sample::new(&asked.series, vec![(0, Counters { requests: 99.0, ..Counters::default() })]);
        asked.proxy.forget(|_| false);
        asked.proxy.take_in(asked.now + Duration::from_secs(1), &sample, |_| Some(2));
        assert!(asked.proxy.contributions().is_empty());
    }
}
