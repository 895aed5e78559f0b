//! The Lease as a lock: who holds it, for how long it has been unchanged, and its changes under `resourceVersion`.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::time::Instant;

use super::TTL;

/// The longest term that a record can ask for: otherwise a typo would lock everyone out.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) struct Lock {
    api: Api<Lease>,
    name: String,
    holder: String,
    /// The record as last read, and when it was first read so
    seen: Option<(LeaseSpec, Instant)>,
}

impl Lock {
    pub(super) fn new(api: Api<Lease>, name: &str, holder: &str) -> Self {
        Self { api, name: name.to_owned(), holder: holder.to_owned(), seen: None }
    }

    /// Takes the Lease if it is free, renews it if it is ours. Returns whether it is held.
    pub(super) async fn acquire_or_renew(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else {
            return self.create().await;
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let is_ours = spec.holder_identity.as_ref() == Some(&self.holder);
        if !is_ours && !self.is_free(&spec) {
            return Ok(false);
        }
        let next = self.record(is_ours.then_some(&spec), spec.lease_transitions.unwrap_or(0));
        self.change(&lease, &next).await
    }

    /// Frees the Lease for the next holder, if it is still ours.
    pub(super) async fn step_down(&self) -> Result<(), kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_ref() == Some(&self.holder) {
            self.change(&lease, &LeaseSpec { holder_identity: None, ..spec }).await?;
        }
        Ok(())
    }

    /// Whether nobody holds the Lease, or we saw its record unchanged for a whole term.
    fn is_free(&mut self, spec: &LeaseSpec) -> bool {
        if spec.holder_identity.as_deref().unwrap_or_default().is_empty() {
            return true;
        }
        match &self.seen {
            Some((seen, since)) if seen == spec => since.elapsed() >= length(spec),
            _ => {
                self.seen = Some((spec.clone(), Instant::now()));
                false
            }
        }
    }

    /// Our next record: a renewal of `ours`, or the first one after another holder's.
    fn record(&self, ours: Option<&LeaseSpec>, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let (acquired, transitions) = match ours {
            Some(ours) => (ours.acquire_time.clone(), transitions),
            None => (None, transitions.saturating_add(1)),
        };
        LeaseSpec {
            holder_identity: Some(self.holder.clone()),
            lease_duration_seconds: i32::try_from(TTL.as_secs()).ok(),
            acquire_time: acquired.or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    async fn create(&self) -> Result<bool, kube::Error> {
        let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
        // The first holder takes over from nobody.
        let spec = LeaseSpec { lease_transitions: Some(0), ..self.record(None, 0) };
        held(self.api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await)
    }

    /// Changes the Lease, unless somebody else has changed it since it was read.
    async fn change(&self, read: &Lease, next: &LeaseSpec) -> Result<bool, kube::Error> {
        let change = json!({
            "metadata": { "resourceVersion": read.resource_version() },
            "spec": {
                "holderIdentity": next.holder_identity,
                "leaseDurationSeconds": next.lease_duration_seconds,
                "acquireTime": next.acquire_time,
                "renewTime": next.renew_time,
                "leaseTransitions": next.lease_transitions,
            },
        });
        held(self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(change)).await)
    }
}

/// The term of a record: at least our own, and a longer one where the record says so, as a holder of another version may.
fn length(spec: &LeaseSpec) -> Duration {
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0);
    Duration::from_secs(seconds).clamp(TTL, LONGEST)
}

/// A conflict is no error: somebody else was faster.
fn held(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
