//! Demand that is held at the gates of workloads without replicas.

use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tidegate_core::{
    held::Held,
    measured::Measured,
    plan::{Plan, PlannedWorkload},
    refused::Refused,
    signal::{Family, Signal},
    trigger::{Traffic, Trigger},
    workload::WorkloadId,
};
use tokio::sync::watch;

use super::{Demands, NoDemand, planned, traffic::of_traffic};
use crate::store::Reading;

/// A function that returns the time that a workload's last start took, if one was seen.
pub type StartOf = Arc<dyn Fn(&WorkloadId) -> Option<Duration> + Send + Sync>;

/// What the activator knows, for a process that has one.
#[derive(Clone)]
pub struct Gates {
    /// What it holds of a workload's traffic
    pub held: Arc<dyn Fn(&WorkloadId) -> Held + Send + Sync>,
    /// Whether all Services of a workload lead to it, so that no request is lost when the last pod goes
    pub lead: Arc<dyn Fn(&PlannedWorkload) -> bool + Send + Sync>,
    /// What it refused of a workload's traffic lately
    pub refused: Arc<dyn Fn(&WorkloadId) -> Refused + Send + Sync>,
    /// The time that a workload's last start took, if one was seen
    pub started: StartOf,
    /// Changes when it begins to hold something of a workload
    pub news: watch::Receiver<u64>,
}

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gates")
    }
}

impl Demands {
    /// Has the demand include what is held at gates.
    #[must_use]
    pub fn with_gates(self, gates: Gates) -> Self {
        Self { gates: Some(gates), ..self }
    }

    /// Whether anything asks for replicas of a workload, whether or not it can be let go; `None` while that is unknown.
    pub fn asks_for_replicas(&self, id: &WorkloadId, plan: &Plan) -> Option<bool> {
        let intent = plan.workloads.get(id)?.intent.as_ref().ok()?;
        self.is_asked_for(&Trigger::of_workload(id, intent), plan).ok()
    }

    /// Waits until something begins to be held; forever where there are no gates.
    pub(crate) async fn news(gates: &mut Option<Gates>) {
        if let Some(gates) = gates
            && gates.news.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    pub(crate) fn gates(&self) -> Option<Gates> {
        self.gates.clone()
    }

    /// Where business hours allow a workload no replicas now: when they next do, if ever. `None` while they allow some.
    pub fn closed(&self, id: &WorkloadId, plan: &Plan) -> Option<Option<DateTime<Utc>>> {
        let workload = plan.workloads.get(id)?;
        let schedule = workload.schedule.as_ref()?;
        let trigger = Trigger::of_workload(id, workload.intent.as_ref().ok()?);
        self.is_closed(&trigger, plan).then(|| schedule.next_opening(self.now()))
    }

    /// What is held of the trigger's workload.
    pub(crate) fn held(&self, trigger: &Trigger) -> Held {
        match (&self.gates, &trigger.traffic) {
            (Some(gates), Some(Traffic::Workload(id))) => (gates.held)(id),
            _ => Held::default(),
        }
    }

    /// What was refused of a workload's traffic lately.
    pub(crate) fn refused(&self, id: &WorkloadId) -> Refused {
        self.gates.as_ref().map(|gates| (gates.refused)(id)).unwrap_or_default()
    }

    /// The time that a workload's last start took, if one was seen.
    pub(crate) fn last_start(&self, id: &WorkloadId) -> Option<Duration> {
        (self.gates.as_ref()?.started)(id)
    }

    /// Adds what is held to what was measured. A request through a proxy is in both, one from within the cluster only here, so the
    /// larger of the two is a lower bound of their union.
    pub(super) fn with_held(
        &self,
        trigger: &Trigger,
        signal: Signal,
        measured: Measured<Reading, NoDemand>,
    ) -> Measured<Reading, NoDemand> {
        let held = self.held(trigger);
        let value = match signal {
            Signal::RequestsPerSecond => held.arrivals_per_second,
            Signal::Concurrency => held.requests as f64,
            Signal::Connections => held.connections as f64,
            _ => 0.0,
        };
        if value <= 0.0 {
            return measured;
        }
        match measured {
            Measured::Unknown(reason) => Measured::AtLeast(Reading { value, age: Duration::ZERO }, reason),
            known => known.map(|reading| Reading { value: reading.value.max(value), ..reading }),
        }
    }

    /// Whether the workload has to stay as it is although nothing asks for it: its Services do not lead to the activator yet, so that
    /// requests would be lost when the last pod goes.
    pub(super) fn must_stay(&self, trigger: &Trigger, plan: &Plan) -> bool {
        let (Some(gates), Some((_, workload))) = (&self.gates, planned(trigger, plan)) else { return false };
        is_held(workload) && workload.replicas.wanted > 0 && !(gates.lead)(workload)
    }

    /// Whether a request or a connection of a workload that goes to zero is in flight: a stream may last for hours without a new
    /// request.
    pub(super) fn is_in_flight(&self, trigger: &Trigger, plan: &Plan) -> bool {
        let Some((id, workload)) = planned(trigger, plan).filter(|(_, workload)| is_held(workload)) else {
            return false;
        };
        // Envoy keeps idle connections to HTTP backends open: there, only requests are in flight.
        let raw = workload.traffic.iter().any(|share| share.route.carries_connections());
        let signals = [Some(Signal::Concurrency), raw.then_some(Signal::Connections)];
        let in_flight = |signal: Signal| {
            let traffic = Traffic::Workload(id.clone());
            of_traffic(&traffic, signal, plan, &self.signals).at_least().is_some_and(|reading| reading.value > 0.0)
        };
        signals.into_iter().flatten().filter(|signal| signal.family() == Family::Traffic).any(in_flight)
    }
}

/// Whether requests to the workload are held while it has no replicas.
fn is_held(workload: &PlannedWorkload) -> bool {
    workload.intent.as_ref().is_ok_and(|intent| intent.held)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use parking_lot::Mutex;

    use super::*;
    use crate::fixture::{demands, deployment, measure, plan, share};

    const RULE: &str = "httproute/shop/web/rule/0";

    struct Gated {
        demands: Demands,
        plan: Plan,
        held: Arc<Mutex<Held>>,
        lead: Arc<AtomicBool>,
    }

    /// A workload with a pod that may go to zero, of which 20 requests/s or 8 in flight are one replica's part.
    fn gated() -> Gated {
        let (held, lead) = (Arc::<Mutex<Held>>::default(), Arc::new(AtomicBool::new(false)));
        let (of_held, of_lead) = (Arc::clone(&held), Arc::clone(&lead));
        let gates = Gates {
            held: Arc::new(move |_| *of_held.lock()),
            lead: Arc::new(move |_| of_lead.load(Ordering::Relaxed)),
            refused: Arc::new(|_| Refused::default()),
            started: Arc::new(|_| None),
            news: watch::Sender::new(0).subscribe(),
        };
        let annotations = [("min-replicas", "0"), ("requests-per-second", "20"), ("concurrency", "8")];
        let mut plan = plan("api", &annotations, vec![share("web")]);
        for workload in plan.workloads.values_mut() {
            workload.uid = "1".to_owned();
            workload.intent.as_mut().unwrap().held = true;
        }
        let demands = demands().with_gates(gates);
        demands.signals().keep(&plan);
        Gated { demands, plan, held, lead }
    }

    impl Gated {
        fn trigger(&self) -> Trigger {
            let workload = &self.plan.workloads[&deployment("api")];
            Trigger::of_workload(&deployment("api"), workload.intent.as_ref().unwrap())
        }

        fn is_active(&self) -> bool {
            self.demands.is_active(&self.trigger(), &self.plan).unwrap()
        }

        fn values(&self) -> Vec<f64> {
            let trigger = self.trigger();
            let demand = |target| self.demands.demand(&trigger, target, &self.plan).unwrap().need.value;
            trigger.targets.iter().map(|target| demand(*target)).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_workload_without_demand_stays_until_its_services_lead_to_the_activator() {
        let gated = gated();
        measure(gated.demands.signals(), &[(RULE, [0.0, 0.0, 0.0])]);
        assert!(gated.is_active());
        assert_eq!(gated.demands.asks_for_replicas(&deployment("api"), &gated.plan), Some(false));
        gated.lead.store(true, Ordering::Relaxed);
        assert!(!gated.is_active());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_keeps_its_replica_though_no_new_one_comes() {
        let gated = gated();
        gated.lead.store(true, Ordering::Relaxed);
        measure(gated.demands.signals(), &[(RULE, [0.0, 1.0, 0.0])]);
        assert!(gated.is_active());
        measure(gated.demands.signals(), &[(RULE, [0.0, 0.0, 3.0])]);
        assert!(!gated.is_active(), "Envoy keeps idle connections open");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_wakes_and_counts_and_what_proxies_measure_of_it_does_not_count_twice() {
        let gated = gated();
        gated.lead.store(true, Ordering::Relaxed);
        measure(gated.demands.signals(), &[(RULE, [10.0, 3.0, 0.0])]);
        *gated.held.lock() = Held { requests: 30, connections: 0, arrivals_per_second: 5.0, awake: true };
        assert!(gated.is_active());
        assert_eq!(gated.values(), [10.0, 30.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_a_lower_bound_where_nothing_was_measured() {
        let gated = gated();
        *gated.held.lock() = Held { requests: 80, connections: 0, arrivals_per_second: 130.0, awake: true };
        assert_eq!(gated.values(), [130.0, 80.0]);
    }
}
