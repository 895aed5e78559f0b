//! Plans and measurements for tests.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidegate_core::{
    calendar::Calendars,
    ids::{RouteRef, ServiceId},
    intent::{Annotations, Intent},
    plan::{ClusterShare, Plan, PlannedWorkload, Replicas},
    workload::{WorkloadId, WorkloadKind},
};

use crate::{demand::Demands, store::SignalStore};

pub(crate) const STALE_AFTER: Duration = Duration::from_secs(300);

/// An empty store, and the demand over it.
pub(crate) fn demands() -> Demands {
    Demands::new(Arc::new(SignalStore::new(STALE_AFTER)), STALE_AFTER)
}

pub(crate) fn deployment(name: &str) -> WorkloadId {
    WorkloadId { namespace: "shop".into(), kind: WorkloadKind::Deployment, name: name.into() }
}

/// A share of 1.0 in the cluster `httproute/shop/ROUTE/rule/0`.
pub(crate) fn share(route: &str) -> ClusterShare {
    ClusterShare {
        cluster: format!("httproute/shop/{route}/rule/0").into(),
        split: None,
        share: 1.0,
        of_backend: 1.0,
        route: RouteRef { kind: "HTTPRoute".into(), namespace: "shop".into(), name: route.into(), rule: Some(0) },
        service: ServiceId { namespace: "shop".into(), name: "api".into() },
        fleets: [].into(),
        meaning: 0,
        pending: false,
    }
}

/// A Plan of one Deployment in the namespace `shop`; the annotations are given without their prefix.
pub(crate) fn plan(name: &str, annotations: &[(&str, &str)], traffic: Vec<ClusterShare>) -> Plan {
    let annotations: Annotations =
        annotations.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect();
    let intent = Intent::of_workload(&annotations, "shop", &Annotations::new());
    let replicas = Replicas { wanted: 6, ready: 5 };
    let intent = intent.map(|intent| intent.expect("the workload is annotated"));
    let workload = PlannedWorkload::new(
        &deployment(name),
        String::new(),
        intent,
        traffic.clone(),
        replicas,
        replicas.wanted,
        &Calendars::new(),
    );
    let mut plan = Plan::default();
    plan.workloads.insert(deployment(name), workload);
    if !traffic.is_empty() {
        plan.services.insert(ServiceId { namespace: "shop".into(), name: "api".into() }, traffic);
    }
    plan
}

/// Commits one round of measurements: requests/s, requests in flight and connections of clusters. No proxy shows the others.
pub(crate) fn measure(signals: &SignalStore, values: &[(&str, [f64; 3])]) {
    let values: HashMap<_, _> = values.iter().map(|(name, values)| ((*name).to_owned(), *values)).collect();
    signals.commit_values("test", Ok(values));
}
