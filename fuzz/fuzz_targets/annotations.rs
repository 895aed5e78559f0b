//! The annotations of a workload, a Gateway and a Namespace, and what they become: intents, schedules, and the metadata of a trigger.
//!
//! A line is an annotation of the workload, `key: value` without the prefix. One that starts with `!` is its Namespace's.
#![no_main]

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta};
use libfuzzer_sys::fuzz_target;
use tidegate_core::{
    calendar::Calendars,
    intent::{Annotations, GatewayIntent, Intent, check_namespace},
    key::PREFIX,
    trigger::Trigger,
    workload::{WorkloadId, WorkloadKind},
};

fuzz_target!(|text: &str| {
    let (mut own, mut defaults) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        let (of, key) = key.strip_prefix('!').map_or((&mut own, key), |key| (&mut defaults, key));
        // Only a value of several lines has these.
        of.insert(format!("{PREFIX}{key}"), value.replace("\\n", "\n"));
    }
    let [own, defaults] = [own, defaults].map(|map| map.into_iter().collect::<Annotations>());
    let _ = check_namespace(&defaults);
    let _ = GatewayIntent::of_gateway(&own, "shop", &defaults).map(|intent| {
        intent.map(|intent| {
            intent.schedule("eg", 1, &Calendars::new()).map(|schedule| schedule.map(|schedule| look(&schedule)))
        })
    });
    let Ok(Some(intent)) = Intent::of_workload(&own, "shop", &defaults) else { return };
    let _ = intent.schedule("api", &BTreeMap::new()).map(|schedule| schedule.map(|schedule| look(&schedule)));
    if !intent.targets.is_empty() {
        let id = WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: "api".into() };
        let trigger = Trigger::of_workload(&id, &intent);
        let written = trigger.metadata().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        assert_eq!(Trigger::parse("shop", &written), Ok(trigger));
    }
});

fn look(schedule: &tidegate_core::schedule::Schedule) {
    let mut now = DateTime::UNIX_EPOCH + TimeDelta::days(20_500);
    for _ in 0..4 {
        let _ = (schedule.limits(now), schedule.floor_since(now));
        let Some(next) = schedule.next_change(now) else { return };
        assert!(next > now, "{next} is not after {now}");
        now = next;
    }
}
