//! The replicas that workloads had when Tidegate found them, kept apart from their ScaledObjects.
//!
//! A ScaledObject may be deleted, restored or moved while its workload sleeps, and then nobody would know any more how many replicas
//! it had. So the numbers are also kept in a ConfigMap of the release: one key per workload. Not in annotations of workloads, since
//! the permission to patch a Deployment is enough to run anything in it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tidegate_core::workload::WorkloadId;

use crate::{
    lease::LeaseSettings,
    writer::{FIELD_MANAGER, Unwritten, Writer},
};

/// Most entries: a ConfigMap holds 1 MiB; at 60 bytes each this is half of it.
const MOST: usize = 8_000;

/// The replicas that one workload had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) replicas: u32,
    /// The workload's UID: another one of the same name may have taken its place
    pub(super) uid: String,
}

/// The entries, by workload.
pub(super) type Entries = BTreeMap<WorkloadId, Entry>;

/// The ConfigMap.
#[derive(Debug)]
pub struct Ledger {
    namespace: String,
    name: String,
    /// `None` until it was read
    known: Option<Entries>,
}

impl Ledger {
    /// The ledger of the release that this Lease belongs to.
    pub fn of(lease: &LeaseSettings) -> Self {
        Self { namespace: lease.namespace.clone(), name: format!("{}-adopted", lease.name), known: None }
    }

    /// The entries. They are read once for each term of leadership: nobody else writes them.
    pub(super) async fn read(&mut self, writer: &Writer) -> Result<Entries, kube::Error> {
        if let Some(known) = &self.known {
            return Ok(known.clone());
        }
        let found = self.api(writer).get_opt(&self.name).await?;
        let data = found.and_then(|found| found.data).unwrap_or_default();
        let known: Entries = data.iter().filter_map(|(key, value)| Some((id(key)?, entry(value)?))).collect();
        self.known = Some(known.clone());
        Ok(known)
    }

    /// Forgets the entries: another leader may have written them.
    pub(super) fn forget(&mut self) {
        self.known = None;
    }

    /// Writes these entries, unless they are there already.
    pub(super) async fn write(&mut self, writer: &Writer, entries: Entries) -> Result<(), Unwritten> {
        if self.known.as_ref() == Some(&entries) {
            return Ok(());
        }
        let data: BTreeMap<_, _> = entries
            .iter()
            .take(MOST)
            .map(|(id, Entry { replicas, uid })| (key(id), format!("{replicas} {uid}")))
            .collect();
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": {"app.kubernetes.io/managed-by": "tidegate"}},
            "data": data,
        });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let api = self.api(writer);
        writer.write(api.patch(&self.name, &params, &Patch::Apply(&object))).await?;
        self.known = Some(entries);
        Ok(())
    }

    fn api(&self, writer: &Writer) -> Api<ConfigMap> {
        Api::namespaced(writer.client().clone(), &self.namespace)
    }
}

/// The key of a workload, `shop.deployment.api`: a namespace has no dot, a name may have some. The dots in a custom kind's name are
/// written as underscores, which it cannot have.
fn key(id: &WorkloadId) -> String {
    format!("{}.{}.{}", id.namespace, id.kind.kubectl_name().replace('.', "_"), id.name)
}

fn id(key: &str) -> Option<WorkloadId> {
    let mut parts = key.splitn(3, '.');
    let (namespace, kind, name) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = kind.replace('_', ".").parse().ok()?;
    Some(WorkloadId { namespace: namespace.to_owned(), kind, name: name.to_owned() })
}

fn entry(value: &str) -> Option<Entry> {
    let (replicas, uid) = value.split_once(' ')?;
    Some(Entry { replicas: replicas.parse().ok()?, uid: uid.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_core::workload::WorkloadKind;

    use super::*;
    use crate::fixture::context;

    fn api(name: &str) -> WorkloadId {
        WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::StatefulSet, name: name.to_owned() }
    }

    #[tokio::test]
    async fn what_is_written_is_what_the_next_leader_reads() {
        let (server, term, context) = context();
        let writer = context.writer;
        term.begin();
        let lease = LeaseSettings { namespace: "system".into(), name: "tidegate".into(), holder: "a".into() };
        let entries = Entries::from([(api("db.v2"), Entry { replicas: 12, uid: "u-1".into() })]);
        let mut ledger = Ledger::of(&lease);
        assert_eq!(ledger.read(&writer).await.unwrap(), Entries::new());
        for _ in 0..3 {
            ledger.write(&writer, entries.clone()).await.unwrap();
        }
        assert_eq!(server.writes(), ["PATCH /api/v1/namespaces/system/configmaps/tidegate-adopted"]);
        assert_eq!(Ledger::of(&lease).read(&writer).await.unwrap(), entries);
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_written(namespace in "[a-z][a-z0-9-]{0,20}", name in "[a-z][a-z0-9.-]{0,40}") {
            let custom = WorkloadKind::named("cogs.ledger.test/v1/Cog").unwrap();
            for kind in [WorkloadKind::Deployment, WorkloadKind::Rollout, custom] {
                let id = WorkloadId { namespace: namespace.clone(), kind, name: name.clone() };
                prop_assert_eq!(super::id(&key(&id)), Some(id));
            }
        }

        #[test]
        fn what_somebody_else_wrote_is_read_over(key in ".*", value in ".*") {
            let _ = (id(&key), entry(&value));
        }
    }
}
