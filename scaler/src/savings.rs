//! Savings by schedules and scale-to-zero: replicas that would run without them, and the resources that these would reserve.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter},
    registry::Registry,
};
use serde::{Deserialize, Serialize};
use tidegate_core::{
    fleet::Fleet,
    metric::{Metric, unit},
    plan::{Plan, PlannedWorkload},
    trigger::Trigger,
    workload::{Requests, WorkloadId},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::demand::Demands;

const ROUND: Duration = Duration::from_secs(10);
/// Longest time that one round adds: a longer gap was not observed, so it is not counted.
const LONGEST: Duration = Duration::from_secs(60);

/// Savings since this process started:
///
/// - `tidegate_saved_replica_seconds_total{namespace}`
/// - `tidegate_saved_cpu_core_seconds_total{namespace}` and `tidegate_saved_memory_byte_seconds_total{namespace}`: CPU and memory
///   that the containers of those replicas request
///
/// Only the replica that holds the Lease counts, so that the sum over all of them is right. Prometheus' `increase()` handles
/// restarts.
#[derive(Debug, Clone, Default)]
pub struct Savings(Arc<Mutex<BTreeMap<String, Saved>>>);

/// Savings in one namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// Replicas × seconds
    pub replica_seconds: f64,
    /// Cores × seconds
    pub cpu_core_seconds: f64,
    /// Bytes × seconds
    pub memory_byte_seconds: f64,
}

impl Savings {
    /// Registers the counters `tidegate_saved_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let savings = Self::default();
        registry.register_collector(Box::new(savings.clone()));
        savings
    }

    /// Adds the replicas that are saved now, times `lasted`.
    pub fn account(&self, plan: &Plan, demands: &Demands, lasted: Duration) {
        for (id, workload) in &plan.workloads {
            self.add(&id.namespace, saved_replicas(id, workload, plan, demands), workload.requests, lasted);
        }
        for fleet in &plan.fleets {
            if let Some(id) = fleet.gateways.keys().next() {
                self.add(&id.namespace, saved_proxies(fleet, demands), fleet.requests, lasted);
            }
        }
    }

    /// Returns the savings so far, by namespace.
    pub fn per_namespace(&self) -> BTreeMap<String, Saved> {
        self.0.lock().clone()
    }

    fn add(&self, namespace: &str, replicas: u32, requests: Requests, lasted: Duration) {
        if replicas == 0 {
            return;
        }
        let mut namespaces = self.0.lock();
        let saved = namespaces.entry(namespace.to_owned()).or_default();
        let replica_seconds = f64::from(replicas) * lasted.as_secs_f64();
        saved.replica_seconds += replica_seconds;
        saved.cpu_core_seconds += replica_seconds * requests.cpu_cores;
        saved.memory_byte_seconds += replica_seconds * requests.memory_bytes;
    }
}

impl Collector for Savings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let saved = self.per_namespace();
        if saved.is_empty() {
            return Ok(());
        }
        let mut encode = |metric: Metric, value: fn(&Saved) -> f64| {
            let unit = unit(metric);
            let mut counter =
                encoder.encode_descriptor(metric.stem(), metric.help(), unit.as_ref(), MetricType::Counter)?;
            saved.iter().try_for_each(|(namespace, saved)| {
                let label = [("namespace", namespace.as_str())];
                ConstCounter::new(value(saved)).encode(counter.encode_family(&label)?)
            })
        };
        encode(Metric::SavedReplica, |saved| saved.replica_seconds)?;
        encode(Metric::SavedCpuCore, |saved| saved.cpu_core_seconds)?;
        encode(Metric::SavedMemoryByte, |saved| saved.memory_byte_seconds)
    }
}

/// Replicas that are saved now. Outside hours, the workload would otherwise have the floor that applies inside them, or more if its
/// traffic needs more, up to its maximum. Without scale-to-zero it would have one.
fn saved_replicas(id: &WorkloadId, workload: &PlannedWorkload, plan: &Plan, demands: &Demands) -> u32 {
    let Some(intent) = workload.intent.as_ref().ok().filter(|intent| !intent.paused) else { return 0 };
    let trigger = Trigger::of_workload(id, intent);
    let closed = demands.limits(&trigger, plan).is_some_and(|limits| limits.cap.is_some());
    let without = match &workload.schedule {
        Some(schedule) if closed => {
            let need = demands.without_hours(&trigger, plan);
            need.max(schedule.floor).min(intent.bounds.max.max(schedule.floor))
        }
        _ => u32::from(intent.floor() == 0),
    };
    without.saturating_sub(workload.replicas.wanted)
}

fn saved_proxies(fleet: &Fleet, demands: &Demands) -> u32 {
    let closed = fleet.policy(demands.now()).is_some_and(|policy| policy.limits.cap.is_some());
    let floors = fleet.gateways.values().filter_map(|gateway| Some(gateway.schedule.as_ref()?.floor));
    let without = if closed { floors.max().unwrap_or(0) } else { 0 };
    without.saturating_sub(fleet.current) * u32::try_from(fleet.series.len()).unwrap_or(1)
}

/// Adds up savings while this replica `leads`, until `stop` is cancelled.
pub async fn run(
    savings: Savings,
    demands: Arc<Demands>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
    leads: impl Fn() -> bool + Send,
    stop: CancellationToken,
) {
    let mut ticks = interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let lasted = last.elapsed().min(LONGEST);
        last = Instant::now();
        let plan = plan.borrow().clone();
        if let Some(plan) = plan.filter(|_| leads()) {
            savings.account(&plan, &demands, lasted);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;
    use crate::fixture::{demands, deployment, measure, plan, share};

    const RULE: &str = "httproute/shop/web/rule/0";

    fn saved(annotations: &[(&str, &str)], rate: f64, wanted: u32, at: &str) -> Saved {
        let mut plan = plan("api", annotations, vec![share("web")]);
        let workload = plan.workloads.get_mut(&deployment("api")).unwrap();
        workload.replicas.wanted = wanted;
        workload.requests = Requests { cpu_cores: 0.5, memory_bytes: 1e9 };
        let now: DateTime<Utc> = at.parse().unwrap();
        let demands = demands().with_clock(Arc::new(move || now));
        demands.signals().keep(&plan);
        measure(demands.signals(), &[(RULE, [rate, 0.0, 0.0])]);
        let savings = Savings::default();
        savings.account(&plan, &demands, Duration::from_secs(10));
        savings.per_namespace().remove("shop").unwrap_or_default()
    }

    const OFFICE: [(&str, &str); 4] =
        [("requests-per-second", "100"), ("min-replicas", "2"), ("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")];

    #[tokio::test(start_paused = true)]
    async fn outside_hours_what_is_not_there_of_the_floor_and_the_need_is_saved() {
        let night = "2026-03-02T22:00:00Z";
        let two = Saved { replica_seconds: 20.0, cpu_core_seconds: 10.0, memory_byte_seconds: 20e9 };
        assert_eq!(saved(&OFFICE, 0.0, 0, night), two);
        assert_eq!(saved(&OFFICE, 450.0, 0, night).replica_seconds, 50.0, "five would carry the traffic");
        assert_eq!(saved(&OFFICE, 9e9, 0, night).replica_seconds, 100.0, "but never more than the maximum");
        assert_eq!(saved(&OFFICE, 0.0, 2, night), Saved::default(), "they are still there");
    }

    #[tokio::test(start_paused = true)]
    async fn inside_hours_nothing_is_saved_but_by_zero() {
        assert_eq!(saved(&OFFICE, 0.0, 1, "2026-03-02T12:00:00Z"), Saved::default());
        let zero = [("prometheus-query", "sum(queue)"), ("prometheus-target", "5"), ("min-replicas", "0")];
        assert_eq!(saved(&zero, 0.0, 0, "2026-03-02T12:00:00Z").replica_seconds, 10.0);
        assert_eq!(saved(&zero, 0.0, 1, "2026-03-02T12:00:00Z"), Saved::default());
    }
    #[test]
    fn what_is_saved_is_published_by_namespace() {
        let mut registry = Registry::default();
        let savings = Savings::register(&mut registry);
        let text = |registry: &Registry| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            text
        };
        assert_eq!(text(&registry), "# EOF\n");
        savings.add("shop", 2, Requests { cpu_cores: 0.5, memory_bytes: 1e9 }, Duration::from_secs(10));
        let expected = "\
# HELP tidegate_saved_replica_seconds Replica-seconds that schedules and scale to zero saved
# TYPE tidegate_saved_replica_seconds counter
# UNIT tidegate_saved_replica_seconds seconds
tidegate_saved_replica_seconds_total{namespace=\"shop\"} 20.0
# HELP tidegate_saved_cpu_core_seconds Requested CPU, in core-seconds, that schedules and scale to zero saved
# TYPE tidegate_saved_cpu_core_seconds counter
# UNIT tidegate_saved_cpu_core_seconds seconds
tidegate_saved_cpu_core_seconds_total{namespace=\"shop\"} 10.0
# HELP tidegate_saved_memory_byte_seconds Requested memory, in byte-seconds, that schedules and scale to zero saved
# TYPE tidegate_saved_memory_byte_seconds counter
# UNIT tidegate_saved_memory_byte_seconds seconds
tidegate_saved_memory_byte_seconds_total{namespace=\"shop\"} 20000000000.0
# EOF
";
        assert_eq!(text(&registry), expected);
    }
}
