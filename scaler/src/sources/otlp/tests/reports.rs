//! The conclusions about clusters that reports of proxies allow, and those that they do not.

use std::net::IpAddr;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    sources::otlp::{
        proxies::{Proxies, Report},
        stream::Arrival,
    },
    store::{Counters, Sample, Series},
};

const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const RQ_TOTAL: &str = "cluster.upstream_rq_total";

/// One proxy that reports the clusters `a` and `b`, by a clock of its own.
struct Pushed {
    proxies: Proxies,
    series: Series,
    now: Instant,
}

impl Pushed {
    fn new() -> Self {
        Self { proxies: Proxies::default(), series: Series::of(["a", "b"]), now: Instant::now() }
    }

    fn part(&mut self, metrics: &[Metric]) -> Option<Report> {
        let arrival = Arrival { wall: nanos(), at: self.now };
        self.proxies.take_in(ADDRESS, metrics.iter(), &self.series, arrival, &mut Outcome::default())
    }

    /// The result of a report that came 5 s after the one before.
    fn report(&mut self, metrics: &[Metric]) -> Option<Result<Sample, String>> {
        self.now += Duration::from_secs(5);
        assert!(self.part(metrics).is_none());
        self.over(3)
    }

    fn over(&mut self, seconds: u64) -> Option<Result<Sample, String>> {
        let told = self.proxies.over(self.now + Duration::from_secs(seconds), &self.series);
        told.into_iter().next().map(|(_, (_, sample))| sample)
    }
}

fn clusters(told: Option<Result<Sample, String>>) -> Vec<(u32, Counters)> {
    told.unwrap().unwrap().clusters().to_vec()
}

fn xds() -> Metric {
    counter(RQ_TOTAL, "xds_cluster", 1.0, nanos())
}

fn member(cluster: &str) -> Metric {
    gauge("cluster.membership_total", cluster, 2.0)
}

#[test]
fn a_cluster_that_was_never_used_is_there_by_its_members() {
    let mut pushed = Pushed::new();
    let idle = Counters { members: 2.0, ..Counters::default() };
    assert_eq!(clusters(pushed.report(&[xds(), member("a")])), [(0, idle)]);
}

#[test]
fn a_cluster_that_the_latest_report_does_not_show_is_not_there() {
    let mut pushed = Pushed::new();
    pushed.report(&[xds(), member("a"), member("b")]);
    let there: Vec<_> = clusters(pushed.report(&[xds(), member("b")])).into_iter().map(|(id, _)| id).collect();
    assert_eq!(there, [1]);
}

#[test]
fn parts_of_a_report_are_one_and_what_goes_up_and_down_adds_up_over_them() {
    let mut pushed = Pushed::new();
    for _ in 0..2 {
        pushed.now += Duration::from_secs(5);
        pushed.part(&[xds(), member("a"), gauge("cluster.upstream_rq_active", "a", 30.0)]);
        assert!(pushed.over(0).is_none(), "b is missing still");
        pushed.now += Duration::from_millis(100);
        pushed.part(&[member("b"), gauge("cluster.upstream_rq_pending_active", "a", 50.0)]);
        let told = clusters(pushed.over(3));
        assert_eq!((told[0].1.in_flight, told[1].1.members), (80.0, 2.0));
    }
}

#[test]
fn a_report_with_clusters_and_no_requests_of_any_is_an_error_that_names_what_is_missing() {
    let mut pushed = Pushed::new();
    let error = pushed.report(&[member("a"), gauge("cluster.upstream_cx_active", "a", 3.0)]).unwrap().unwrap_err();
    assert!(error.contains("cluster.upstream_rq_total") && error.contains("telemetry.metrics.matches"), "{error}");
}

#[test]
fn requests_for_which_no_host_is_healthy_are_refused_ones() {
    let mut pushed = Pushed::new();
    let none_healthy = |total| counter("cluster.upstream_cx_none_healthy", "a", total, nanos());
    pushed.report(&[xds(), none_healthy(10.0)]);
    assert_eq!(clusters(pushed.report(&[xds(), none_healthy(25.0)]))[0].1.refused, 15.0);
}

#[test]
fn a_report_that_only_repeats_the_one_before_is_passed_on_to_nobody() {
    let mut pushed = Pushed::new();
    let same = [xds(), counter(RQ_TOTAL, "a", 7.0, nanos())];
    assert!(pushed.report(&same).is_some());
    assert_eq!(pushed.report(&same), None);
}

#[test]
fn a_report_of_which_all_counters_are_late_is_an_error_and_one_of_which_some_are_tells_of_the_others() {
    let (mut pushed, now) = (Pushed::new(), nanos());
    let restarted = |cluster: &str, total: f64, time: u64| {
        let mut metric = counter(RQ_TOTAL, cluster, total, time);
        let Some(Data::Sum(sum)) = &mut metric.data else { unreachable!() };
        sum.data_points[0].start_time_unix_nano += 1;
        metric
    };
    pushed.report(&[counter(RQ_TOTAL, "a", 100.0, now), counter(RQ_TOTAL, "b", 100.0, now)]);
    let late = now - 60_000_000_000;
    let error = pushed.report(&[restarted("a", 3.0, late), restarted("b", 3.0, late)]).unwrap().unwrap_err();
    assert!(error.contains("its clock is 60 s behind"), "{error}");
    let told = clusters(pushed.report(&[counter(RQ_TOTAL, "a", 130.0, now + 1), restarted("b", 5.0, late + 1)]));
    assert_eq!(told.iter().map(|(id, counters)| (*id, counters.requests)).collect::<Vec<_>>(), [(0, 30.0)]);
}

#[test]
fn a_counter_that_stands_still_on_a_clock_that_another_one_shows_to_be_set_back_is_known() {
    let (mut pushed, now) = (Pushed::new(), nanos());
    pushed.report(&[counter(RQ_TOTAL, "a", 100.0, now), counter(RQ_TOTAL, "b", 100.0, now)]);
    let back = now - 60_000_000_000;
    let told = clusters(pushed.report(&[counter(RQ_TOTAL, "b", 100.0, back), counter(RQ_TOTAL, "a", 150.0, back)]));
    assert_eq!(told.iter().map(|(id, counters)| (*id, counters.requests)).collect::<Vec<_>>(), [(0, 50.0), (1, 0.0)]);
}

/// The events between two reports of a proxy.
#[derive(Debug, Clone)]
struct Step {
    /// Requests of each cluster
    grow: [u16; 2],
    /// Seconds by which the clock is set forward or back
    set: i64,
    restarts: bool,
    /// An earlier message that is sent again first: 0 for the one before this
    repeats: Option<usize>,
    in_two_parts: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let set = prop_oneof![6 => Just(0), 1 => -600_i64..600, 1 => -30_i64..0];
    let grow = proptest::array::uniform2(prop_oneof![Just(0_u16), 1..1000_u16]);
    let repeats = proptest::option::weighted(0.2, 0..4_usize);
    (grow, set, proptest::bool::weighted(0.05), repeats, any::<bool>())
        .prop_map(|(grow, set, restarts, repeats, in_two_parts)| Step { grow, set, restarts, repeats, in_two_parts })
}

/// The true counts of a proxy.
struct Truth {
    start: u64,
    clock: u64,
    /// Requests of each cluster since the proxy started, and in all
    counted: [f64; 2],
    in_all: [f64; 2],
}

impl Truth {
    fn takes(&mut self, step: &Step) {
        self.clock = self.clock.saturating_add_signed((5 + step.set) * 1_000_000_000);
        if step.restarts {
            (self.start, self.counted) = (self.start + 1, [0.0; 2]);
        }
        for cluster in 0..2 {
            self.counted[cluster] += f64::from(step.grow[cluster]);
            self.in_all[cluster] += f64::from(step.grow[cluster]);
        }
    }

    fn message(&self) -> Vec<Metric> {
        let of = |cluster: usize| {
            let mut metric = counter(RQ_TOTAL, ["a", "b"][cluster], self.counted[cluster], self.clock);
            let Some(Data::Sum(sum)) = &mut metric.data else { unreachable!() };
            sum.data_points[0].start_time_unix_nano = self.start;
            metric
        };
        vec![of(0), of(1)]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_is_lowered_by_lateness_and_nothing_counts_that_was_not_counted(steps in proptest::collection::vec(step(), 1..40)) {
        let mut pushed = Pushed::new();
        let mut truth = Truth { start: 9, clock: nanos() - 40_000_000_000_000, counted: [0.0; 2], in_all: [0.0; 2] };
        let mut sent: Vec<Vec<Metric>> = vec![truth.message()];
        pushed.report(&sent[0]);
        // The true and the reported count of each cluster when it was last reported.
        let mut last = [(0.0, 0.0); 2];
        for step in &steps {
            truth.takes(step);
            pushed.now += Duration::from_secs(5);
            if let Some(again) = step.repeats {
                pushed.part(&sent[sent.len().saturating_sub(again + 1)].clone());
            }
            let message = truth.message();
            if step.in_two_parts {
                pushed.part(&message[..1]);
                pushed.part(&message[1..]);
            } else {
                pushed.part(&message);
            }
            sent.push(message);
            let Some(Ok(sample)) = pushed.over(3) else { continue };
            for (id, counters) in sample.clusters() {
                let cluster = *id as usize;
                let (counted, told) = last[cluster];
                prop_assert!(counters.requests >= told, "a total went down");
                prop_assert!(counters.requests <= truth.in_all[cluster], "{} of {}", counters.requests, truth.in_all[cluster]);
                let grew = truth.in_all[cluster] > counted && truth.counted[cluster] > 0.0;
                prop_assert!(!grew || counters.requests > told, "traffic was told as none");
                last[cluster] = (truth.in_all[cluster], counters.requests);
            }
        }
    }
}
