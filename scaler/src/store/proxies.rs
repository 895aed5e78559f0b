//! The state of each proxy: its last counters, and its contribution to every cluster's demand.
//!
//! Counts are conserved. The growth of a counter belongs to the time between the two pages that show it, however late the second
//! one comes: each answer is reported as a [`Span`], from which the cluster's seconds are computed and corrected. For the time after
//! a proxy's last page, its recent traffic is assumed.

mod cell;

use std::time::Duration;

use tokio::time::Instant;

use self::cell::Passed;
pub(super) use self::cell::{Cell, Span};
use super::{
    plausible::Implausible,
    sample::{Sample, Shows},
};

/// One proxy.
#[derive(Debug)]
pub(super) struct KnownProxy {
    pub(super) name: String,
    /// Why the last attempt failed, if it did
    pub(super) error: Option<String>,
    last: Option<Last>,
    /// Whether its assumed traffic was in the seconds that were closed since its last answer
    stood: bool,
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    at: Instant,
    generation: u64,
    shows: Shows,
}

/// Two samples that are nearer than this measure the clock rather than the rate.
const TOO_NEAR: Duration = Duration::from_millis(100);
impl KnownProxy {
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), error: None, last: None, stood: true, cells: Vec::new() }
    }

    /// Returns the time of its last answer.
    pub(super) fn answered(&self) -> Option<Instant> {
        self.last.map(|last| last.at)
    }

    /// Returns the signals that its last page showed; `None` before the first.
    pub(super) fn shows(&self) -> Option<Shows> {
        self.last.map(|last| last.shows)
    }

    /// Records whether it was included in a second that was closed.
    pub(super) fn stood(&mut self, counted: bool) {
        self.stood &= counted;
    }

    pub(super) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Drops the clusters that are not kept any more.
    pub(super) fn forget(&mut self, keep: impl Fn(u32) -> bool) {
        self.cells.retain(|cell| keep(cell.id));
    }

    /// Records an answer, and passes its information about each cluster to `tell`. `kept_since` is the generation in which each id was
    /// given to a cluster that this proxy may report.
    ///
    /// Returns an error if a count is too high for any Envoy: that count is left out, and the proxy's other clusters are included.
    pub(super) fn take_in(
        &mut self,
        at: Instant,
        sample: &Sample,
        kept_since: impl Fn(u32) -> Option<u64>,
        mut tell: impl FnMut(u32, Span),
    ) -> Result<(), String> {
        self.error = None;
        if self.last.is_some_and(|last| at.saturating_duration_since(last.at) < TOO_NEAR) {
            return Ok(());
        }
        // `None` where the id was given to another cluster after this sample was asked for, or the cluster is another Gateway's.
        let kept_since = |id: u32| kept_since(id).filter(|since| *since <= sample.generation);
        let stood = std::mem::replace(&mut self.stood, true);
        let Some(last) = self.last.replace(Last { at, generation: sample.generation, shows: sample.shows() }) else {
            let kept = sample.clusters().iter().filter(|(id, _)| kept_since(*id).is_some());
            self.cells = kept.map(|(id, counters)| Cell::baseline(*id, counters)).collect();
            return Ok(());
        };
        let passed = Passed::of(at.saturating_duration_since(last.at).as_secs_f64());
        let (mut new, mut forgets, mut implausible) = (Vec::new(), false, Ok(()));
        let mut known = self.cells.iter_mut().peekable();
        for (id, counters) in sample.clusters() {
            while let Some(cell) = known.next_if(|cell| cell.id < *id) {
                forgets |= cell.is_absent_too_long(passed);
            }
            let Some(since) = kept_since(*id) else { continue };
            let Some(cell) = known.next_if(|cell| cell.id == *id) else {
                new.push((*id, since, counters));
                continue;
            };
            match cell.take_in(counters, passed, stood) {
                Ok(span) => tell(*id, span),
                Err(error) => implausible = Err(error),
            }
        }
        known.for_each(|cell| forgets |= cell.is_absent_too_long(passed));
        if forgets {
            self.cells.retain(Cell::is_remembered);
        }
        if !new.is_empty() {
            self.cells.extend(new.into_iter().map(|(id, since, counters)| {
                if since > last.generation {
                    return Cell::baseline(id, counters);
                }
                // The cluster was not in the last answer: it has counted from 0 since.
                let mut cell = Cell::new(id);
                match cell.take_in(counters, passed, stood) {
                    Ok(span) => tell(id, span),
                    Err(error) => implausible = Err(error),
                }
                cell
            }));
            self.cells.sort_by_key(|cell| cell.id);
        }
        implausible.map_err(|error: Implausible| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{
        kept_clusters::{Ids, Kept, Series},
        sample::Counters,
    };

    /// One proxy that is asked once a second for the cluster `c`.
    struct Fixture {
        proxy: KnownProxy,
        series: Series,
        now: Instant,
        spans: Vec<Span>,
        error: Option<String>,
    }

    impl Fixture {
        fn new() -> Self {
            let (proxy, series) = (KnownProxy::named("proxy"), Series::of(["c"]));
            Self { proxy, series, now: Instant::now(), spans: Vec::new(), error: None }
        }

        fn answers(&mut self, counters: impl Into<Option<Counters>>) -> Option<f32> {
            self.answers_after(1.0, counters)
        }

        /// Returns the requests/s since the previous answer, if they are known.
        fn answers_after(&mut self, seconds: f64, counters: impl Into<Option<Counters>>) -> Option<f32> {
            self.now += Duration::from_secs_f64(seconds);
            let sample = Sample::new(&self.series, counters.into().map(|counters| (0, counters)).into_iter().collect());
            let mut spans = Vec::new();
            self.error = self.proxy.take_in(self.now, &sample, |_| Some(1), |_, span| spans.push(span)).err();
            self.spans.extend(&spans);
            spans.first().map(|span| span.carried[0])
        }

        fn cell(&self) -> Cell {
            self.proxy.cells()[0]
        }
    }

    fn requests(requests: f64) -> Counters {
        Counters { requests, ..Counters::default() }
    }

    #[test]
    fn the_first_answer_of_a_proxy_is_only_a_baseline() {
        let mut asked = Fixture::new();
        assert_eq!(asked.answers(requests(1e9)), None);
        assert!(!asked.cell().is_rated);
        assert_eq!(asked.answers(requests(1e9 + 50.0)), Some(50.0));
        assert!(asked.cell().is_rated);
    }

    #[test]
    fn a_cluster_that_was_never_used_has_carried_nothing_so_far() {
        let mut asked = Fixture::new();
        asked.answers(Counters { members: 2.0, ..Counters::default() });
        assert!(asked.cell().is_rated && asked.cell().is_unused());
        assert_eq!(asked.answers(requests(40.0)), Some(40.0));
        assert!(!asked.cell().is_unused());
    }

    #[test]
    fn a_cluster_that_is_new_on_a_known_proxy_has_counted_from_zero() {
        let mut asked = Fixture::new();
        assert_eq!((asked.answers(None), asked.answers(None)), (None, None));
        assert!(asked.proxy.cells().is_empty(), "one that is not shown is not there");
        assert_eq!(asked.answers(requests(40.0)), Some(40.0));
    }

    #[test]
    fn the_rate_over_a_gap_is_the_mean_and_no_lump() {
        let mut asked = Fixture::new();
        asked.answers(requests(0.0));
        assert_eq!(asked.answers_after(20.0, requests(2000.0)), Some(100.0));
    }

    #[test]
    fn what_a_restart_swallowed_does_not_look_like_less_traffic() {
        let mut asked = Fixture::new();
        asked.answers(requests(1e6));
        asked.answers(requests(1e6 + 100.0));
        assert_eq!(asked.answers(requests(7.0)), Some(100.0), "it started again a moment before it answered");
        assert_eq!(asked.answers(requests(27.0)), Some(20.0));
    }

    #[test]
    fn a_cluster_that_vanishes_for_a_moment_is_not_counted_from_zero_again() {
        let mut asked = Fixture::new();
        asked.answers(requests(5000.0));
        asked.answers(requests(5100.0));
        assert_eq!(asked.answers(None), None);
        assert!(!asked.cell().is_shown() && asked.cell().stands[0] == 100.0);
        assert_eq!(asked.answers(requests(5300.0)), Some(100.0));
    }

    #[test]
    fn samples_that_are_too_near_count_with_the_next() {
        let mut asked = Fixture::new();
        asked.answers(requests(0.0));
        assert_eq!(asked.answers_after(0.05, requests(50.0)), None);
        assert_eq!(asked.answers_after(0.95, requests(100.0)), Some(100.0));
    }

    #[test]
    fn refused_requests_are_demand_and_retries_are_not() {
        let mut asked = Fixture::new();
        asked.answers(Counters::default());
        let counted = Counters { requests: 30.0, refused: 5.0, retries: 20.0, ..Counters::default() };
        assert_eq!(asked.answers(counted), Some(15.0));
    }

    #[test]
    fn retries_that_show_before_their_requests_are_no_negative_rate() {
        let mut asked = Fixture::new();
        asked.answers(Counters::default());
        assert_eq!(asked.answers(Counters { retries: 3.0, ..Counters::default() }), Some(0.0));
    }

    #[test]
    fn a_jump_that_no_envoy_can_make_is_an_error_and_what_stood_before_stands() {
        for (before, connections, after) in
            [(1e3, 0.0, 1e12), (1e3, 0.0, 2e6), (1e3, 2.0, 3e5), (1e3, 1e4, 2e6), (0.0, 0.0, 1e12)]
        {
            let mut asked = Fixture::new();
            let counters = |requests: f64| Counters { requests, connections, ..Counters::default() };
            asked.answers(counters(before));
            asked.answers(counters(before + 100.0));
            let stood = asked.cell().stands;
            assert_eq!(asked.answers(counters(after)), None, "{after}");
            assert!(asked.error.as_ref().is_some_and(|error| error.contains("requests/s")), "{:?}", asked.error);
            assert_eq!(asked.cell().stands[0], stood[0]);
            assert_eq!(asked.answers(counters(after + 90.0)), Some(90.0), "and from there it goes on");
            assert_eq!(asked.error, None);
        }
    }

    #[test]
    fn what_is_fast_but_possible_counts() {
        let mut asked = Fixture::new();
        let counters = |requests: f64| Counters { requests, connections: 8.0, ..Counters::default() };
        asked.answers(counters(0.0));
        assert_eq!(asked.answers(counters(5e5)), Some(5e5));
    }

    #[test]
    fn what_stands_for_a_proxy_is_no_quiet_second() {
        let mut asked = Fixture::new();
        asked.answers(requests(0.0));
        (1..=60).for_each(|second| _ = asked.answers(requests(100.0 * f64::from(second))));
        asked.answers(requests(6000.0));
        assert!((85.0..100.0).contains(&asked.cell().stands[0]), "{:?}", asked.cell());
        (0..120).for_each(|_| _ = asked.answers(requests(6000.0)));
        assert_eq!(asked.cell().stands[0], 0.0, "but traffic that is over fades to nothing");
    }

    #[test]
    fn a_cluster_that_is_kept_from_now_on_has_no_rate_of_its_past() {
        let mut asked = Fixture::new();
        asked.answers(None);
        let (mut ids, mut series) = (Ids::default(), Series::default());
        let kept = |name| Kept::meaning(name, 0);
        series.keep([kept("c")].into_iter(), &mut ids);
        series.keep([kept("c"), kept("d")].into_iter(), &mut ids);
        let kept_since = |id: u32| Some(if id == 0 { 1 } else { 2 });
        let sample = |total| Sample::new(&series, vec![(1, requests(total))]);
        let mut carried = Vec::new();
        for (second, total) in [(1, 1e9), (2, 1e9 + 7.0)] {
            let at = asked.now + Duration::from_secs(second);
            asked.proxy.take_in(at, &sample(total), kept_since, |_, span| carried.push(span.carried[0])).unwrap();
        }
        assert_eq!(carried, [7.0]);
    }

    #[test]
    fn an_id_that_went_to_another_cluster_meanwhile_is_not_counted_for_it() {
        let mut asked = Fixture::new();
        asked.answers(requests(10.0));
        let sample = Sample::new(&asked.series, vec![(0, requests(99.0))]);
        asked.proxy.forget(|_| false);
        let at = asked.now + Duration::from_secs(1);
        asked.proxy.take_in(at, &sample, |_| Some(2), |_, _| panic!("it is not its own")).unwrap();
        assert!(asked.proxy.cells().is_empty());
    }
}
