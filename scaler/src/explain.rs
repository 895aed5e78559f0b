//! Explanations of a workload's replicas and a Gateway's proxies: the answer first, then its derivation, then the problems.

mod at_zero;
mod gateway;
mod hours;
mod kafka;
mod llm;
mod page;

use std::time::Duration;

use serde::Serialize;
use tidegate_core::{
    beside::{Beside, Formula, KedaTrigger},
    demand::{Desired, Need},
    ids::{RouteRef, ServiceId},
    intent::{Bounds, Intent},
    measured::Measured,
    not_followed::NotFollowed,
    only_connections::OnlyConnections,
    plan::{ClusterShare, Plan, PlannedWorkload, Replicas},
    signal::{Family, PerReplica, Signal, Target},
    trigger::Trigger,
    workload::WorkloadId,
};

use self::at_zero::AtZero;
pub use self::{
    gateway::{ExplainedFleetSignal, GatewayExplanation, UnknownGateway, explain_gateway},
    hours::ExplainedHours,
    kafka::ExplainedKafka,
    llm::{ExplainedBackend, ExplainedModel, ExplainedRule, ExplainedServers, ExplainedTokens},
};
use crate::{
    demand::{Demand, Demands, NoDemand, of_clusters, parts, unknown_workload},
    history::{Change, ToldChange},
    store::{Reading, SourceStatus},
};

/// The workload is not in the Plan; the message names workloads that are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct UnknownWorkload(NoDemand);

/// All that is known about one workload: as text one page for people, as JSON for programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The workload
    pub workload: WorkloadId,
    /// Settings from the annotations; `None` when the annotations are wrong
    pub intent: Option<ExplainedIntent>,
    /// Replicas that its own object asks for and has
    pub replicas: Replicas,
    /// Replicas that the known signals ask for; `None` when no signal is known
    pub desired: Option<Desired>,
    /// Whether all signals are known. While one is not, the HPA may scale up but does not scale down.
    pub complete: bool,
    /// Its business hours
    pub hours: Option<ExplainedHours>,
    /// The consumer group whose lag it scales on, after the first sweep of the group
    pub kafka: Option<ExplainedKafka>,
    /// The model that it serves, if it scales on the model's signals
    pub model: Option<ExplainedModel>,
    /// Each signal, in the order of the annotations' documentation
    pub signals: Vec<ExplainedSignal>,
    /// The rules that lead to it
    pub traffic: Vec<ExplainedRoute>,
    /// What of the routes that name its Services is not followed, and why: when none is, or when Envoy Gateway refuses one
    pub not_followed: Vec<NotFollowed>,
    /// Problems, and what to do about them
    pub problems: Vec<String>,
    /// Facts worth knowing that are not problems
    pub notices: Vec<String>,
    /// The sources of signals
    pub sources: Vec<SourceStatus>,
    /// The last changes of the number, oldest first
    pub changes: Vec<ToldChange>,
}

/// Settings from the annotations, besides targets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedIntent {
    /// The fewest and the most replicas
    pub bounds: Bounds,
    /// The scale-down window: the highest need within it holds replicas up
    #[serde(rename = "scaleDownAfterSeconds", serialize_with = "seconds")]
    pub scale_down_after: Duration,
    /// Whether everything that exists is left as it is
    pub paused: bool,
    /// Whether replicas are added at once when demand needs more (`tidegate.dev/burst`), and not when the HPA looks next
    pub adds_at_once: bool,
}

/// One signal of the workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedSignal {
    /// The signal
    pub signal: Signal,
    /// Unit of all numbers
    pub unit: &'static str,
    /// Target: the load that one replica carries
    pub per_replica: PerReplica,
    /// The whole workload's demand, as it is reported to KEDA
    pub value: Option<f64>,
    /// Age of the oldest measurement in it
    pub age_seconds: Option<f64>,
    /// Replicas needed to carry it
    pub replicas: Option<u32>,
    /// Why there is no value, or why it is the last known one
    pub problem: Option<String>,
}

/// A rule of a route that leads to the workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedRoute {
    /// The rule
    pub route: RouteRef,
    /// The Service in between
    pub service: ServiceId,
    /// The Service's part of the rule, by weight, from 0 to 1
    pub share: f64,
    /// The workload's part of the Service, by ready pods, from 0 to 1
    pub of_backend: f64,
    /// Envoy's clusters: the rule's, and the Service's own when Envoy Gateway may split the rule
    pub clusters: Vec<ExplainedCluster>,
}

/// One of Envoy's clusters.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedCluster {
    /// Name, as in the label `envoy_cluster_name`
    pub name: String,
    /// The workload's part of it, from 0 to 1
    pub part: f64,
    /// One reading for each traffic signal that the workload has a target for
    pub readings: Vec<ExplainedReading>,
    /// Requests/s of the whole cluster that a global rate limit refused, if any were: no part of the demand
    pub rate_limited: Option<f64>,
}

/// One signal of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedReading {
    /// The signal
    pub signal: Signal,
    /// Value for the whole cluster
    pub value: Option<f64>,
    /// Age of the measurement
    pub age_seconds: Option<f64>,
    /// Why there is no value
    pub problem: Option<String>,
}

/// Explains why this workload has its replicas.
pub fn explain(plan: &Plan, demands: &Demands, id: &WorkloadId) -> Result<Explanation, UnknownWorkload> {
    let workload = plan.workloads.get(id).ok_or_else(|| unknown(id, plan))?;
    let mut explanation = Explanation {
        workload: id.clone(),
        intent: None,
        replicas: workload.replicas,
        desired: None,
        complete: false,
        hours: None,
        kafka: None,
        model: None,
        signals: Vec::new(),
        traffic: Vec::new(),
        not_followed: workload.not_followed.clone(),
        problems: Vec::new(),
        notices: Vec::new(),
        sources: demands.signals().sources(),
        changes: Vec::new(),
    };
    explanation
        .problems
        .extend(workload.problems.iter().map(|problem| format!("{problem} (what was applied before still applies)")));
    let targets: &[Target] = match &workload.intent {
        Ok(intent) => {
            explanation.hours = hours(id, workload, intent, plan, demands);
            explanation.intends(workload, intent, plan, demands);
            let trigger = Trigger::of_workload(id, intent);
            let now = demands.model_now(&trigger, plan).ok();
            explanation.model = now.and_then(|now| ExplainedModel::new(&trigger, workload, &now, demands.signals()));
            let at_zero = AtZero { id, workload, intent, demands, held: demands.held(&trigger) };
            explanation.problems.extend(at_zero.problems());
            explanation.notices.extend(at_zero.notices());
            &intent.targets
        }
        Err(problems) => {
            explanation.problems.extend(problems.iter().map(ToString::to_string));
            &[]
        }
    };
    explanation.traffic = traffic(workload, targets, demands);
    // Without any traffic, each signal gives these reasons itself.
    let refused = explanation.not_followed.iter().filter(|_| !explanation.traffic.is_empty());
    explanation.problems.extend(refused.map(ToString::to_string));
    explanation.problems.extend(OnlyConnections::of(workload).map(|what| what.to_string()));
    explanation.problems.extend(of_sources(&explanation.sources));
    Ok(explanation)
}

/// Why a workload is not known: the ones in its namespace that are.
pub fn unknown(id: &WorkloadId, plan: &Plan) -> UnknownWorkload {
    UnknownWorkload(unknown_workload(id, plan))
}

impl Explanation {
    /// Adds the last changes, oldest first.
    #[must_use]
    pub fn with_changes(self, changes: Vec<Change>) -> Self {
        Self { changes: changes.into_iter().map(ToldChange::from).collect(), ..self }
    }

    fn intends(&mut self, workload: &PlannedWorkload, intent: &Intent, plan: &Plan, demands: &Demands) {
        let Intent { scale_down_after, paused, .. } = *intent;
        let bounds = Bounds { min: intent.lowest(), ..intent.bounds };
        let adds_at_once = demands.adds_at_once(workload);
        self.intent = Some(ExplainedIntent { bounds, scale_down_after, paused, adds_at_once });
        let trigger = Trigger::of_workload(&self.workload, intent);
        let group = trigger.kafka.as_ref().zip(demands.kafka_now(&trigger, plan).ok());
        self.kafka = group.map(|(kafka, now)| ExplainedKafka::new(&trigger, kafka, &now));
        let look = demands.look(&self.workload, intent, plan);
        (self.complete, self.desired) = (look.is_complete(), look.desired);
        let needs: Vec<Need> = look.signals.iter().filter_map(|(_, found)| Some(found.as_ref().ok()?.need)).collect();
        self.signals.extend(look.signals.into_iter().map(|(target, found)| of_signal(target, found)));
        let most = self.kafka.as_ref().and_then(ExplainedKafka::most);
        if let Some(most) = most
            .filter(|most| needs.iter().any(|need| need.signal.family() == Family::Kafka && need.replicas() == *most))
        {
            self.notices.push(format!(
                "More than {most} replicas would have nothing to read: a partition is read by one of them \
                 (tidegate.dev/kafka-partition-cap)"
            ));
        }
        self.problems.extend(self.signals.iter().filter_map(|signal| signal.problem.clone()));
        // Every signal has the same problem when no route leads to the workload.
        self.problems.dedup();
        if paused {
            self.notices.push("tidegate.dev/paused is true: nothing is changed until it is taken away".to_owned());
        }
        self.notices.extend(beside(&intent.beside));
    }
}

/// What KEDA and the HPA decide by besides the signals that are explained.
fn beside(beside: &Beside) -> impl Iterator<Item = String> {
    let names: Vec<_> = beside.triggers.iter().map(KedaTrigger::label).collect();
    let triggers = (!names.is_empty()).then(|| {
        format!("KEDA's own triggers may ask for more replicas and are not measured here: {}", names.join(", "))
    });
    let formula = beside.formula.as_ref().map(|Formula { text, target, .. }| {
        format!("the HPA follows a formula and not the largest need: ({text}) at {target} per replica")
    });
    triggers.into_iter().chain(formula)
}

fn hours(
    id: &WorkloadId,
    workload: &PlannedWorkload,
    intent: &Intent,
    plan: &Plan,
    demands: &Demands,
) -> Option<ExplainedHours> {
    let schedule = workload.schedule.as_ref()?;
    let limits = demands.limits(&Trigger::of_workload(id, intent), plan)?;
    let hours = ExplainedHours::new(schedule, limits, workload.calendar.as_deref(), demands.now());
    Some(hours.waiting(workload.after.as_ref()))
}

fn of_signal(target: Target, found: Result<Demand, NoDemand>) -> ExplainedSignal {
    let Target { signal, per_replica } = target;
    let (demand, problem) = match found {
        Ok(demand) => {
            let problem = demand.caveat.as_ref().map(|why| {
                let value = format!("{:.1} {}", demand.need.value, signal.unit());
                format!("{value} is what is known, {} s old, while there is no better: {why}", demand.age.as_secs())
            });
            (Some(demand), problem)
        }
        Err(why) => (None, Some(why.to_string())),
    };
    ExplainedSignal {
        signal,
        unit: signal.unit(),
        per_replica,
        value: demand.as_ref().map(|demand| demand.need.value),
        age_seconds: demand.as_ref().map(|demand| demand.age.as_secs_f64()),
        replicas: demand.as_ref().map(|demand| demand.need.replicas()),
        problem,
    }
}

fn traffic(workload: &PlannedWorkload, targets: &[Target], demands: &Demands) -> Vec<ExplainedRoute> {
    let signals: Vec<_> =
        targets.iter().map(|target| target.signal).filter(|signal| signal.family() == Family::Traffic).collect();
    let route = |share: &ClusterShare| {
        let cluster = |(name, part): (&str, f64)| {
            let readings = signals.iter().map(|signal| reading(name, *signal, share, demands)).collect();
            let rate_limited = demands.signals().rate_limited(name);
            ExplainedCluster { name: name.to_owned(), part, readings, rate_limited }
        };
        ExplainedRoute {
            route: share.route.clone(),
            service: share.service.clone(),
            share: share.share,
            of_backend: share.of_backend,
            clusters: parts(share).map(cluster).collect(),
        }
    };
    workload.traffic.iter().map(route).collect()
}

/// Reads one signal of one of a share's clusters. Envoy Gateway makes one or the other of them: the missing one carries nothing.
fn reading(name: &str, signal: Signal, share: &ClusterShare, demands: &Demands) -> ExplainedReading {
    let measured = |name: &str| of_clusters(&[(name, 1.0)], signal, demands.signals());
    let is_there = |name: &str| !matches!(measured(name), Measured::Unknown(_));
    let other_is_there = parts(share).any(|(other, _)| other != name && is_there(other));
    let (reading, problem) = match measured(name) {
        Measured::Exact(reading) => (Some(reading), None),
        Measured::Unknown(_) if other_is_there => (Some(Reading { value: 0.0, age: Duration::ZERO }), None),
        Measured::AtLeast(reading, _) if other_is_there && reading.value == 0.0 => (Some(reading), None),
        Measured::AtLeast(_, why) | Measured::Unknown(why) => (None, Some(why.to_string())),
    };
    ExplainedReading {
        signal,
        value: reading.map(|reading| reading.value),
        age_seconds: reading.map(|reading| reading.age.as_secs_f64()),
        problem,
    }
}

/// Problems of sources that do not answer, with the consequence for the values.
fn of_sources(sources: &[SourceStatus]) -> impl Iterator<Item = String> {
    sources.iter().filter_map(|source| {
        let error = source.error.as_ref()?;
        let SourceStatus { name, last_success_seconds, .. } = source;
        Some(match last_success_seconds {
            Some(seconds) => format!("{name} has not answered for {seconds:.0} s, its last values are used: {error}"),
            None => format!("{name} has never answered: {error}"),
        })
    })
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

#[cfg(test)]
mod tests;
