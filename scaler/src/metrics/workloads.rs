//! Demand and replicas of each workload of the Plan as metrics, computed at each scrape.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use tidegate_core::{
    metric::{Metric, unit},
    plan::Plan,
    workload::WorkloadId,
};
use tokio::sync::watch;

use crate::demand::{Demand, Demands};

/// Registers the needs of each annotated workload: `tidegate_workload_…`. An unknown value has no series, because it is not zero.
/// There are as many series as the Plan has workloads and signals.
pub fn register_workloads(registry: &mut Registry, demands: Arc<Demands>, plan: watch::Receiver<Option<Arc<Plan>>>) {
    registry.register_collector(Box::new(Workloads { demands, plan }));
}

#[derive(Debug)]
struct Workloads {
    demands: Arc<Demands>,
    plan: watch::Receiver<Option<Arc<Plan>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Workload {
    namespace: String,
    kind: &'static str,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WorkloadSignal {
    namespace: String,
    kind: &'static str,
    name: String,
    signal: &'static str,
}

impl Collector for Workloads {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(plan) = self.plan.borrow().clone() else { return Ok(()) };
        let mut values: Vec<(WorkloadSignal, Demand)> = Vec::new();
        let mut targets: Vec<(WorkloadSignal, f64)> = Vec::new();
        let mut replicas: Vec<(Workload, u32)> = Vec::new();
        for (id, workload) in &plan.workloads {
            let Ok(intent) = &workload.intent else { continue };
            let look = self.demands.look(id, intent, &plan);
            let complete = look.is_complete();
            for (target, found) in look.signals {
                let labels = labels(id, target.signal.metric_name());
                targets.push((labels.clone(), target.per_replica.get()));
                values.extend(found.ok().map(|demand| (labels, demand)));
            }
            if let Some(desired) = look.desired.filter(|_| complete) {
                let WorkloadId { namespace, kind, name } = id.clone();
                replicas.push((Workload { namespace, kind: kind.as_str(), name }, desired.replicas));
            }
        }
        let demand = |(labels, demand): &(WorkloadSignal, Demand)| (labels.clone(), demand.need.value);
        let age = |(labels, demand): &(WorkloadSignal, Demand)| (labels.clone(), demand.age.as_secs_f64());
        gauges(&mut encoder, Metric::WorkloadDemand, values.iter().map(demand))?;
        gauges(&mut encoder, Metric::WorkloadDemandAge, values.iter().map(age))?;
        gauges(&mut encoder, Metric::WorkloadTarget, targets.into_iter())?;
        let replicas = replicas.into_iter().map(|(labels, replicas)| (labels, f64::from(replicas)));
        gauges(&mut encoder, Metric::WorkloadDesiredReplicas, replicas)
    }
}

fn labels(id: &WorkloadId, signal: &'static str) -> WorkloadSignal {
    let WorkloadId { namespace, kind, name } = id.clone();
    WorkloadSignal { namespace, kind: kind.as_str(), name, signal }
}

fn gauges<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder,
    metric: Metric,
    values: impl Iterator<Item = (L, f64)>,
) -> Result<(), fmt::Error> {
    let unit = unit(metric);
    let mut family = encoder.encode_descriptor(metric.stem(), metric.help(), unit.as_ref(), MetricType::Gauge)?;
    for (labels, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
