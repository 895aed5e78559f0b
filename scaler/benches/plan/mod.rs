//! A Plan of 10,000 workloads for benchmarks.

use tidegate_core::{
    calendar::Calendars,
    ids::{RouteRef, ServiceId},
    intent::{Annotations, Intent},
    plan::{ClusterShare, Plan, PlannedWorkload, Replicas},
    workload::{WorkloadId, WorkloadKind},
};

pub(crate) const WORKLOADS: usize = 10_000;

pub(crate) fn id(index: usize) -> WorkloadId {
    let namespace = format!("team-{:02}", index % 50);
    WorkloadId { namespace, kind: WorkloadKind::Deployment, name: format!("service-number-{index}") }
}

/// A Plan of workloads with one route each, in both forms of the cluster's name.
pub(crate) fn plan() -> Plan {
    let annotations = Annotations::from([("tidegate.dev/requests-per-second".to_owned(), "100".to_owned())]);
    let intent = Intent::of_workload(&annotations, "", &Annotations::new()).unwrap().unwrap();
    let mut plan = Plan::default();
    for index in 0..WORKLOADS {
        let WorkloadId { namespace, kind, name } = id(index);
        let service = ServiceId { namespace: namespace.clone(), name: name.clone() };
        let cluster = format!("httproute/{namespace}/{name}/rule/0");
        let share = ClusterShare {
            split: Some(format!("{cluster}/backend/0").into()),
            cluster: cluster.into(),
            share: 1.0,
            of_backend: 1.0,
            route: RouteRef {
                kind: "HTTPRoute".into(),
                namespace: namespace.clone(),
                name: name.clone(),
                rule: Some(0),
            },
            service: service.clone(),
            fleets: [].into(),
            meaning: 0,
            pending: false,
        };
        let replicas = Replicas { wanted: 1, ready: 1 };
        let (own, calendars) = (vec![share.clone()], Calendars::default());
        let id = WorkloadId { namespace, kind, name };
        let workload = PlannedWorkload::new(&id, String::new(), Ok(intent.clone()), own, replicas, 1, &calendars);
        plan.workloads.insert(id, workload);
        plan.services.insert(service, vec![share]);
    }
    plan
}
