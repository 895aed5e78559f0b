//! Writes the EndpointSlices, while this replica leads.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, stream};
use kube::api::{DynamicObject, PostParams};
use serde_json::json;
use tidegate_cluster::Kind;
use tidegate_core::{gate::Gate, ids::ServiceId, plan::Plan, workload::WorkloadId};
use tokio::time::Instant;

use super::{
    book::EndpointBook,
    notice::GateNotice,
    slice::WantedSlice,
    steps::{Change, GateSettings, Seen, Steps, steps},
};
use crate::{
    context::{Context, Pass},
    events::Events,
    workloads::reference,
    writer::{FIELD_MANAGER, Unwritten, Writer, explained},
};

/// Time between two passes: it bounds how long a Service stays without endpoints when its last pod ends unexpectedly.
const ROUND: Duration = Duration::from_millis(500);
/// Time between the sight of a slice and its first traffic: by then every replica of Tidegate listens where it says.
const SETTLE: Duration = Duration::from_secs(1);
/// Slices that are written at one time.
const AT_ONCE: usize = 8;

/// Function that returns whether anything asks for replicas of a workload; `None` while that is unknown.
pub type Activity = Arc<dyn Fn(&WorkloadId, &Plan) -> Option<bool> + Send + Sync>;

/// Keeps the EndpointSlices of all gates, while this replica leads.
pub async fn run(settings: GateSettings, book: EndpointBook, activity: Activity, context: Context) {
    let gates = Gates { settings, book, activity, seen: HashMap::new(), events: context.events() };
    context.every(ROUND, gates).await;
}

struct Gates {
    settings: GateSettings,
    book: EndpointBook,
    activity: Activity,
    /// When each Service's slice was first seen
    seen: HashMap<ServiceId, Instant>,
    events: Events<GateNotice>,
}

impl Pass for Gates {
    async fn pass(&mut self, plan: &Plan, context: &Context) -> Instant {
        let now = Instant::now();
        let own: BTreeSet<_> = self.book.own_services(&self.settings.release).into_iter().collect();
        self.seen.retain(|service, _| own.contains(service));
        for service in own {
            self.seen.entry(service).or_insert(now);
        }
        let settled = |service: &ServiceId| self.seen.get(service).is_some_and(|seen| now >= *seen + SETTLE);
        let seen = Seen { settings: &self.settings, book: &self.book, active: &*self.activity, settled: &settled };
        let Steps { apply, delete, mut notices } = steps(plan, &seen);
        let deleted = stream::iter(delete).for_each_concurrent(AT_ONCE, |(service, name, uid)| async move {
            let deleted = context.writer.delete(Kind::EndpointSlice, &service.namespace, &name, uid).await;
            if let Err(error @ (Unwritten::NoAnswer | Unwritten::Refused(_))) = deleted {
                tracing::warn!(namespace = service.namespace, name, %error, "cannot delete an EndpointSlice");
            }
        });
        deleted.await;
        let release = &self.settings.release;
        let written = stream::iter(apply).map(|(slice, change)| async move {
            let outcome = write(&context.writer, &slice, change, release).await;
            (slice, outcome)
        });
        let written: Vec<_> = written.buffer_unordered(AT_ONCE).collect().await;
        for (slice, outcome) in written {
            let Err(Unwritten::Refused(error)) = outcome else { continue };
            let refused = GateNotice::Refused(explained(&error));
            notices.extend(owner(plan, &slice.service).map(|id| (id.clone(), refused)));
        }
        self.publish(plan, notices).await;
        Instant::now()
    }

    fn forget(&mut self) {
        self.seen.clear();
    }
}

impl Gates {
    async fn publish(&mut self, plan: &Plan, notices: Vec<(WorkloadId, GateNotice)>) {
        let mut by_workload = HashMap::<_, Vec<_>>::new();
        for (id, notice) in notices {
            by_workload.entry(id).or_default().push(notice);
        }
        let all = by_workload.into_iter().map(|(id, notices)| (reference(plan, &id), notices)).collect();
        self.events.publish_all(all).await;
    }
}

/// The workload that a Service's gate belongs to.
fn owner<'a>(plan: &'a Plan, service: &ServiceId) -> Option<&'a WorkloadId> {
    let has_gate = |gates: &Arc<[Gate]>| gates.iter().any(|gate| gate.service == *service);
    plan.workloads.iter().find(|(_, workload)| workload.gates.as_ref().is_ok_and(has_gate)).map(|(id, _)| id)
}

async fn write(writer: &Writer, slice: &WantedSlice, change: Change, release: &str) -> Result<(), Unwritten> {
    let namespace = &slice.service.namespace;
    match change {
        Change::Update => {
            let object = slice.object(release, "");
            let patch = json!({
                "metadata": {"name": slice.name()},
                "ports": object["ports"],
                "endpoints": object["endpoints"],
            });
            writer.merge(Kind::EndpointSlice, namespace, &patch).await
        }
        Change::Create => {
            let api = writer.api(Kind::EndpointSlice, namespace);
            let services = writer.api(Kind::Service, namespace);
            let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            let create = async {
                let uid = services.get_metadata(&slice.service.name).await?.metadata.uid.unwrap_or_default();
                let object = writer.typed(Kind::EndpointSlice, slice.object(release, &uid));
                let object: DynamicObject = serde_json::from_value(object).map_err(kube::Error::SerdeError)?;
                api.create(&params, &object).await
            };
            match writer.write(create).await {
                // The Service is gone, or the slice is there and will be seen in a moment.
                Err(Unwritten::Refused(kube::Error::Api(status))) if [404, 409].contains(&status.code) => Ok(()),
                written => written.map(drop),
            }
        }
    }
}
