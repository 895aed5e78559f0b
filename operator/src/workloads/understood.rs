//! What was understood of a workload's annotations, in a sentence, for whoever has just written them.

use std::collections::BTreeSet;

use tidegate_core::{
    beside::KedaTrigger,
    intent::Intent,
    plan::PlannedWorkload,
    signal::{Family, Signal, Target},
};

/// Annotation of a ScaledObject that keeps the sentence: it is reported again when it changes, and not after each restart.
pub(super) const UNDERSTOOD: &str = "tidegate.dev/understood";
/// Most routes and triggers that are named.
const NAMED: usize = 3;

/// `scales on requests/s of HTTPRoute shop/api, 100 per replica, 1 to 20 replicas`. `None` while something is missing, which other
/// events report.
pub(super) fn understood(workload: &PlannedWorkload) -> Option<String> {
    let intent = workload.intent.as_ref().ok().filter(|intent| !intent.paused && workload.problems.is_empty())?;
    let signals = intent.targets.iter().filter(|target| target.signal != Signal::Schedule);
    let mut parts: Vec<_> = signals.map(|target| signal(*target, intent, workload)).collect::<Option<_>>()?;
    let triggers: Vec<_> = intent.beside.triggers.iter().map(KedaTrigger::label).collect();
    if !triggers.is_empty() {
        parts.push(format!("KEDA's {}", list(&triggers)));
    }
    let hours = workload.schedule.is_some();
    let (min, max) = (intent.floor(), intent.bounds.max);
    match (parts.is_empty(), hours) {
        (true, false) => None,
        (true, true) if intent.adopts => {
            Some("follows its hours, with the replicas inside them that it had when it was found".to_owned())
        }
        (true, true) => Some(format!("follows its hours, with {min} replicas inside them")),
        (false, _) => {
            let within = if hours { " within its hours" } else { "" };
            Some(format!("scales on {}, {min} to {max} replicas{within}", parts.join(", and on ")))
        }
    }
}

/// A signal with its source and its target.
fn signal(Target { signal, per_replica }: Target, intent: &Intent, workload: &PlannedWorkload) -> Option<String> {
    let of = match signal.family() {
        Family::Traffic => {
            let routes: BTreeSet<_> = workload.traffic.iter().map(|share| &share.route).collect();
            let routes: BTreeSet<_> =
                routes.iter().map(|route| format!("{} {}/{}", route.kind, route.namespace, route.name)).collect();
            let routes: Vec<_> = routes.into_iter().collect();
            if routes.is_empty() {
                return None;
            }
            format!("{} of {}", signal.unit(), list(&routes))
        }
        Family::Kafka => match &intent.kafka {
            Some(kafka) => format!("{} that wait for group {}", signal.unit(), kafka.lag.group),
            None => signal.unit().to_owned(),
        },
        _ => signal.metric_name().to_owned(),
    };
    Some(format!("{of}, {per_replica} per replica"))
}

fn list(names: &[impl AsRef<str>]) -> String {
    let mut shown = names.iter().take(NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        shown = format!("{shown} and {} more", names.len() - NAMED);
    }
    shown
}
