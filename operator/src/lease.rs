//! One of several replicas writes: the one that holds the Lease.

use std::time::Duration;

use kube::Client;
use kube_leader_election::{LeaseLock, LeaseLockParams, LeaseLockResult};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

/// Where the Lease is, and who wants it.
#[derive(Debug, Clone)]
pub struct LeaseSettings {
    /// The Lease's namespace
    pub namespace: String,
    /// The Lease's name
    pub name: String,
    /// Who this is: the pod's name
    pub holder: String,
}

/// Others take over when the holder has not renewed for this long.
const TTL: Duration = Duration::from_secs(15);
/// The holder stops to write before others may start to.
const GIVE_UP: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(3);

/// Competes for the Lease until `shutdown` says so, and hands it over then. Tells in `leading` whether it is held.
pub async fn compete(
    client: Client,
    settings: LeaseSettings,
    leading: watch::Sender<bool>,
    mut shutdown: watch::Receiver<bool>,
) {
    let params =
        LeaseLockParams { holder_id: settings.holder.clone(), lease_name: settings.name.clone(), lease_ttl: TTL };
    let lease = LeaseLock::new(client, &settings.namespace, params);
    let mut renewals = interval(RENEW);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed = Instant::now();
    loop {
        tokio::select! {
            _ = renewals.tick() => {}
            _ = shutdown.wait_for(|stop| *stop) => break,
        }
        let asked = Instant::now();
        let held = match timeout(GIVE_UP, lease.try_acquire_or_renew()).await {
            Ok(Ok(LeaseLockResult::Acquired(_))) => {
                renewed = asked;
                true
            }
            Ok(Ok(LeaseLockResult::NotAcquired(_))) | Err(_) => false,
            Ok(Err(error)) => {
                tracing::warn!(%error, namespace = settings.namespace, lease = settings.name, "cannot renew the Lease");
                *leading.borrow() && renewed.elapsed() < GIVE_UP
            }
        };
        leading.send_if_modified(|leads| {
            let changed = *leads != held;
            if changed {
                tracing::info!(
                    holder = settings.holder,
                    "{}",
                    if held { "leads: writes from now on" } else { "no longer leads" }
                );
            }
            *leads = held;
            changed
        });
    }
    if leading.send_replace(false)
        && let Ok(Err(error)) = timeout(RENEW, lease.step_down()).await
    {
        tracing::warn!(%error, "cannot hand the Lease over; it ends in {} s", TTL.as_secs());
    }
}
