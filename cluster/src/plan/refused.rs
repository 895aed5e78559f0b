//! The routes that name a Service or pool of a workload and do not lead to it.
//!
//! Looking for reasons costs as much as following routes, so it is done only where one is wanted: for workloads of Tidegate's that
//! no route reaches, and for routes that Envoy Gateway itself refuses.

use std::collections::{BTreeMap, HashSet};

use tidegate_core::{
    ids::ServiceId,
    llm::Destination,
    plan::ClusterShare,
    signal::Family,
};

use super::{KnownWorkload, POOL, Workloads};
use crate::{
    Objects,
    discovery::{self, BackendKey, Wanted},
    views::Route,
};

/// The Services and pools that routes lead to.
type Followed = BTreeMap<ServiceId, Vec<ClusterShare>>;

impl Workloads<'_> {
    /// Adds to each workload what is not followed of the routes that name its Services.
    pub(super) fn add_refusals(&mut self, generated: &[Route], services: &Followed, pools: &Followed) {
        let unreached: HashSet<_> =
            self.all.iter().filter(|known| known.wants_traffic() && known.traffic.is_empty()).map(|k| k.namespace).collect();
        let followed: HashSet<_> = services.keys().chain(pools.keys()).map(|id| (&*id.namespace, &*id.name)).collect();
        // A workload behind a Service that is followed has traffic.
        let wanted = |key: &BackendKey<'_>| {
            unreached.contains(key.namespace) && !followed.contains(&(key.namespace, key.name))
        };
        if unreached.is_empty() && !has_refused_routes(self.objects) {
            return;
        }
        for refused in discovery::not_followed(self.objects, generated, Wanted::Behind(&wanted)) {
            let told = refused.told();
            let keys = refused.backends.iter().filter_map(|key| discovery::behind(self.objects, key));
            let behind: HashSet<_> = keys.flat_map(|key| self.behind(&destination(&key))).collect();
            for i in behind {
                if let Some(known) = self.all.get_mut(i).filter(|known| known.intent.is_some()) {
                    known.not_followed.push(told.clone());
                }
            }
        }
    }
}

impl KnownWorkload<'_> {
    /// Whether it is scaled on traffic, or would be if its annotations were right.
    fn wants_traffic(&self) -> bool {
        self.intent.as_ref().is_some_and(|intent| match intent {
            Ok(intent) => intent.targets.iter().any(|target| target.signal.family() == Family::Traffic),
            Err(_) => true,
        })
    }
}

/// Whether Envoy Gateway refuses any route.
fn has_refused_routes(objects: &Objects) -> bool {
    let tables = [&objects.http_routes, &objects.grpc_routes, &objects.tcp_routes, &objects.tls_routes];
    tables.iter().flat_map(|table| table.values()).flat_map(BTreeMap::values).any(Route::is_refused)
}

fn destination(key: &BackendKey<'_>) -> Destination {
    let id = ServiceId { namespace: key.namespace.to_owned(), name: key.name.to_owned() };
    if key.kind == POOL { Destination::Pool(id) } else { Destination::Service(id) }
}
