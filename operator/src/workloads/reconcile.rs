//! Keeps one ScaledObject per annotated workload. Level-triggered: only the present state decides, so a missed change does no harm.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use chrono::Utc;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::json;
use tidegate_cluster::{
    Bearer, Kind, Misplaced, Objects, PAUSED_REPLICAS,
    scaling::{Settings, WorkloadNotice, no_effect},
};
use tidegate_core::{plan::Plan, problem::Problem, workload::WorkloadId};
use tokio::time::Instant;

use super::{
    ledger::Ledger,
    reference,
    steps::{GIVING_BACK, PROBLEM, Step, Steps, steps},
};
use crate::{
    context::{Context, Pass},
    events::{self, Events},
    metrics::OperatorMetrics,
    watch::Watches,
    writer::{FIELD_MANAGER, Unwritten, Writer, explained},
};

/// Writes at one time.
const AT_ONCE: usize = 8;
/// Time until the next pass when events are still to be written.
const TELL_AGAIN: Duration = Duration::from_secs(3);
/// Time in which the rest of an installation is applied: a Service that is missing until then is no news.
const SETTLED: Duration = Duration::from_secs(5);
/// Shortest and longest pause after a failed write of an object: it doubles from the one to the other.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// Brings the cluster to the state that its annotations ask for.
pub struct Reconciler {
    writer: Writer,
    settings: Settings,
    ledger: Ledger,
    events: Events<WorkloadNotice>,
    metrics: OperatorMetrics,
    /// When each workload was in a Plan first
    first_seen: HashMap<WorkloadId, Instant>,
    /// Workloads whose last write failed: how often in a row, when it may be tried again, and what the error was
    failures: HashMap<WorkloadId, (u32, Instant, String)>,
}

/// Reconciles whenever the Plan changes, while this replica leads.
pub async fn run(reconciler: Reconciler, context: Context) {
    context.on_change(reconciler, RETRY.1).await;
}

impl Pass for Reconciler {
    async fn pass(&mut self, plan: &Plan, context: &Context) -> Instant {
        self.reconcile(plan, &context.watches).await.unwrap_or_else(|| Instant::now() + RETRY.1)
    }

    fn forget(&mut self) {
        // Another leader may write it meanwhile.
        self.ledger.forget();
    }
}

impl Reconciler {
    /// A reconciler with the writer and the events of this context.
    pub fn new(context: &Context, settings: Settings, ledger: Ledger, metrics: OperatorMetrics) -> Self {
        let (writer, events) = (context.writer.clone(), context.events());
        Self { writer, settings, ledger, events, metrics, first_seen: HashMap::new(), failures: HashMap::new() }
    }

    /// Runs one pass. Returns when the next one is due at the latest, if something is to be tried again.
    async fn reconcile(&mut self, plan: &Plan, watches: &Watches) -> Option<Instant> {
        let now = Instant::now();
        self.failures.retain(|id, _| plan.workloads.contains_key(id));
        self.see(plan, now);
        // Without the ledger, adopted replicas could be lost: nothing is done until it was read.
        let had = match self.ledger.read(&self.writer).await {
            Ok(had) => had,
            Err(error) => {
                tracing::warn!(
                    error = explained(&error),
                    "cannot read the ConfigMap of what workloads had; tries again"
                );
                return Some(now + RETRY.0);
            }
        };
        let Steps { steps, had, mut notices } =
            watches.objects(|objects| steps(plan, objects, &self.settings, &had, Utc::now()));
        // Written before anything is put to sleep.
        if let Err(error) = self.ledger.write(&self.writer, had).await {
            tracing::warn!(%error, "cannot write the ConfigMap of what workloads had; tries again");
            return Some(now + RETRY.0);
        }
        let due = |step: &Step| match step {
            Step::Apply(id, _) | Step::TakeOver(id, _) => {
                self.failures.get(id).is_none_or(|(_, again, _)| *again <= now)
            }
            Step::Delete { .. } | Step::GiveBack { .. } | Step::Resume { .. } | Step::Report { .. } => true,
        };
        self.carry_out(steps.into_iter().filter(due).collect()).await;
        for (id, (.., error)) in &self.failures {
            let notices = notices.entry(id.clone()).or_default();
            notices.retain(|notice| !matches!(notice, WorkloadNotice::TookOver(_) | WorkloadNotice::Understood(_)));
            notices.push(WorkloadNotice::Refused(error.clone()));
        }
        for (id, what) in no_effect(plan, Utc::now()) {
            notices.entry(id).or_default().push(WorkloadNotice::NoEffect(what));
        }
        self.metrics.managed(plan.workloads.len());
        let misplaced = watches.objects(Objects::misplaced);
        let of_namespaces = watches.objects(|objects| {
            let wrong = objects.namespaces().filter(|(_, problems)| !problems.is_empty());
            wrong.map(|(name, problems)| (name.to_owned(), problems)).collect::<Vec<_>>()
        });
        let early = self.leave_out_early(&mut notices, now);
        let pending = self.tell(plan, notices, of_namespaces, misplaced).await || early;
        let again = self.failures.values().map(|(_, again, _)| *again).min();
        let soon = pending.then(|| Instant::now() + TELL_AGAIN);
        [again, soon].into_iter().flatten().min()
    }

    /// Carries out steps, several at one time. Those that remain when leadership ends are left to the next leader, and are no failures.
    async fn carry_out(&mut self, steps: Vec<Step>) {
        let (now, writer) = (Instant::now(), &self.writer);
        let outcomes: Vec<_> =
            stream::iter(steps).map(|step| execute(writer, step)).buffer_unordered(AT_ONCE).collect().await;
        for (id, outcome) in outcomes {
            if matches!(outcome, Err(Unwritten::NotLeading)) {
                continue;
            }
            self.metrics.write(outcome.is_ok());
            match (id, outcome) {
                (Some(id), Ok(())) => _ = self.failures.remove(&id),
                (Some(id), Err(error)) => self.remember(id, advised(&error), now),
                (None, Ok(())) => {}
                (None, Err(error)) => {
                    tracing::warn!(error = advised(&error), "cannot delete or annotate a ScaledObject");
                }
            }
        }
    }

    fn see(&mut self, plan: &Plan, now: Instant) {
        self.first_seen.retain(|id, _| plan.workloads.contains_key(id));
        for id in plan.workloads.keys() {
            if !self.first_seen.contains_key(id) {
                self.first_seen.insert(id.clone(), now);
            }
        }
    }

    /// Leaves out what a workload may lack only because it was applied first. Returns whether there was any.
    fn leave_out_early(&self, notices: &mut BTreeMap<WorkloadId, Vec<WorkloadNotice>>, now: Instant) -> bool {
        let mut early = false;
        for (id, notices) in notices {
            if self.first_seen.get(id).is_some_and(|first| now < *first + SETTLED) {
                let all = notices.len();
                notices.retain(|notice| !notice.may_be_early());
                early |= notices.len() < all;
            }
        }
        early
    }

    /// Remembers a failed write, so that it is retried after ever longer pauses.
    fn remember(&mut self, id: WorkloadId, error: String, now: Instant) {
        tracing::warn!(%id, error, "cannot apply its ScaledObject");
        let times = self.failures.get(&id).map_or(0, |(times, ..)| times + 1);
        let pause = RETRY.0.saturating_mul(1 << times.min(10)).min(RETRY.1);
        self.failures.insert(id, (times, now + pause, error));
    }

    async fn tell(
        &mut self,
        plan: &Plan,
        notices: BTreeMap<WorkloadId, Vec<WorkloadNotice>>,
        of_namespaces: Vec<(String, Vec<Problem>)>,
        misplaced: Vec<(Bearer, Misplaced)>,
    ) -> bool {
        let of_namespaces = of_namespaces.into_iter().map(|(name, problems)| {
            let notices = problems.into_iter().map(WorkloadNotice::InvalidAnnotations).collect();
            (events::reference(Kind::Namespace, "", &name, None), notices)
        });
        let of_workloads = notices.into_iter().map(|(id, notices)| (reference(plan, &id), notices));
        let mut all: Vec<_> = of_namespaces.chain(of_workloads).collect();
        add_misplaced(&mut all, misplaced);
        let (told, pending) = self.events.publish_all(all).await;
        self.metrics.told(told);
        pending
    }
}

/// Adds the notices about misplaced annotations, to those of the same object where it has some.
fn add_misplaced(all: &mut Vec<(ObjectReference, Vec<WorkloadNotice>)>, misplaced: Vec<(Bearer, Misplaced)>) {
    if misplaced.is_empty() {
        return;
    }
    let key = |object: &ObjectReference| (object.kind.clone(), object.namespace.clone(), object.name.clone());
    let mut known: HashMap<_, _> = all.iter().enumerate().map(|(i, (object, _))| (key(object), i)).collect();
    for (Bearer { kind, namespace, name, uid }, what) in misplaced {
        let object = events::reference(kind, &namespace, &name, Some(uid).filter(|_| kind.namespaced()));
        let index = *known.entry(key(&object)).or_insert_with(|| {
            all.push((object, Vec::new()));
            all.len() - 1
        });
        if let Some((_, notices)) = all.get_mut(index) {
            notices.push(WorkloadNotice::Misplaced(what));
        }
    }
}

async fn execute(writer: &Writer, step: Step) -> (Option<WorkloadId>, Result<(), Unwritten>) {
    const KIND: Kind = Kind::ScaledObject;
    match step {
        Step::Apply(id, object) => {
            let outcome = writer.apply(KIND, &id.namespace, FIELD_MANAGER, object.parsed()).await;
            if outcome.is_ok() {
                tracing::info!(%id, "applied its ScaledObject");
            }
            (Some(id), outcome)
        }
        Step::TakeOver(id, object) => {
            let outcome = writer.merge(KIND, &id.namespace, &object.parsed()).await;
            if outcome.is_ok() {
                tracing::info!(%id, "took over its ScaledObject");
            }
            (Some(id), outcome)
        }
        Step::Delete { namespace, name, uid } => {
            tracing::info!(namespace, name, "deletes the ScaledObject of a workload that is no longer annotated");
            (None, writer.delete(KIND, &namespace, &name, uid).await)
        }
        Step::GiveBack { namespace, name, replicas } => {
            tracing::info!(namespace, name, replicas, "has KEDA give a workload its replicas back");
            let annotations = json!({ PAUSED_REPLICAS: replicas.to_string(), GIVING_BACK: "true" });
            (None, writer.annotate(KIND, &namespace, &name, &annotations).await)
        }
        Step::Resume { namespace, name } => {
            let annotations = json!({ PAUSED_REPLICAS: null, GIVING_BACK: null });
            (None, writer.annotate(KIND, &namespace, &name, &annotations).await)
        }
        Step::Report { namespace, name, problem } => {
            (None, writer.annotate(KIND, &namespace, &name, &json!({ PROBLEM: problem })).await)
        }
    }
}

/// The text of an error, for people, and what to do.
fn advised(error: &Unwritten) -> String {
    let code = if let Unwritten::Refused(kube::Error::Api(status)) = error { status.code } else { 0 };
    let advice = match code {
        403 => "; give Tidegate's ServiceAccount the permission (templates/rbac.yaml of the chart lists all)",
        404 => "; is KEDA installed? `kubectl get crd scaledobjects.keda.sh`",
        _ => "",
    };
    error.to_string() + advice
}

#[cfg(test)]
mod tests;
