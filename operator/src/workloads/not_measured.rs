//! Reports to the owners of workloads that their traffic is not measured: replicas are held then, which looks like a quiet day.

use std::{fmt, sync::Arc};

use tidegate_core::{
    event::{Notice, Reason},
    not_followed::Few,
    plan::{Plan, PlannedWorkload},
    workload::{WorkloadId, WorkloadRef},
};

use super::{detail::Detail, reports::report};
use crate::context::Context;

/// Function that returns the reason why the demand of a workload is not known now; `None` while it is.
pub type Unmeasured = Arc<dyn Fn(&WorkloadId, &Plan) -> Option<String> + Send + Sync>;

/// The demand of a workload is not known.
///
/// Two are equal whatever their reasons, which change from one failing proxy to the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NotMeasured {
    workload: WorkloadRef,
    reason: Detail<String>,
}

impl fmt::Display for NotMeasured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, reason } = self;
        write!(
            f,
            "its traffic is not known, which is not the same as none: {reason}. Replicas are held until it is. Look at the status of \
             its routes, at telemetry.metrics.matches of the EnvoyProxy, which can leave out what Tidegate reads, and at `tidegate \
             explain {workload}`"
        )
    }
}

impl Notice for NotMeasured {
    fn reason(&self) -> Reason {
        Reason::NotMeasured
    }
}

/// Reports each workload, while this replica leads.
pub async fn report_not_measured(unmeasured: Unmeasured, context: Context) {
    report(|plan| notices(plan, &unmeasured), context).await;
}

/// The reason, with what Envoy Gateway refuses of routes that are followed.
fn with_refusals(reason: String, workload: &PlannedWorkload) -> String {
    match workload.not_followed.as_slice() {
        [] => reason,
        _ if workload.traffic.is_empty() => reason,
        refused => format!("{reason}. {}", Few(refused)),
    }
}

fn notices(plan: &Plan, unmeasured: &Unmeasured) -> Vec<(WorkloadId, Vec<NotMeasured>)> {
    let notice = |id: &WorkloadId| {
        let reason = with_refusals(unmeasured(id, plan)?, plan.workloads.get(id)?);
        let workload = WorkloadRef { kind: id.kind, name: id.name.clone() };
        Some((id.clone(), vec![NotMeasured { workload, reason: Detail(reason) }]))
    };
    plan.workloads.keys().filter_map(notice).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use tidegate_cluster::Objects;

    /// A Plan of two annotated Deployments.
    fn plan() -> Plan {
        let mut objects = Objects::default();
        for name in ["quiet", "unknown"] {
            let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name,
                "annotations": {"tidegate.dev/requests-per-second": "100"}}});
            objects.apply(deployment).unwrap();
        }
        objects.plan()
    }

    fn unmeasured(reason: &'static str) -> Unmeasured {
        Arc::new(move |id: &WorkloadId, _: &Plan| (id.name == "unknown").then(|| reason.to_owned()))
    }

    #[test]
    fn only_workloads_with_unknown_demand_get_an_event_and_it_says_how_to_find_out_why() {
        let [(id, told)] = &notices(&plan(), &unmeasured("no proxy names its cluster"))[..] else { panic!() };
        assert_eq!(id.name, "unknown");
        assert_eq!(
            told[0].to_string(),
            "its traffic is not known, which is not the same as none: no proxy names its cluster. Replicas are held until it is. \
             Look at the status of its routes, at telemetry.metrics.matches of the EnvoyProxy, which can leave out what Tidegate \
             reads, and at `tidegate explain deployment/unknown`"
        );
    }

    #[test]
    fn another_reason_is_the_same_news() {
        let told = |reason| notices(&plan(), &unmeasured(reason)).remove(0).1;
        assert_eq!(told("10.0.0.1 is silent"), told("10.0.0.2 is silent"));
    }
}
