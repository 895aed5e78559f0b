//! Why a workload has its replicas: the answer first, then how it came about, then what is wrong.

use std::fmt;

use serde::Serialize;
use tidegate_core::{
    demand::{Desired, Limit, Need, desired},
    intent::Bounds,
    plan::{ClusterShare, Plan, Replicas},
    signal::{Signal, Target},
    trigger::{Traffic, Trigger},
    workload::WorkloadId,
};

use crate::{
    demand::{Demands, of_share},
    signals::SourceStatus,
};

/// The workload is none that the Plan knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{id} has no annotations of Tidegate, or does not exist. {hint}")]
pub struct UnknownWorkload {
    id: String,
    hint: String,
}

/// All that is known of one workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Which one
    pub workload: WorkloadId,
    /// Its bounds; `None` when its annotations are wrong
    pub bounds: Option<Bounds>,
    /// What it asks for and has
    pub replicas: Replicas,
    /// What its demand asks for; `None` while a value is missing
    pub desired: Option<Desired>,
    /// Each signal, in the order of the annotations' documentation
    pub signals: Vec<ExplainedSignal>,
    /// The clusters that carry its traffic
    pub traffic: Vec<ExplainedShare>,
    /// What is wrong, and what to do
    pub problems: Vec<String>,
    /// Where signals come from
    pub sources: Vec<SourceStatus>,
}

/// One signal of the workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedSignal {
    /// What is measured
    pub signal: Signal,
    /// What one replica carries
    pub per_replica: f64,
    /// The whole workload's demand
    pub value: Option<f64>,
    /// Seconds since it was measured
    pub age_seconds: Option<f64>,
    /// How many replicas carry it
    pub replicas: Option<u32>,
    /// Why there is no value
    pub missing: Option<String>,
}

/// One cluster of the workload's traffic.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedShare {
    /// The cluster and the workload's part of it
    #[serde(flatten)]
    pub share: ClusterShare,
    /// The workload's part of each traffic signal that it asks for, in the order of `signals`
    pub values: Vec<Option<f64>>,
}

/// Why this workload has its replicas.
pub fn explain(plan: &Plan, demands: &Demands, id: &WorkloadId) -> Result<Explanation, UnknownWorkload> {
    let Some(workload) = plan.workloads.get(id) else {
        let known: Vec<_> = plan.workloads.keys().filter(|known| known.namespace == id.namespace).take(10).collect();
        let hint = if known.is_empty() {
            "Annotate it, for example with tidegate.dev/requests-per-second=100.".to_owned()
        } else {
            let known: Vec<_> =
                known.iter().map(|known| format!("{}/{}", known.kind, known.name).to_lowercase()).collect();
            format!("Known in its namespace: {}.", known.join(", "))
        };
        return Err(UnknownWorkload { id: id.to_string(), hint });
    };
    let mut problems = Vec::new();
    let intent = match &workload.intent {
        Ok(intent) => Some(intent),
        Err(wrong) => {
            problems.extend(wrong.iter().map(ToString::to_string));
            None
        }
    };
    let targets: &[Target] = intent.map_or(&[], |intent| &intent.targets);
    let trigger = Trigger {
        targets: targets.to_vec(),
        traffic: Some(Traffic::Workload(id.clone())),
        query: intent.and_then(|intent| intent.query.clone()),
    };
    let mut needs: Vec<Need> = Vec::new();
    let explained = targets
        .iter()
        .map(|target| {
            let found = demands.demand(&trigger, *target, plan);
            if let Ok(found) = &found {
                needs.push(found.need);
            }
            let of = |value: fn(&crate::demand::Demand) -> f64| found.as_ref().ok().map(value);
            ExplainedSignal {
                signal: target.signal,
                per_replica: target.per_replica.get(),
                value: of(|demand| demand.need.value),
                age_seconds: of(|demand| demand.age.as_secs_f64()),
                replicas: found.as_ref().ok().map(|demand| demand.need.replicas()),
                missing: found.err().map(|error| error.to_string()),
            }
        })
        .collect::<Vec<_>>();
    problems.extend(explained.iter().filter_map(|signal| signal.missing.clone()));
    problems.dedup();
    if let Some(intent) = intent {
        if intent.paused {
            problems.push("tidegate.dev/paused is true: nothing is changed until it goes away".to_owned());
        }
        let later: Vec<_> = intent.not_acted_on_yet().iter().map(|key| key.annotation()).collect();
        if !later.is_empty() {
            problems.push(format!("accepted, but not acted on by this version: {}", later.join(", ")));
        }
    }
    let share = |share: &ClusterShare| {
        let value =
            |target: &Target| of_share(share, target.signal, demands.signals()).ok().map(|reading| reading.value);
        let values = targets.iter().filter(|target| target.signal.is_traffic()).map(value).collect();
        ExplainedShare { share: share.clone(), values }
    };
    let complete = !targets.is_empty() && needs.len() == targets.len();
    Ok(Explanation {
        workload: id.clone(),
        bounds: intent.map(|intent| intent.bounds),
        replicas: workload.replicas,
        desired: intent.filter(|_| complete).map(|intent| desired(&needs, intent.bounds)),
        signals: explained,
        traffic: workload.traffic.iter().map(share).collect(),
        problems,
        sources: demands.signals().sources(),
    })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorkloadId { namespace, kind, name } = &self.workload;
        writeln!(f, "{}/{name} in namespace {namespace}\n", kind.as_str().to_lowercase())?;
        self.answer(f)?;
        let Replicas { wanted, ready } = self.replicas;
        write!(f, "It has {wanted}, of which {ready} ready")?;
        match self.bounds {
            Some(Bounds { min, max }) => writeln!(f, "; at least {min}, at most {max}.")?,
            None => writeln!(f, ".")?,
        }
        if !self.signals.is_empty() {
            writeln!(f, "\n{:<22} {:>12} {:>12} {:>9} {:>7}", "SIGNAL", "NOW", "PER REPLICA", "REPLICAS", "AGE")?;
        }
        for signal in &self.signals {
            let ExplainedSignal { signal, per_replica, value, age_seconds, replicas, .. } = signal;
            let value = value.map_or("-".to_owned(), |value| format!("{value:.1}"));
            let age = age_seconds.map_or("-".to_owned(), |age| format!("{age:.0}s"));
            let replicas = replicas.map_or("-".to_owned(), |replicas| replicas.to_string());
            writeln!(f, "{signal:<22} {value:>12} {per_replica:>12} {replicas:>9} {age:>7}")?;
        }
        self.routes(f)?;
        if !self.problems.is_empty() {
            writeln!(f, "\nWHAT IS WRONG")?;
        }
        for problem in &self.problems {
            writeln!(f, "  - {problem}")?;
        }
        let silent: Vec<_> =
            self.sources.iter().filter_map(|source| Some((&source.name, source.error.as_ref()?))).collect();
        if !silent.is_empty() {
            writeln!(f, "\nSOURCES THAT DO NOT ANSWER (their last values are held)")?;
        }
        for (name, error) in silent {
            writeln!(f, "  - {name}: {error}")?;
        }
        Ok(())
    }
}

impl Explanation {
    fn answer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(desired) = self.desired else {
            return writeln!(f, "No answer now, so the HPA holds what there is.");
        };
        let replicas = desired.replicas;
        write!(f, "{replicas} replica{} wanted", if replicas == 1 { "" } else { "s" })?;
        let decisive = self.signals.iter().find(|signal| Some(signal.signal) == desired.decided_by);
        match decisive.and_then(|signal| Some((signal, signal.value?))) {
            Some((signal, value)) => {
                let ExplainedSignal { signal, per_replica, .. } = signal;
                write!(f, ": {value:.1} {} ÷ {per_replica} per replica", signal.unit())?;
            }
            None => write!(f, ": nothing asks for any")?,
        }
        match desired.limit {
            Some(Limit::MinReplicas) => writeln!(f, "; the minimum holds."),
            Some(Limit::MaxReplicas) => {
                writeln!(f, "; {} would be needed: raise tidegate.dev/max-replicas to get them.", desired.unbounded)
            }
            None => writeln!(f, "."),
        }
    }

    fn routes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.traffic.is_empty() {
            writeln!(f, "\nTRAFFIC")?;
        }
        for ExplainedShare { share, values } in &self.traffic {
            writeln!(f, "  {} → Service {}", share.route, share.service.name)?;
            write!(f, "    cluster {}, {:.0} % of it", share.cluster, share.share * share.of_backend * 100.0)?;
            let traffic = self.signals.iter().filter(|signal| signal.signal.is_traffic());
            for (signal, value) in traffic.zip(values) {
                match value {
                    Some(value) => write!(f, ": {value:.1} {}", signal.signal.unit())?,
                    None => write!(f, ": no {} yet", signal.signal)?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
