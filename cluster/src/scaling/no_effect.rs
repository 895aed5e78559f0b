//! Settings of workloads that can have no effect.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tidegate_core::{
    key::Key,
    no_effect::NoEffect,
    plan::{Plan, PlannedWorkload},
    workload::WorkloadId,
};

/// All such settings, to report to the workloads' owners. Those in the hours of a Calendar are reported on the Calendar.
pub fn no_effect(plan: &Plan, now: DateTime<Utc>) -> Vec<(WorkloadId, NoEffect)> {
    // Cached by hours: whole namespaces share the same ones, and hours that never open take the longest to check.
    let mut known = HashMap::new();
    let mut all = Vec::new();
    for (id, workload) in &plan.workloads {
        let Ok(intent) = &workload.intent else { continue };
        let Some(asked) = intent.schedule.as_ref().filter(|_| !intent.paused) else { continue };
        let own_hours = workload.schedule.as_ref().filter(|_| asked.hours.is_some());
        let hours = own_hours.and_then(|schedule| {
            let calendar = &schedule.calendar;
            let key = (workload.calendar.as_deref(), calendar.hours.to_string(), calendar.zone);
            let found = || NoEffect::of_hours(Key::Hours.annotation(), calendar, now);
            known.entry(key).or_insert_with(found).clone()
        });
        let told = hours.into_iter().chain(NoEffect::beside_hours(asked, maximum(workload, intent.bounds.max), now));
        all.extend(told.chain(NoEffect::of_order(id, plan)).map(|told| (id.clone(), told)));
    }
    all
}

/// The maximum in effect: the adopted number of replicas may exceed the default maximum.
fn maximum(workload: &PlannedWorkload, max: u32) -> u32 {
    workload.adopted.map_or(max, |adopted| adopted.max(max))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Objects;

    fn told(objects: impl IntoIterator<Item = Value>) -> Vec<(String, String)> {
        let mut all = Objects::default();
        for object in objects {
            assert!(all.apply(object).unwrap());
        }
        let now = DateTime::parse_from_rfc3339("2026-03-02T12:00:00Z").unwrap().to_utc();
        no_effect(&all.plan(), now).into_iter().map(|(id, what)| (id.name, what.to_string())).collect()
    }

    fn deployment(name: &str, replicas: u32, annotations: &[(&str, &str)]) -> Value {
        let annotations: serde_json::Map<_, _> =
            annotations.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), Value::from(*value))).collect();
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "shop", "uid": name, "annotations": annotations},
            "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": []}}}})
    }

    const UTC: (&str, &str) = ("timezone", "UTC");
    const WEEK: (&str, &str) = ("hours", "Mo-Fr 08:00-18:00");

    #[test]
    fn what_can_have_no_effect_is_told_on_the_workload_that_asks_for_it() {
        for (annotations, wanted) in [
            (&[("hours", "2025 Mo-Fr 08:00-18:00"), UTC][..], Some("tidegate.dev/hours \"2025 Mo-Fr 08:00-18:00\"")),
            (&[("hours", "22:00-06:00"), UTC], None),
            (&[WEEK, UTC, ("off-hours-replicas", "11")], Some("tidegate.dev/off-hours-replicas is 11")),
            (&[WEEK, UTC, ("after", "deployment/api")], Some("deployment/api after deployment/api")),
            (&[WEEK, UTC, ("keep-awake-until", "2025-03-02T12:00:00Z")], Some("tidegate.dev/keep-awake-until is 2025")),
            (&[("hours", "off"), UTC, ("paused", "true")], None),
        ] {
            let told = told([deployment("api", 2, annotations)]);
            assert_eq!(told.len(), usize::from(wanted.is_some()), "{annotations:?}: {told:?}");
            assert!(wanted.is_none_or(|wanted| told[0].1.contains(wanted)), "{told:?}");
        }
    }

    #[test]
    fn a_cap_below_what_was_adopted_has_an_effect() {
        let cap = [WEEK, UTC, ("off-hours-replicas", "11")];
        assert_eq!(told([deployment("api", 12, &cap)]), []);
    }

    #[test]
    fn hours_of_a_calendar_are_left_to_the_calendar() {
        let never = json!({"apiVersion": "tidegate.dev/v1alpha1", "kind": "Calendar", "metadata": {"name": "never"},
            "spec": {"timeZone": "UTC", "hours": "off"}});
        assert_eq!(told([never, deployment("api", 2, &[("calendar", "never")])]), []);
    }
}
