//! Objects that hours switch off and on, because no metric of ours can hold them: ScaledObjects of others, our own in which KEDA's
//! triggers stand beside the hours, CronJobs and DaemonSets.
//!
//! Each has a switch of its own, which is set by server-side apply together with a mark ([`ASLEEP`]). Waking an object means to own
//! neither field any more: there is nothing to remember, and the owner's value applies again.

use chrono::{DateTime, Utc};
use tidegate_core::{
    calendar::Calendar,
    intent::{Annotations, Intent, Managed, is_annotated},
    key::Key,
    plan::{Plan, PlannedWorkload},
    problem::Problem,
    schedule::Schedule,
};

use super::{ASLEEP, ForeignScaler, Kind, Objects, PAUSED_REPLICAS, ScaledObject, plan, views::PAUSED};

/// An object that may sleep, and the state that its hours ask for now.
#[derive(Debug, Clone, PartialEq)]
pub struct Sleeper {
    /// `ScaledObject`, `CronJob` or `DaemonSet`
    pub kind: Kind,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// Number of replicas that it sleeps with, if it is asleep: 0 for kinds without replicas
    pub asleep: Option<u32>,
    /// The state that its hours ask for
    pub wanted: Wanted,
    /// When its hours ask for another state, if they ever do
    pub until: Option<DateTime<Utc>>,
    /// Problems in its annotations
    pub problems: Vec<Problem>,
}

/// The state that hours ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// As its owner has it
    Awake,
    /// Switched off, with this number of replicas
    Asleep(u32),
    /// Left alone: the wanted state is not known, or the owner has switched it off
    AsItIs,
}

impl Objects {
    /// All objects that hours switch off and on, with the state that they ask for now. Of Tidegate's ScaledObjects only those of this
    /// release are meant.
    pub fn sleepers(&self, plan: &Plan, release: &str, now: DateTime<Utc>) -> Vec<Sleeper> {
        sleepers(self, plan, release, now)
    }
}

/// All objects that may sleep, and all that were put to sleep.
fn sleepers(objects: &Objects, plan: &Plan, release: &str, now: DateTime<Utc>) -> Vec<Sleeper> {
    let mut hours = Hours { now, known: Vec::new() };
    let mut all = scaled_objects(objects, plan, &mut hours);
    all.extend(own_scaled_objects(objects, plan, release, &mut hours));
    if objects.manageable.cron_jobs {
        for (namespace, names) in &objects.cron_jobs {
            let business = Business::of(objects, namespace, |managed| managed.cron_jobs);
            for (name, job) in names {
                let stopped = job.spec.suspend && !job.metadata.asleep;
                let found = Found { kind: Kind::CronJob, namespace, name, meta: &job.metadata };
                all.extend(business.sleeper(&found, stopped, plan, &mut hours));
            }
        }
    }
    if objects.manageable.daemon_sets {
        for (namespace, names) in &objects.daemon_sets {
            let business = Business::of(objects, namespace, |managed| managed.daemon_sets);
            for (name, set) in names.iter().filter(|(_, set)| !plan::is_proxy(set)) {
                let found = Found { kind: Kind::DaemonSet, namespace, name, meta: &set.metadata };
                all.extend(business.sleeper(&found, false, plan, &mut hours));
            }
        }
    }
    all
}

/// Whether a workload sleeps by pausing the ScaledObject that scales it. An HPA cannot be paused.
pub fn is_paused_by_hours(workload: &PlannedWorkload, scalers: &[ForeignScaler]) -> bool {
    let sleeps = |intent: &Intent| intent.is_hours_only() && !intent.paused && intent.takes_over.is_none();
    let hours_only = workload.intent.as_ref().is_ok_and(sleeps);
    hours_only && !scalers.is_empty() && scalers.iter().all(|scaler| scaler.kind == Kind::ScaledObject)
}

fn scaled_objects(objects: &Objects, plan: &Plan, hours: &mut Hours) -> Vec<Sleeper> {
    let foreign = objects.foreign_scalers();
    let of_others = objects.scaled_objects().filter(|object| !object.is_tidegates());
    let sleeper = |object: &ScaledObject| {
        let meta = &object.metadata;
        let marked = is_marked(object);
        let id = object.workload();
        let known = id.as_ref().and_then(|id| Some((plan.workloads.get(id)?, foreign.get(id)?)));
        let (wanted, until) = match known {
            Some((workload, scalers)) if is_paused_by_hours(workload, scalers) => {
                hours.of(workload.schedule.as_deref(), Some(workload))
            }
            Some((workload, _)) if workload.intent.as_ref().map_or(true, |intent| intent.paused) => {
                (Wanted::AsItIs, None)
            }
            _ if marked && mistaken(objects, &meta.namespace) => (Wanted::AsItIs, None),
            // Not managed by Tidegate, or not any more.
            _ if marked => (Wanted::Awake, None),
            _ => return None,
        };
        Some(scaled_object(object, wanted, until))
    };
    of_others.filter_map(sleeper).collect()
}

/// Tidegate's own, in which KEDA's triggers stand beside hours that cannot clamp them.
fn own_scaled_objects(objects: &Objects, plan: &Plan, release: &str, hours: &mut Hours) -> Vec<Sleeper> {
    let own = objects.scaled_objects().filter(|object| object.is_tidegates() && object.release() == Some(release));
    let sleeper = |object: &ScaledObject| {
        let known = object.workload().and_then(|id| plan.workloads.get(&id));
        let (wanted, until) = match known.map(|workload| (workload, &workload.intent)) {
            Some((workload, Ok(intent))) if intent.sleeps_by_pause() && !intent.paused => {
                hours.of(workload.schedule.as_deref(), Some(workload))
            }
            _ if !is_marked(object) => return None,
            Some((_, Ok(intent))) if intent.paused => (Wanted::AsItIs, None),
            Some((_, Err(_))) => (Wanted::AsItIs, None),
            None if mistaken(objects, &object.metadata.namespace) => (Wanted::AsItIs, None),
            // No trigger of KEDA's or no hours any more.
            Some((_, Ok(_))) | None => (Wanted::Awake, None),
        };
        Some(scaled_object(object, wanted, until))
    };
    own.filter_map(sleeper).collect()
}

/// Whether hours have paused it.
fn is_marked(object: &ScaledObject) -> bool {
    object.metadata.labels.get(ASLEEP).is_some()
}

/// A ScaledObject with the state that its hours ask for. One that somebody else has paused is left alone.
fn scaled_object(object: &ScaledObject, wanted: Wanted, until: Option<DateTime<Utc>>) -> Sleeper {
    let (meta, marked) = (&object.metadata, is_marked(object));
    let paused_at = meta.annotations.get(PAUSED_REPLICAS);
    let by_others = !marked && (paused_at.is_some() || meta.annotations.contains_key(PAUSED));
    Sleeper {
        kind: Kind::ScaledObject,
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        asleep: marked.then(|| paused_at.and_then(|replicas| replicas.parse().ok()).unwrap_or(0)),
        wanted: if by_others { Wanted::AsItIs } else { wanted },
        until,
        problems: Vec::new(),
    }
}

fn mistaken(objects: &Objects, namespace: &str) -> bool {
    Managed::mistake(namespace, objects.namespace_defaults(namespace)).is_some()
}

/// The scope of Tidegate in one namespace, for one kind.
struct Business<'a> {
    defaults: &'a Annotations,
    managed: bool,
    mistaken: bool,
    /// Whether only objects with annotations of their own are managed
    spares: bool,
}

struct Found<'a> {
    kind: Kind,
    namespace: &'a str,
    name: &'a str,
    meta: &'a super::views::WorkloadMeta,
}

impl<'a> Business<'a> {
    fn of(objects: &'a Objects, namespace: &str, of_kind: impl Fn(Managed) -> bool) -> Self {
        let defaults = objects.namespace_defaults(namespace);
        let managed = Managed::of(defaults).is_some_and(of_kind);
        let mistaken = mistaken(objects, namespace);
        Self { defaults, managed, mistaken, spares: managed && plan::runs_in(objects, namespace).is_some() }
    }

    fn sleeper(&self, found: &Found<'_>, stopped: bool, plan: &Plan, hours: &mut Hours) -> Option<Sleeper> {
        let own = &found.meta.annotations;
        let managed = self.managed && (!self.spares || is_annotated(own));
        let asked = if managed { Intent::of_workload(own, found.namespace, self.defaults) } else { Ok(None) };
        let (wanted, until, problems) = match asked {
            Err(problems) => (Wanted::AsItIs, None, problems),
            Ok(None) if found.meta.asleep && self.mistaken => (Wanted::AsItIs, None, Vec::new()),
            Ok(None) if found.meta.asleep => (Wanted::Awake, None, Vec::new()),
            Ok(None) => return None,
            Ok(Some(intent)) if intent.paused => (Wanted::AsItIs, None, Vec::new()),
            Ok(Some(intent)) => match intent.schedule(&format!("{} {}", found.kind, found.name), &plan.calendars) {
                Ok(schedule) => {
                    let (wanted, until) = hours.of(schedule.as_ref(), None);
                    // These kinds either run or sleep: they have no number of replicas.
                    (if let Wanted::Asleep(1..) = wanted { Wanted::Awake } else { wanted }, until, Vec::new())
                }
                Err(problem) => (Wanted::AsItIs, None, vec![problem]),
            },
        };
        Some(Sleeper {
            kind: found.kind,
            namespace: found.namespace.to_owned(),
            name: found.name.to_owned(),
            uid: found.meta.uid.clone(),
            asleep: found.meta.asleep.then_some(0),
            wanted: if stopped { Wanted::AsItIs } else { wanted },
            until,
            problems,
        })
    }
}

/// The state that hours ask for now, and until when.
struct Hours {
    now: DateTime<Utc>,
    /// Next change of each calendar
    known: Vec<(Calendar, Option<DateTime<Utc>>)>,
}

/// Maximum number of calendars whose next change is cached. Many objects share few.
const MOST_KNOWN: usize = 32;

impl Hours {
    fn of(
        &mut self,
        schedule: Option<&Schedule>,
        workload: Option<&PlannedWorkload>,
    ) -> (Wanted, Option<DateTime<Utc>>) {
        let Some(schedule) = schedule else { return (Wanted::Awake, None) };
        let asleep = Wanted::Asleep(schedule.off_hours_replicas);
        let waits = workload.and_then(|workload| workload.after.as_ref()).is_some_and(|after| !after.ready);
        let wanted = match schedule.limits(self.now).cap {
            Some(_) => asleep,
            // The workload that it waits for is not ready yet.
            None if waits && schedule.floor_since(self.now).is_some() => asleep,
            None => Wanted::Awake,
        };
        (wanted, schedule.next_change_beside(self.next_change(&schedule.calendar), self.now))
    }

    fn next_change(&mut self, calendar: &Calendar) -> Option<DateTime<Utc>> {
        if let Some((_, change)) = self.known.iter().find(|(known, _)| known == calendar) {
            return *change;
        }
        let change = calendar.next_change(self.now);
        if self.known.len() < MOST_KNOWN {
            self.known.push((calendar.clone(), change));
        }
        change
    }
}

/// The problem to report to the owner of a Namespace that names kinds which this Tidegate may not switch off.
pub(super) fn problem(objects: &Objects, namespace: &str) -> Option<Problem> {
    let managed = Managed::of(objects.namespace_defaults(namespace))?;
    let may = objects.manageable;
    let missing: Vec<_> =
        [(managed.cron_jobs && !may.cron_jobs, "cronJobs"), (managed.daemon_sets && !may.daemon_sets, "daemonSets")]
            .into_iter()
            .filter(|(missing, _)| *missing)
            .map(|(_, name)| format!("--set manage.{name}=true"))
            .collect();
    (!missing.is_empty()).then(|| {
        Problem::Contradiction(format!(
            "{} names kinds that this Tidegate has no permission to switch off, so they are left as they are: upgrade its release with {}",
            Key::Manage.annotation(),
            missing.join(" ")
        ))
    })
}

#[cfg(test)]
mod tests;
