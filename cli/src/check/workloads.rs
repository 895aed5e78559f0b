//! Workloads and Gateways with a problem: as their ScaledObjects say it, and the Warning events of the last hour.

use std::collections::BTreeSet;

use super::{
    finding::Finding,
    object::{namespace, text},
    site::Site,
};

/// Annotation in which the operator keeps the problems of a workload, since events are gone after an hour.
const PROBLEM: &str = "tidegate.dev/problem";

pub(super) fn problems(site: &Site) -> Vec<Finding> {
    let objects = site.scaled_objects.as_deref().unwrap_or_default();
    let kept = objects.iter().filter_map(|object| {
        let problem = object["metadata"]["annotations"][PROBLEM].as_str()?;
        let target = &object["spec"]["scaleTargetRef"];
        let kind = target["kind"].as_str().unwrap_or("Deployment").to_ascii_lowercase();
        Some((namespace(object).to_owned(), format!("{kind}/{}", text(&target["name"])), problem.to_owned()))
    });
    let told = site.events.iter().map(|event| {
        let of = &event["regarding"];
        let object = format!("{}/{}", text(&of["kind"]).to_ascii_lowercase(), text(&of["name"]));
        (text(&of["namespace"]).to_owned(), object, format!("{}: {}", text(&event["reason"]), text(&event["note"])))
    });
    // Most problems are in both.
    let all: BTreeSet<_> = kept.chain(told).collect();
    let found = all.into_iter().map(|(namespace, object, problem)| finding(&namespace, &object, &problem)).collect();
    Finding::or_ok(found, format!("{} looked at", objects.len()))
}

fn finding(namespace: &str, object: &str, problem: &str) -> Finding {
    let within = if namespace.is_empty() { String::new() } else { format!(" in namespace {namespace}") };
    let place = if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") };
    Finding::warning(format!("{object}{within}: {problem}"), format!("`tidegate explain {object}{place}`"))
}
