//! Starts everything that follows the cluster.

use kube::Client;
use tokio::task::JoinSet;

use super::{Watches, configuration, serving, settings::WatchSettings, strangers, waiting};

/// Starts the watches, until the result is dropped.
pub fn start(client: &Client, settings: &WatchSettings) -> (Watches, JoinSet<()>) {
    let (watches, mut tasks) = Watches::start(client, settings);
    for config_map in settings.config_maps.clone() {
        tasks.spawn(configuration::follow(client.clone(), watches.clone(), config_map));
    }
    tasks.spawn(serving::follow(client.clone(), watches.clone()));
    tasks.spawn(strangers::report(watches.clone()));
    tasks.spawn(waiting::report(watches.clone()));
    (watches, tasks)
}
