//! Kafka: the lag of all consumer groups of a cluster in one sweep, by one client.
//!
//! No group is joined and nothing is committed.

mod admin;
mod history;
mod settings;
mod sweep;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rdkafka::ClientConfig;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

pub use self::settings::{ClusterSettings, KafkaSettings, Mechanism, SaslSettings, TlsSettings};
use self::{
    admin::Admin,
    sweep::{Answers, Sweeper},
};
use crate::signals::Signals;

/// Requests that take longer have failed.
const WITHIN: Duration = Duration::from_secs(10);

/// Sweeps every cluster until `shutdown` says so.
pub async fn run(settings: KafkaSettings, signals: Arc<Signals>, mut shutdown: watch::Receiver<bool>) {
    let mut clusters = JoinSet::new();
    let names: BTreeSet<_> = settings.clusters.keys().cloned().collect();
    let interval = settings.interval();
    for (name, cluster) in settings.clusters {
        clusters.spawn(follow(name, cluster, interval, Arc::clone(&signals)));
    }
    clusters.spawn(refuse_unknown(names, interval, signals));
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// Lags of clusters that nobody has named get an error that says so.
async fn refuse_unknown(names: BTreeSet<String>, every: Duration, signals: Arc<Signals>) {
    let mut ticks = interval(every);
    loop {
        ticks.tick().await;
        let unknown = signals.wanted_lags().into_iter().filter(|lag| !names.contains(&lag.cluster));
        let known =
            if names.is_empty() { "none".to_owned() } else { names.iter().cloned().collect::<Vec<_>>().join(", ") };
        let refused = unknown.map(|lag| {
            let error = format!("no Kafka cluster is called {}; the configuration has {known}", lag.cluster);
            (lag, Err(error))
        });
        let refused: Vec<_> = refused.collect();
        if !refused.is_empty() {
            signals.commit_lags(refused);
        }
    }
}

async fn follow(name: String, settings: ClusterSettings, every: Duration, signals: Arc<Signals>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection: Option<(ClientConfig, Arc<Admin>)> = None;
    let mut sweeper = Sweeper::default();
    loop {
        ticks.tick().await;
        let wanted: Vec<_> = signals.wanted_lags().into_iter().filter(|lag| lag.cluster == name).collect();
        if wanted.is_empty() {
            continue;
        }
        let fail = |error: String| -> Answers { wanted.iter().map(|lag| (lag.clone(), Err(error.clone()))).collect() };
        // Files are read each time: a changed password or certificate means a new client.
        let admin = match settings.client().and_then(|config| connect(&mut connection, config)) {
            Ok(admin) => admin,
            Err(error) => {
                tracing::warn!(cluster = name, error, "cannot use the settings of a Kafka cluster");
                signals.commit_lags(fail(format!("Kafka cluster {name}: {error}")));
                continue;
            }
        };
        let (mut taken, read_committed) = (std::mem::take(&mut sweeper), settings.read_committed);
        let asked = wanted.clone();
        let swept = tokio::task::spawn_blocking(move || {
            let answers = taken.sweep(&admin, &asked, read_committed, WITHIN);
            (answers, taken, admin.complaint())
        });
        match swept.await {
            Ok((answers, given_back, complaint)) => {
                sweeper = given_back;
                let complaint = complaint.map(|complaint| format!(" ({complaint})")).unwrap_or_default();
                let prefixed = answers.into_iter().map(|(lag, answer)| {
                    let answer = answer.map_err(|error| format!("Kafka cluster {name}: {error}{complaint}"));
                    (lag, answer)
                });
                signals.commit_lags(prefixed.collect());
            }
            Err(error) => signals.commit_lags(fail(format!("Kafka cluster {name}: the sweep failed: {error}"))),
        }
    }
}

fn connect(connection: &mut Option<(ClientConfig, Arc<Admin>)>, config: ClientConfig) -> Result<Arc<Admin>, String> {
    if let Some((same, admin)) = connection
        && same.config_map() == config.config_map()
    {
        return Ok(Arc::clone(admin));
    }
    let admin = Arc::new(Admin::new(&config)?);
    *connection = Some((config, Arc::clone(&admin)));
    Ok(admin)
}
