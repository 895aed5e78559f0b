//! Sending requests at the instants that the profile gives.

use std::sync::Arc;

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

use super::{
    LoadLimits, Profile,
    client::Clients,
    stats::{Outcome, Stats},
};

/// Sends until the profile ends or the load is stopped, then waits for the last answers.
pub(super) async fn drive(
    profile: Profile,
    limits: LoadLimits,
    mut clients: Clients,
    stats: Stats,
    mut stopped: watch::Receiver<bool>,
) {
    let start = Instant::now();
    let room = Arc::new(Semaphore::new(limits.max_in_flight));
    let mut requests = JoinSet::new();
    for due in profile.arrivals() {
        let due = start + due;
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => break,
            () = sleep_until(due) => {}
        }
        while requests.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            stats.count_skipped();
            continue;
        };
        let request = clients.next_request();
        let (stats, limit) = (stats.clone(), limits.timeout);
        requests.spawn(async move {
            let _in_flight = stats.in_flight();
            let outcome = match request {
                Some(request) => timeout(limit, request).await.unwrap_or(Outcome::Error),
                None => Outcome::Error,
            };
            stats.count(outcome);
            if outcome != Outcome::Error {
                stats.record(due.elapsed());
            }
            drop(place);
        });
    }
    requests.join_all().await;
}
