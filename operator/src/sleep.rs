//! Switches objects that no metric of Tidegate scales off outside their hours, and on again: ScaledObjects of others are paused,
//! and our own where KEDA's triggers stand beside hours, CronJobs suspended, and DaemonSets match no node.
//!
//! Level-triggered: only the hours at this moment decide, so a missed change does no harm.

mod notice;

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use tidegate_cluster::{ASLEEP, Kind, PAUSED_REPLICAS, Sleeper, Wanted};
use tidegate_core::plan::Plan;
use tokio::time::Instant;

use self::notice::SwitchNotice;
use crate::{
    context::{Context, Pass},
    events::{self, Events},
    writer::{Unwritten, Writer},
};

/// The field manager of switches and marks. Not the one of ScaledObjects: an object wakes when this manager owns nothing of it.
const FIELD_MANAGER: &str = "tidegate-hours";
/// The longest time between two looks: the clock may have been set.
const LOOK: Duration = Duration::from_secs(60);
/// Pause after a write that failed.
const RETRY: Duration = Duration::from_secs(30);
/// Writes at one time.
const AT_ONCE: usize = 8;

/// Puts to sleep and wakes, while this replica leads.
pub async fn run(context: Context, release: String) {
    let (writer, events) = (context.writer.clone(), context.events());
    let switches = Switches { writer, release, events, failed: HashMap::new() };
    context.on_change(switches, LOOK).await;
}

struct Switches {
    writer: Writer,
    /// Of Tidegate's own ScaledObjects, those of this release are switched
    release: String,
    events: Events<SwitchNotice>,
    /// By UID, writes that failed: when each may be tried again, and what the error was
    failed: HashMap<String, (Instant, String)>,
}

impl Pass for Switches {
    async fn pass(&mut self, plan: &Plan, context: &Context) -> Instant {
        let now = Utc::now();
        let sleepers = context.watches.objects(|objects| objects.sleepers(plan, &self.release, now));
        Instant::now() + self.switch_all(sleepers, now).await
    }
}

impl Switches {
    /// Runs one pass. Returns the time until the next one is due, if nothing changes before.
    async fn switch_all(&mut self, sleepers: Vec<Sleeper>, now: DateTime<Utc>) -> Duration {
        self.failed.retain(|_, (again, _)| *again > Instant::now());
        let due = sleepers.iter().filter(|sleeper| !self.failed.contains_key(&sleeper.uid));
        let switched: Vec<_> = due.filter_map(|sleeper| Some((sleeper.clone(), switch(sleeper)?))).collect();
        let writer = &self.writer;
        let written = stream::iter(switched).map(|(sleeper, object)| apply(writer, sleeper, object));
        let outcomes: Vec<_> = written.buffer_unordered(AT_ONCE).collect().await;
        for (sleeper, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    let Sleeper { kind, namespace, name, wanted, .. } = sleeper;
                    tracing::info!(%kind, namespace, name, ?wanted, "switched by its hours");
                }
                Err(Unwritten::NotLeading) => {}
                Err(error) => _ = self.failed.insert(sleeper.uid, (Instant::now() + RETRY, error.to_string())),
            }
        }
        let known = |sleeper: &Sleeper| {
            let Sleeper { kind, namespace, name, uid, .. } = sleeper;
            let refused = self.failed.get(uid).map(|(_, error)| SwitchNotice::Refused(error.clone()));
            let notices = SwitchNotice::of(sleeper).into_iter().chain(refused).collect();
            (events::reference(*kind, namespace, name, Some(uid.clone())), notices)
        };
        let all = sleepers.iter().map(known).collect();
        self.events.publish_all(all).await;
        let changes = sleepers.iter().filter_map(|sleeper| sleeper.until);
        // Just after the change, so that it has happened by then.
        let until = |at: DateTime<Utc>| (at - now).to_std().unwrap_or_default() + Duration::from_millis(1);
        let again = if self.failed.is_empty() { LOOK } else { RETRY };
        changes.map(until).min().unwrap_or(LOOK).min(again)
    }
}

/// The object to apply, if there is anything to change. An object that its owner switched on in the night stays on until its next
/// night.
fn switch(sleeper: &Sleeper) -> Option<Value> {
    let Sleeper { kind, namespace, name, uid, asleep, wanted, .. } = sleeper;
    let off = match (asleep, wanted) {
        (None, Wanted::Asleep(replicas)) => Some(*replicas),
        (Some(before), Wanted::Asleep(replicas)) if before != replicas => Some(*replicas),
        (Some(_), Wanted::Awake) => None,
        _ => return None,
    };
    // With its UID: without it, an object that was deleted meanwhile would be created again.
    let mut object = json!({"metadata": {"name": name, "namespace": namespace, "uid": uid}});
    if let Some(replicas) = off {
        object["metadata"]["labels"] = json!({ASLEEP: "true"});
        match kind {
            Kind::CronJob => object["spec"] = json!({"suspend": true}),
            Kind::DaemonSet => object["spec"] = json!({"template": {"spec": {"nodeSelector": {ASLEEP: "true"}}}}),
            _ => object["metadata"]["annotations"] = json!({PAUSED_REPLICAS: replicas.to_string()}),
        }
    }
    Some(object)
}

async fn apply(writer: &Writer, sleeper: Sleeper, object: Value) -> (Sleeper, Result<(), Unwritten>) {
    let outcome = writer.apply(sleeper.kind, &sleeper.namespace, FIELD_MANAGER, object).await;
    (sleeper, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(kind: Kind, asleep: Option<u32>, wanted: Wanted) -> Sleeper {
        let (namespace, name, uid) = ("shop".to_owned(), "report".to_owned(), "u-1".to_owned());
        Sleeper { kind, namespace, name, uid, asleep, wanted, until: None, problems: Vec::new() }
    }

    #[test]
    fn each_kind_is_switched_off_by_its_own_switch_and_marked() {
        let off = |kind| switch(&sleeper(kind, None, Wanted::Asleep(2))).unwrap();
        assert_eq!(off(Kind::CronJob)["spec"], json!({"suspend": true}));
        assert_eq!(off(Kind::DaemonSet)["spec"]["template"]["spec"]["nodeSelector"], json!({ASLEEP: "true"}));
        assert_eq!(off(Kind::ScaledObject)["metadata"]["annotations"], json!({PAUSED_REPLICAS: "2"}));
        assert_eq!(off(Kind::ScaledObject)["metadata"]["labels"], json!({ASLEEP: "true"}));
    }

    #[test]
    fn to_wake_is_to_own_nothing_of_the_same_object() {
        let on = switch(&sleeper(Kind::CronJob, Some(0), Wanted::Awake)).unwrap();
        assert_eq!(on, json!({"metadata": {"name": "report", "namespace": "shop", "uid": "u-1"}}));
    }

    #[test]
    fn what_is_as_its_hours_want_it_is_not_written() {
        for (asleep, wanted) in
            [(None, Wanted::Awake), (Some(0), Wanted::Asleep(0)), (None, Wanted::AsItIs), (Some(0), Wanted::AsItIs)]
        {
            assert_eq!(switch(&sleeper(Kind::ScaledObject, asleep, wanted)), None);
        }
        assert!(
            switch(&sleeper(Kind::ScaledObject, Some(0), Wanted::Asleep(1))).is_some(),
            "another number is written"
        );
    }
}
