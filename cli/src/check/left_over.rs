//! What earlier releases, deleted workloads and pods that were killed have left.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{
    finding::Finding,
    object::{name, namespace, text},
    site::Site,
};

pub(super) fn scaled_objects(site: &Site) -> Vec<Finding> {
    let objects = match &site.scaled_objects {
        Ok(objects) => objects,
        Err(failure) => return Finding::unknown(failure),
    };
    let found = objects.iter().filter_map(|object| {
        let target = &object["spec"]["scaleTargetRef"];
        let (kind, target) = (target["kind"].as_str().unwrap_or("Deployment"), text(&target["name"]));
        let (namespace, name) = (namespace(object), name(object));
        // A kind that could not be listed says nothing.
        let there = site.workloads.get(kind)?.contains(&(namespace.to_owned(), target.to_owned()));
        (!there).then(|| {
            Finding::failure(
                format!("ScaledObject {name} in namespace {namespace} scales {kind} {target}, which does not exist"),
                format!("`kubectl -n {namespace} delete scaledobject {name}`"),
            )
        })
    });
    Finding::or_ok(found.collect(), format!("{} looked at", objects.len()))
}

/// An EndpointSlice of ours without a Tidegate leads requests to pods that are gone.
pub(super) fn slices(site: &Site) -> Vec<Finding> {
    if !site.tidegates.is_empty() {
        return Finding::ok(format!("{} looked at", site.slices.len()));
    }
    let found = site.slices.iter().map(|slice| {
        let (namespace, name) = (namespace(slice), name(slice));
        Finding::failure(
            format!("EndpointSlice {name} in namespace {namespace} leads to a Tidegate that is not there"),
            format!("`kubectl -n {namespace} delete endpointslice {name}`"),
        )
    });
    Finding::or_ok(found.collect(), "")
}

pub(super) fn leases(site: &Site) -> Vec<Finding> {
    let found: Vec<_> = site.leases.iter().filter_map(|lease| expired(lease, site.now)).collect();
    let holders: BTreeSet<_> = site.leases.iter().map(|lease| text(&lease["spec"]["holderIdentity"])).collect();
    let holders: Vec<_> = holders.into_iter().filter(|holder| !holder.is_empty()).collect();
    Finding::or_ok(found, if holders.is_empty() { String::new() } else { format!("by {}", holders.join(", ")) })
}

/// A Lease that nobody renews: then nobody writes, although the pods may be ready.
fn expired(lease: &Value, now: DateTime<Utc>) -> Option<Finding> {
    let spec = &lease["spec"];
    let renewed = DateTime::parse_from_rfc3339(text(&spec["renewTime"])).ok()?.to_utc();
    let seconds = spec["leaseDurationSeconds"].as_i64().unwrap_or(15).clamp(1, 3600);
    // The clocks of pods and of this machine may differ a little.
    let ended = renewed + TimeDelta::seconds(seconds * 2);
    (ended < now).then(|| {
        let (namespace, name, ago) = (namespace(lease), name(lease), (now - renewed).num_seconds());
        Finding::failure(
            format!("Lease {name} in namespace {namespace} was renewed {ago} s ago last: nobody writes ScaledObjects"),
            format!("`kubectl -n {namespace} get pods`, and their logs; the next pod that is ready takes it over"),
        )
    })
}
