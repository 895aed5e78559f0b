//! Bursts: demand that needs more replicas than there are, which the leader adds at once instead of at the HPA's next look.
//!
//! To agree with the HPA, the demand that was acted on is kept in the metric until the HPA has looked twice: it then arrives at the
//! same number, and its stabilisation window knows that number. The HPA may ask any replica of Tidegate, and each measures for itself,
//! so the leader reports what it keeps to the others before it adds replicas.

use std::{collections::HashMap, time::Duration};

use tidegate_core::{
    demand::{Burst, Need, Peak, desired},
    intent::Intent,
    plan::{Plan, PlannedWorkload},
    signal::{Signal, Target},
    trigger::{Traffic, Trigger},
    workload::WorkloadId,
};
use tokio::time::Instant;

use super::Demands;

/// Two periods of the HPA (`--horizontal-pod-autoscaler-sync-period`, 15 s by default), and some time for its calls.
const KEPT: Duration = Duration::from_secs(35);

/// Most workloads with a peak: as many as Tidegate is made for, and some more.
const MOST: usize = 20_000;

/// The largest demand of each burst.
#[derive(Debug, Default)]
pub(super) struct Peaks(HashMap<WorkloadId, Vec<(Signal, f64, Instant)>>);

impl Peaks {
    /// Keeps a demand that was measured at `seen`, unless a larger one is kept.
    fn remember(&mut self, id: &WorkloadId, signal: Signal, value: f64, seen: Instant) {
        if self.0.len() >= MOST && !self.0.contains_key(id) {
            return;
        }
        let peaks = self.0.entry(id.clone()).or_default();
        match peaks.iter_mut().find(|(of, ..)| *of == signal) {
            Some((_, peak, at)) => {
                if (value, seen) > (*peak, *at) || seen >= *at + KEPT {
                    (*peak, *at) = (value, seen);
                }
            }
            None => peaks.push((signal, value, seen)),
        }
    }

    /// The need, or a larger one of its signal that is kept.
    pub(super) fn raise(&self, trigger: &Trigger, need: Need, now: Instant) -> Need {
        Need { value: need.value.max(self.of(trigger, need.signal, now).unwrap_or_default()), ..need }
    }

    fn of(&self, trigger: &Trigger, signal: Signal, now: Instant) -> Option<f64> {
        let Some(Traffic::Workload(id)) = &trigger.traffic else { return None };
        let peak = self.0.get(id)?.iter().find(|(of, _, at)| *of == signal && now < *at + KEPT)?;
        Some(peak.1)
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|_, peaks| {
            peaks.retain(|(.., at)| now < *at + KEPT);
            !peaks.is_empty()
        });
    }
}

impl Demands {
    /// Has replicas be added at once, or not, where a workload's annotations do not say.
    #[must_use]
    pub fn with_bursts(self, by_default: bool) -> Self {
        Self { adds_at_once: by_default, ..self }
    }

    /// The workloads that need more replicas than they have, and may get them at once; their demand is kept for a while.
    pub fn bursts(&self, plan: &Plan) -> Vec<Burst> {
        let now = Instant::now();
        self.peaks.lock().forget(now);
        plan.workloads.iter().filter_map(|(id, workload)| self.burst(id, workload, plan, now)).collect()
    }

    /// What is kept of bursts: the leader reports it before it acts on it.
    pub fn peaks(&self) -> Vec<Peak> {
        let now = Instant::now();
        let mut peaks = self.peaks.lock();
        peaks.forget(now);
        let all = peaks.0.iter().flat_map(|(id, peaks)| peaks.iter().map(move |peak| (id, *peak)));
        all.map(|(id, (signal, value, at))| Peak { workload: id.clone(), signal, value, age: now - at }).collect()
    }

    /// Keeps what the leader reports, as long as it does itself. Impossible values are ignored.
    pub fn keep_peaks(&self, reported: Vec<Peak>) {
        let now = Instant::now();
        let mut peaks = self.peaks.lock();
        peaks.forget(now);
        for Peak { workload, signal, value, age } in reported {
            let seen = now.checked_sub(age).filter(|_| age < KEPT);
            if let Some(seen) = seen.filter(|_| value.is_finite() && value > 0.0) {
                peaks.remember(&workload, signal, value, seen);
            }
        }
    }

    /// Whether a workload gets replicas at once, instead of when the HPA looks next.
    pub(crate) fn adds_at_once(&self, workload: &PlannedWorkload) -> bool {
        let wanted = |intent: &Intent| intent.burst.unwrap_or(self.adds_at_once) && intent.behavior.goes_up_at_once();
        // Manifests say nothing about replicas.
        let in_a_cluster = !workload.uid.is_empty();
        in_a_cluster && workload.intent.as_ref().is_ok_and(wanted)
    }

    fn burst(&self, id: &WorkloadId, workload: &PlannedWorkload, plan: &Plan, now: Instant) -> Option<Burst> {
        let has = workload.replicas.wanted;
        let has_room = |intent: &Intent| has < intent.bounds.max;
        if !self.adds_at_once(workload) || !workload.intent.as_ref().is_ok_and(has_room) {
            return None;
        }
        let (intent, trigger) = self.decides(id, workload, plan)?;
        let measured = |target: &Target| match target.signal {
            Signal::Schedule => self.demand(&trigger, *target, plan),
            _ => self.as_measured(&trigger, *target, plan),
        };
        let known = trigger.targets.iter().filter_map(|target| measured(target).ok());
        let needs: Vec<_> = known.map(|demand| demand.need).collect();
        // What is kept is a need still: the HPA writes the number of a look that began before a burst over it, and repeats that when the
        // number has changed meanwhile (RetryOnConflict in pkg/controller/podautoscaler/horizontal.go).
        let kept: Vec<_> = {
            let peaks = self.peaks.lock();
            needs.iter().map(|need| peaks.raise(&trigger, *need, now)).collect()
        };
        let replicas = desired(&kept, intent.bounds).replicas;
        if needs.is_empty() || replicas <= has || (has == 0 && self.asks_for_replicas(id, plan) != Some(true)) {
            return None;
        }
        let mut peaks = self.peaks.lock();
        for need in needs.iter().filter(|need| need.replicas() > has) {
            peaks.remember(id, need.signal, need.value, now);
        }
        Some(Burst { id: id.clone(), has, needs: replicas })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;
    use crate::fixture::{demands, deployment, measure, plan, share};

    const RULE: &str = "httproute/shop/web/rule/0";

    /// Six replicas, each of which carries 100 requests/s.
    fn planned(annotations: &[(&str, &str)]) -> Plan {
        let all = [&[("requests-per-second", "100"), ("max-replicas", "20")][..], annotations].concat();
        let mut plan = plan("api", &all, vec![share("web")]);
        plan.workloads.values_mut().for_each(|workload| workload.uid = "1".to_owned());
        plan
    }

    fn value(demands: &Demands, plan: &Plan) -> f64 {
        let trigger =
            Trigger::of_workload(&deployment("api"), plan.workloads[&deployment("api")].intent.as_ref().unwrap());
        demands.demand(&trigger, trigger.targets[0], plan).unwrap().need.value
    }

    fn needs(demands: &Demands, plan: &Plan) -> Vec<u32> {
        demands.bursts(plan).iter().map(|burst| burst.needs).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_acted_on_stays_in_the_metric_until_the_hpa_has_looked_twice() {
        let (demands, mut plan) = (demands().with_bursts(true), planned(&[]));
        demands.signals().keep(&plan);
        measure(demands.signals(), &[(RULE, [1150.0, 0.0, 0.0])]);
        assert_eq!(needs(&demands, &plan), [12]);
        plan.workloads.get_mut(&deployment("api")).unwrap().replicas.wanted = 12;
        measure(demands.signals(), &[(RULE, [300.0, 0.0, 0.0])]);
        assert_eq!(needs(&demands, &plan), [0_u32; 0]);
        assert_eq!(value(&demands, &plan), 1150.0);
        advance(KEPT).await;
        measure(demands.signals(), &[(RULE, [300.0, 0.0, 0.0])]);
        assert_eq!(value(&demands, &plan), 300.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_that_could_not_be_acted_on_does_not_keep_itself_alive() {
        let (demands, plan) = (demands().with_bursts(true), planned(&[]));
        demands.signals().keep(&plan);
        measure(demands.signals(), &[(RULE, [1150.0, 0.0, 0.0])]);
        assert_eq!(needs(&demands, &plan), [12]);
        measure(demands.signals(), &[(RULE, [300.0, 0.0, 0.0])]);
        advance(KEPT / 2).await;
        assert_eq!(needs(&demands, &plan), [12], "the HPA would come to it");
        advance(KEPT / 2).await;
        assert_eq!(needs(&demands, &plan), [0_u32; 0]);
        assert_eq!(value(&demands, &plan), 300.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_look_of_the_hpa_takes_back_that_began_before_the_burst_is_added_again() {
        let (demands, mut plan) = (demands().with_bursts(true), planned(&[]));
        demands.signals().keep(&plan);
        measure(demands.signals(), &[(RULE, [1150.0, 0.0, 0.0])]);
        assert_eq!(needs(&demands, &plan), [12]);
        measure(demands.signals(), &[(RULE, [300.0, 0.0, 0.0])]);
        for (has, added) in [(12, vec![]), (7, vec![12])] {
            plan.workloads.get_mut(&deployment("api")).unwrap().replicas.wanted = has;
            assert_eq!(needs(&demands, &plan), added, "{has}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_measured_less_than_the_leader_gives_the_hpa_the_leaders_number() {
        let (leader, other, plan) = (demands().with_bursts(true), demands().with_bursts(true), planned(&[]));
        for (demands, requests) in [(&leader, 1650.0), (&other, 1590.0)] {
            demands.signals().keep(&plan);
            measure(demands.signals(), &[(RULE, [requests, 0.0, 0.0])]);
        }
        assert_eq!(needs(&leader, &plan), [17]);
        advance(Duration::from_secs(5)).await;
        other.keep_peaks(leader.peaks());
        assert_eq!(value(&other, &plan), 1650.0);
        measure(other.signals(), &[(RULE, [300.0, 0.0, 0.0])]);
        assert_eq!(value(&other, &plan), 1650.0);
        advance(Duration::from_secs(30)).await;
        assert_eq!(value(&other, &plan), 300.0, "it is kept as long as the leader keeps it");
    }

    #[tokio::test(start_paused = true)]
    async fn impossible_and_old_peaks_of_another_pod_are_ignored() {
        let (demands, plan) = (demands().with_bursts(true), planned(&[]));
        demands.signals().keep(&plan);
        measure(demands.signals(), &[(RULE, [300.0, 0.0, 0.0])]);
        for (value, age) in [(f64::NAN, 0), (f64::INFINITY, 0), (-1.0, 0), (1000.0, 35), (1000.0, u64::MAX)] {
            let age = Duration::from_secs(age);
            let peak = Peak { workload: deployment("api"), signal: Signal::RequestsPerSecond, value, age };
            demands.keep_peaks(vec![peak]);
        }
        assert_eq!(value(&demands, &plan), 300.0);
        let of = |number: usize| deployment(&format!("api-{number}"));
        let peak = |workload| Peak { workload, signal: Signal::Concurrency, value: 1.0, age: Duration::ZERO };
        demands.keep_peaks((0..=MOST).map(|number| peak(of(number))).collect());
        assert_eq!(demands.peaks().len(), MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_added_where_somebody_wants_it_slow_or_something_else_decides() {
        let demands = demands().with_bursts(true);
        for annotations in
            [[("burst", "false")], [("scale-up-after", "1m")], [("scale-up-rate", "2/1m")], [("paused", "true")]]
        {
            let plan = planned(&annotations);
            demands.signals().keep(&plan);
            measure(demands.signals(), &[(RULE, [1150.0, 0.0, 0.0])]);
            assert_eq!(needs(&demands, &plan), [0_u32; 0], "{annotations:?}");
        }
        let plan = planned(&[]);
        assert_eq!(demands.with_bursts(false).bursts(&plan), []);
    }

    proptest! {
        #[test]
        fn a_burst_is_within_bounds_and_what_the_hpa_makes_of_the_same_metric(load in 0.0f64..5000.0, after in 0.0f64..5000.0) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let (demands, mut plan) = (demands().with_bursts(true), planned(&[]));
                demands.signals().keep(&plan);
                measure(demands.signals(), &[(RULE, [load, 0.0, 0.0])]);
                if let [added] = needs(&demands, &plan)[..] {
                    prop_assert!((7..=20).contains(&added));
                    plan.workloads.get_mut(&deployment("api")).unwrap().replicas.wanted = added;
                    measure(demands.signals(), &[(RULE, [after, 0.0, 0.0])]);
                    for _ in 0..2 {
                        advance(Duration::from_secs(15)).await;
                        let hpa = (value(&demands, &plan) / 100.0).ceil().min(20.0) as u32;
                        prop_assert!(hpa >= added, "the HPA comes to {hpa}, and {added} were added");
                    }
                }
                Ok(())
            })?;
        }
    }
}
