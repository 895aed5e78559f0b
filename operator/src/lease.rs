//! Leader election: of several replicas, only the one that holds the Lease writes.
//!
//! As in client-go's `leaderelection`, every change of the Lease carries the `resourceVersion` that was read, so that one of two
//! candidates gets a conflict; and the holder is presumed gone only after its record stayed unchanged for a whole term on our own
//! clock, so that the clocks of nodes need not agree.

mod leadership;
mod lock;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

pub use self::leadership::{Leadership, Term, term};
use self::lock::Lock;

/// The Lease to compete for, and the candidate's identity.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    /// The Lease's namespace
    pub namespace: String,
    /// The Lease's name
    pub name: String,
    /// This candidate's identity: the pod's name
    pub holder: String,
}

impl LeaseSettings {
    /// The release of Tidegate that this Lease belongs to, as the value of a label.
    pub fn release(&self) -> String {
        let mut release = format!("{}.{}", self.namespace, self.name);
        release.truncate(LONGEST_LABEL);
        release.trim_end_matches(['-', '.']).to_owned()
    }
}

/// Maximum length of a label's value.
const LONGEST_LABEL: usize = 63;

/// Others take over when the record has not changed for this long.
const TTL: Duration = Duration::from_secs(15);
/// The holder stops writing this long after it asked for its last successful renewal, well before others may start.
const GIVE_UP: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(3);
/// Timeout of one attempt, so that a second one fits in before giving up.
const ATTEMPT: Duration = Duration::from_secs(4);

/// Competes for the Lease until `stop` is cancelled, and hands it over then. Keeps `term` up to date.
pub async fn compete(client: Client, settings: LeaseSettings, term: Term, stop: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, &settings.namespace);
    let mut lock = Lock::new(api, &settings.name, &settings.holder);
    let mut renewals = interval(RENEW);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = renewals.tick() => {}
            () = stop.cancelled() => break,
        }
        attempt(&mut lock, &term, &settings).await;
    }
    if term.end()
        && let Ok(Err(error)) = timeout(RENEW, lock.step_down()).await
    {
        tracing::warn!(%error, "cannot hand the Lease over; it ends in {} s", TTL.as_secs());
    }
}

async fn attempt(lock: &mut Lock, term: &Term, settings: &LeaseSettings) {
    let asked = Instant::now();
    let error = match timeout(ATTEMPT, lock.acquire_or_renew()).await {
        Ok(Ok(true)) => {
            if term.renew(asked) {
                tracing::info!(holder = settings.holder, "leads: writes from now on");
            }
            return;
        }
        Ok(Ok(false)) => {
            if term.end() {
                tracing::info!(holder = settings.holder, "no longer leads: another replica changed the Lease");
            }
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {ATTEMPT:?}"),
    };
    tracing::warn!(error, namespace = settings.namespace, lease = settings.name, "cannot renew the Lease");
    if term.end_if_over() {
        tracing::info!(holder = settings.holder, "no longer leads: could not renew the Lease for {GIVE_UP:?}");
    }
}

#[cfg(test)]
mod tests;
