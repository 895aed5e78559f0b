//! Errors for unknown workloads and Services, with the names that are known: most often the cause is a typo.

use tidegate_core::{ids::ServiceId, plan::Plan, workload::WorkloadId};

use super::NoDemand;
use crate::text::shortened;

pub(crate) fn unknown_workload(id: &WorkloadId, plan: &Plan) -> NoDemand {
    let beside = plan.workloads.keys().filter(|known| known.namespace == id.namespace);
    let name = |known: &WorkloadId| format!("{}/{}", known.kind.kubectl_name(), known.name);
    let known = match listed(beside, name) {
        Some(names) => format!("known in its namespace: {names}"),
        None => format!(
            "none is known in its namespace ({} in others): annotate it, for example with \
             tidegate.dev/requests-per-second=100",
            plan.workloads.len()
        ),
    };
    let id = WorkloadId { namespace: shortened(&id.namespace), kind: id.kind, name: shortened(&id.name) };
    NoDemand::UnknownWorkload { id, known }
}

pub(super) fn unknown_service(id: &ServiceId, plan: &Plan) -> NoDemand {
    let beside = plan.services.keys().filter(|known| known.namespace == id.namespace);
    let known = match listed(beside, |known| known.name.clone()) {
        Some(names) => format!("reached in its namespace: {names}"),
        None => format!("none is reached in its namespace ({} in others)", plan.services.len()),
    };
    let id = ServiceId { namespace: shortened(&id.namespace), name: shortened(&id.name) };
    NoDemand::UnknownService { id, known }
}

/// The first few names, and how many more there are.
fn listed<'a, T: 'a>(mut all: impl Iterator<Item = &'a T>, name: impl Fn(&T) -> String) -> Option<String> {
    const SHOWN: usize = 10;
    let names: Vec<_> = all.by_ref().take(SHOWN).map(name).collect();
    let names = (!names.is_empty()).then(|| names.join(", "))?;
    match all.count() {
        0 => Some(names),
        more => Some(format!("{names} and {more} more")),
    }
}
