//! Kafka: the lag of all consumer groups of a cluster in one sweep, by one client.
//!
//! No group is joined and nothing is committed.

mod check;
mod files;
mod groups;
mod history;
mod oauth;
mod settings;
mod sweep;
mod topics;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rdkafka::ClientConfig;
use tidegate_core::kafka::KafkaLag;
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use tidegate_kafka_admin::Admin;

use self::sweep::{Answers, Sweeper, none_known};
pub use self::{
    check::{Step, check},
    oauth::OauthSettings,
    settings::{ClusterSettings, KafkaSettings, KerberosSettings, PasswordSettings, SaslSettings, TlsSettings},
};
use crate::store::SignalStore;

/// Sweeps every cluster until `stop` is cancelled.
pub async fn run(settings: KafkaSettings, signals: Arc<SignalStore>, stop: CancellationToken) {
    let mut clusters = JoinSet::new();
    let names: BTreeSet<_> = settings.clusters.keys().cloned().collect();
    let interval = settings.interval();
    for (name, cluster) in settings.clusters {
        clusters.spawn(follow(name, cluster, interval, Arc::clone(&signals)));
    }
    clusters.spawn(refuse_unknown(names, interval, signals));
    stop.cancelled().await;
}

/// Answers lags of clusters that are not configured with an error that says so.
async fn refuse_unknown(names: BTreeSet<String>, every: Duration, signals: Arc<SignalStore>) {
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

async fn follow(name: String, settings: ClusterSettings, every: Duration, signals: Arc<SignalStore>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cluster = Cluster::new(settings.clone());
    let mut failing = 0;
    loop {
        ticks.tick().await;
        let wanted: Vec<_> = signals.wanted_lags().into_iter().filter(|lag| lag.cluster == name).collect();
        if wanted.is_empty() {
            continue;
        }
        let asked = wanted.clone();
        let start = Instant::now();
        let swept = spawn_blocking(move || {
            let answers = cluster.sweep(&asked);
            (cluster, answers)
        });
        let answers = match swept.await {
            Ok((given_back, answers)) => {
                cluster = given_back;
                answers
            }
            Err(error) => {
                tracing::error!(cluster = name, %error, "the sweep of a Kafka cluster ended by itself");
                cluster = Cluster::new(settings.clone());
                continue;
            }
        };
        let errors: Vec<_> = answers.iter().filter_map(|(_, answer)| answer.as_ref().err()).collect();
        signals.metrics().swept(&name, answers.len(), errors.len(), start.elapsed());
        match errors.first() {
            Some(error) if failing != errors.len() => {
                let (failing, of) = (errors.len(), answers.len());
                tracing::warn!(cluster = name, failing, of, %error, "lags of a Kafka cluster are not known: the last ones are used");
            }
            None if failing > 0 => tracing::info!(cluster = name, "all lags of a Kafka cluster are known again"),
            _ => {}
        }
        let all_fail = errors.len() == answers.len();
        signals.kafka_swept(&name, errors.first().filter(|_| all_fail).map(|error| (*error).clone()));
        failing = errors.len();
        signals.commit_lags(answers);
    }
}

/// A cluster: the connection to it, and the state from earlier sweeps.
struct Cluster {
    settings: ClusterSettings,
    connection: Option<(ClientConfig, Admin)>,
    sweeper: Sweeper,
}

impl Cluster {
    fn new(settings: ClusterSettings) -> Self {
        Self { settings, connection: None, sweeper: Sweeper::default() }
    }

    /// Sweeps the cluster. Blocks.
    fn sweep(&mut self, wanted: &[KafkaLag]) -> Answers {
        let admin = match connect(&mut self.connection, &self.settings) {
            Ok(admin) => admin,
            Err(error) => return none_known(wanted, &error),
        };
        let answers = self.sweeper.sweep(admin, wanted, self.settings.read_committed, self.settings.timeout());
        let complaint = admin.complaint();
        if admin.is_spent() {
            self.connection = None;
        }
        let Some(complaint) = complaint else { return answers };
        let explained = |answer: Result<_, String>| answer.map_err(|error| format!("{error} ({complaint})"));
        answers.into_iter().map(|(lag, answer)| (lag, explained(answer))).collect()
    }
}

/// Files are read each time: a changed password or certificate means a new client.
fn connect<'a>(
    connection: &'a mut Option<(ClientConfig, Admin)>,
    settings: &ClusterSettings,
) -> Result<&'a Admin, String> {
    let config = settings.client()?;
    let (_, admin) = match connection.take() {
        Some((same, admin)) if same.config_map() == config.config_map() => connection.insert((same, admin)),
        _ => {
            let admin = Admin::new(&config, settings.oauth().cloned().map(OauthSettings::tokens), settings.timeout())?;
            connection.insert((config, admin))
        }
    };
    Ok(admin)
}
