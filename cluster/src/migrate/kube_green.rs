//! kube-green's SleepInfos: the hours of a namespace.

use super::{
    cron,
    draft::{Draft, ends_later},
    fields::{Object, scalar, text},
    target::Target,
    week::Week,
};

/// A SleepInfo as annotations of its Namespace, and of what it excludes.
pub(super) fn drafts(object: &Object<'_>) -> Vec<Draft> {
    let target = object.namespace.map(Target::namespace);
    let mut draft = Draft::new(object, target.clone());
    if target.is_none() {
        let why = "the file says no namespace, so the Namespace to annotate is not known";
        return vec![draft.give_up("metadata.namespace", why)];
    }
    let is = |key: &str| object.at(&format!("/spec/{key}")).and_then(scalar);
    if is("suspendDeployments").as_deref() == Some("false") {
        let why = "tidegate.dev/manage has every Deployment sleep; annotate what should, with tidegate.dev/hours";
        return vec![draft.give_up("spec.suspendDeployments", why)];
    }
    let week = match week(object) {
        Ok(week) => week,
        Err((field, why)) => return vec![draft.give_up(field, why)],
    };
    draft.set("hours", week.hours());
    draft.set("timezone", object.text("/spec/timeZone").filter(|zone| !zone.is_empty()).unwrap_or("UTC"));
    draft.note("spec.sleepAt", ends_later());
    if is("suspendCronJobs").as_deref() == Some("true") {
        draft.set("manage", "all,cronjobs");
        draft.note("spec.suspendCronJobs", "needs manage.cronJobs: true in the chart's values");
    } else {
        draft.set("manage", "all");
    }
    if is("suspendStatefulSets").as_deref() != Some("true") {
        draft.note("spec", "StatefulSets sleep too; one with tidegate.dev/paused: \"true\" does not");
    }
    if !object.list("/spec/patches").is_empty() {
        draft.lost("spec.patches", "Tidegate switches replicas, CronJobs and DaemonSets, and nothing else");
    }
    let spared = excluded(object, &mut draft);
    std::iter::once(draft).chain(spared).collect()
}

fn week(object: &Object<'_>) -> Result<Week, (&'static str, String)> {
    let missing = |field: &'static str| (field, "it is missing".to_owned());
    let days = object.text("/spec/weekdays").ok_or_else(|| missing("spec.weekdays"))?;
    let sleep = object.text("/spec/sleepAt").ok_or_else(|| missing("spec.sleepAt"))?;
    let wake = object.text("/spec/wakeUpAt").filter(|time| !time.is_empty());
    let wake = wake.ok_or(("spec.wakeUpAt", "without it nothing opens again, and hours do".to_owned()))?;
    let at = |field: &'static str, time: &str| {
        let (hour, minute) = time.split_once(':').ok_or((field, format!("\"{time}\" is no HH:mm")))?;
        cron::parse(&format!("{minute} {hour} * * {days}")).map_err(|why| (field, why))
    };
    Ok(Week::between(&at("spec.wakeUpAt", wake)?, &at("spec.sleepAt", sleep)?))
}

/// What is excluded by name is paused.
fn excluded(object: &Object<'_>, draft: &mut Draft) -> Vec<Draft> {
    let mut spared = Vec::new();
    for (position, reference) in object.list("/spec/excludeRef").iter().enumerate() {
        let field = format!("spec.excludeRef[{position}]");
        let kind = text(reference, "kind").unwrap_or_default();
        match (kind, text(reference, "name").filter(|name| !name.is_empty())) {
            ("Deployment" | "StatefulSet" | "CronJob", Some(name)) => {
                let api_version = if kind == "CronJob" { "batch/v1" } else { "apps/v1" };
                let mut paused = Draft::new(object, Some(Target::beside(object, api_version, kind, name)));
                paused.set("paused", "true");
                spared.push(paused);
            }
            (_, None) => {
                draft.lost(field, "labels choose it: annotate what they choose with tidegate.dev/paused: \"true\"");
            }
            (kind, Some(_)) => draft.lost(field, format!("Tidegate does not switch a {kind}")),
        }
    }
    spared
}
