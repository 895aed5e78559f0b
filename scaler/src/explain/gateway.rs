//! Explanation of a Gateway's proxies.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use tidegate_core::{
    demand::Need,
    fleet::{Fleet, GatewayId, Policy, Scaling},
    plan::Plan,
    signal::{PerReplica, Signal, Target},
};

use super::{
    ExplainedHours,
    page::{paragraph, section},
};
use crate::demand::{Demands, of_cluster};

/// The Gateway is not in the Plan; the message names Gateways that are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id} has no annotations of Tidegate, or does not exist; {known}")]
pub struct UnknownGateway {
    id: GatewayId,
    known: String,
}

/// All that is known about the proxies of one Gateway; as text, one page for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayExplanation {
    /// The Gateway
    pub gateway: GatewayId,
    /// The EnvoyProxy that sets the number of proxies
    pub envoy_proxy: Option<String>,
    /// The mechanism that decides on the number: `replicas`, `hpa` or `daemon-set`
    pub scaling: &'static str,
    /// Current number of proxies
    pub current: u32,
    /// Number of proxies wanted now, without the delay of a scale-down; `None` while it is not known
    pub wanted: Option<u32>,
    /// The most proxies that it may have
    pub max: Option<u32>,
    /// Its business hours
    pub hours: Option<ExplainedHours>,
    /// Load of the proxies, by signal
    pub signals: Vec<ExplainedFleetSignal>,
    /// Other Gateways that the EnvoyProxy configures
    pub shared_with: Vec<GatewayId>,
    /// The operator's last decision, as in `tidegate.dev/status`
    pub status: Option<serde_json::Value>,
    /// Problems, and what to do about them
    pub problems: Vec<String>,
}

/// One signal of one set of proxies.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedFleetSignal {
    /// The signal
    pub signal: Signal,
    /// Target: the load that one proxy carries
    pub per_replica: PerReplica,
    /// Load of all of them together
    pub value: Option<f64>,
    /// Proxies needed to carry it
    pub replicas: Option<u32>,
    /// Why there is no value
    pub problem: Option<String>,
}

/// Explains why this Gateway has its proxies.
pub fn explain_gateway(plan: &Plan, demands: &Demands, id: &GatewayId) -> Result<GatewayExplanation, UnknownGateway> {
    let found = plan.fleets.iter().find_map(|fleet| Some((fleet, fleet.gateways.get(id)?)));
    let Some((fleet, gateway)) = found else {
        let known: Vec<_> =
            plan.fleets.iter().flat_map(|fleet| fleet.gateways.keys()).take(10).map(ToString::to_string).collect();
        let known = if known.is_empty() { "none is known".to_owned() } else { format!("known: {}", known.join(", ")) };
        return Err(UnknownGateway { id: id.clone(), known });
    };
    let now = demands.now();
    let policy = fleet.policy(now);
    let targets = policy.as_ref().map_or(&[][..], |policy| &policy.targets);
    let signals: Vec<_> = fleet
        .series
        .iter()
        .flat_map(|series| targets.iter().map(|target| of_signal(series, *target, demands)))
        .collect();
    let problems =
        gateway.intent.as_ref().err().into_iter().flatten().chain(&gateway.problems).map(ToString::to_string);
    let problems = problems.chain(signals.iter().filter_map(|signal| signal.problem.clone()));
    let problems =
        problems.chain(fleet.missing.iter().map(|missing| format!("{missing} is named, but does not exist")));
    let problems: Vec<_> = problems.collect();
    let others = fleet.gateways.keys().filter(|other| *other != id).chain(&fleet.bystanders);
    Ok(GatewayExplanation {
        gateway: id.clone(),
        envoy_proxy: fleet.envoy_proxy.as_ref().map(ToString::to_string),
        scaling: match fleet.scaling {
            Scaling::Replicas(_) => "replicas",
            Scaling::Hpa { .. } => "hpa",
            Scaling::DaemonSet => "daemon-set",
        },
        current: fleet.current,
        wanted: policy.as_ref().and_then(|policy| wanted(fleet, policy, &signals)),
        max: policy.as_ref().map(|policy| policy.max),
        hours: gateway
            .schedule
            .as_ref()
            .map(|schedule| ExplainedHours::new(schedule, schedule.limits(now), gateway.calendar.as_deref(), now)),
        signals,
        shared_with: others.cloned().collect(),
        status: gateway.status.as_deref().and_then(|status| serde_json::from_str(status).ok()),
        problems,
    })
}

fn of_signal(series: &str, target: Target, demands: &Demands) -> ExplainedFleetSignal {
    let Target { signal, per_replica } = target;
    match of_cluster(series, signal, demands.signals()) {
        Ok(reading) => {
            let need = Need { signal, value: reading.value, per_replica };
            let (value, replicas) = (Some(need.value), Some(need.replicas()));
            ExplainedFleetSignal { signal, per_replica, value, replicas, problem: None }
        }
        Err(why) => {
            ExplainedFleetSignal { signal, per_replica, value: None, replicas: None, problem: Some(why.to_string()) }
        }
    }
}

/// The number of proxies as the operator computes it, before any delay.
fn wanted(fleet: &Fleet, policy: &Policy, signals: &[ExplainedFleetSignal]) -> Option<u32> {
    if fleet.scaling == Scaling::DaemonSet {
        return None;
    }
    let needs: Option<Vec<_>> = signals.iter().map(|signal| signal.replicas).collect();
    Some(policy.wanted(needs?.into_iter().max().unwrap_or(0)))
}

impl Display for GatewayExplanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.gateway)?;
        paragraph(f, "", &self.answer())?;
        if let Some(hours) = &self.hours {
            paragraph(f, "", &format!("Hours: {hours}."))?;
        }
        if !self.signals.is_empty() {
            writeln!(f, "\n{:<20} {:>13} {:>12} {:>9}", "SIGNAL", "ALL PROXIES", "PER PROXY", "PROXIES")?;
            for ExplainedFleetSignal { signal, per_replica, value, replicas, .. } in &self.signals {
                let value = value.map_or_else(|| "unknown".to_owned(), |value| format!("{value:.1}"));
                let replicas = replicas.map_or_else(|| "-".to_owned(), |replicas| replicas.to_string());
                writeln!(f, "{:<20} {value:>13} {per_replica:>12} {replicas:>9}", signal.metric_name())?;
            }
        }
        if !self.shared_with.is_empty() {
            let names: Vec<_> = self.shared_with.iter().map(ToString::to_string).collect();
            paragraph(f, "\n", &format!("Its EnvoyProxy also configures {}.", names.join(", ")))?;
        }
        section(f, "WHAT IS WRONG", &self.problems)
    }
}

impl GatewayExplanation {
    /// The reason for the number, in one short sentence.
    pub(crate) fn why(&self) -> String {
        match self.scaling {
            "daemon-set" => return "one runs per node".to_owned(),
            "hpa" => return "an HPA decides, within bounds that follow hours".to_owned(),
            _ => {}
        }
        let largest = self.signals.iter().max_by_key(|signal| signal.replicas);
        match (self.signals.iter().find_map(|signal| signal.problem.as_ref()), largest) {
            (Some(problem), _) => format!("not known: {problem}"),
            (None, Some(ExplainedFleetSignal { signal, per_replica, value: Some(value), .. })) => {
                format!("{value:.1} {} ÷ {per_replica} per proxy", signal.unit())
            }
            (None, _) if self.hours.is_some() => "its hours decide".to_owned(),
            (None, _) => "it has no signal to scale on".to_owned(),
        }
    }

    fn answer(&self) -> String {
        let has = match &self.envoy_proxy {
            Some(object) => format!("It has {}, as {object} says", count(self.current)),
            None => "No EnvoyProxy says how many proxies it has: `kubectl describe` shows what to apply".to_owned(),
        };
        let decides = match (self.scaling, self.wanted) {
            ("daemon-set", _) => "One runs per node; there is nothing to scale".to_owned(),
            ("hpa", _) => "An HPA decides, within bounds that follow hours".to_owned(),
            (_, Some(wanted)) if wanted < self.current => {
                format!("{} wanted: fewer come one at a time, after tidegate.dev/scale-down-after", count(wanted))
            }
            (_, Some(wanted)) => format!("{} wanted", count(wanted)),
            (_, None) => "What is wanted is not known, so nothing is taken away".to_owned(),
        };
        let reason = self.status.as_ref().and_then(|status| status["reason"].as_str());
        let reason = reason.map(|reason| format!(" Last decided because: {reason}.")).unwrap_or_default();
        format!("{decides}. {has}.{reason}")
    }
}

fn count(proxies: u32) -> String {
    if proxies == 1 { "1 proxy".to_owned() } else { format!("{proxies} proxies") }
}
