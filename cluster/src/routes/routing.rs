//! All that `tidegate routes` shows: what is followed, and what is not and why.

use std::collections::BTreeMap;

use tidegate_core::not_followed::NotFollowed;

use super::{BackendClusters, BackendId, aligned, backend_id, discovery, routes_table};
use crate::Objects;

/// The backends of routes, and what of the routes is not followed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Routing {
    /// All backends that routes name, ordered by kind, namespace, name and port; one that nothing reaches has no clusters
    pub backends: Vec<BackendClusters>,
    /// What is not followed, ordered by route
    pub not_followed: Vec<NotFollowed>,
    /// How many routes there are, of any kind
    pub routes: usize,
}

impl Objects {
    /// The clusters that carry the traffic of each backend, and the reasons why some get none.
    pub fn routing(&self) -> Routing {
        let generated = discovery::generated(self);
        let not_followed = discovery::not_followed(self, &generated, discovery::Wanted::All);
        let mut backends: BTreeMap<BackendId, BackendClusters> =
            self.routes().into_iter().map(|backend| (backend.backend.clone(), backend)).collect();
        let mut all = Vec::with_capacity(not_followed.len());
        for one in &not_followed {
            let told = one.told();
            for key in &one.backends {
                let id = backend_id(key);
                let backend = backends.entry(id.clone()).or_insert_with(|| BackendClusters::of(id));
                backend.not_followed.push(told.clone());
            }
            all.push(told);
        }
        Routing { backends: backends.into_values().collect(), not_followed: all, routes: count(self) }
    }
}

fn count(objects: &Objects) -> usize {
    let of_ai = objects.ai_gateway_routes.values().map(BTreeMap::len).sum::<usize>();
    objects.every_route().count() + of_ai
}

impl Routing {
    /// Whether a backend gets traffic by any route.
    pub fn follows_any(&self) -> bool {
        self.backends.iter().any(|backend| !backend.clusters.is_empty())
    }

    /// Both as tables for people; one that would be empty is left out.
    pub fn table(&self) -> String {
        let followed = self.follows_any().then(|| routes_table(&self.backends));
        let refused = (!self.not_followed.is_empty()).then(|| refused_table(&self.not_followed));
        followed.into_iter().chain(refused).collect::<Vec<_>>().join("\n")
    }
}

/// A line per refusal. Envoy Gateway's report is a column only where there is one.
fn refused_table(refused: &[NotFollowed]) -> String {
    let report = |one: &NotFollowed| {
        let verdict = one.envoy_gateway.as_ref();
        verdict.map_or("-".to_owned(), |verdict| {
            let differs = if verdict.agrees { "" } else { "differs: " };
            format!("{differs}{}", verdict.conditions)
        })
    };
    let mut columns = vec![
        ("NOT FOLLOWED", refused.iter().map(NotFollowed::place).collect()),
        ("WHY", refused.iter().map(|one| one.message.clone()).collect::<Vec<_>>()),
    ];
    if refused.iter().any(|one| one.envoy_gateway.is_some()) {
        columns.push(("ENVOY GATEWAY REPORTS", refused.iter().map(report).collect()));
    }
    aligned(&columns)
}

#[cfg(test)]
mod controllers_tests;
#[cfg(test)]
mod dead_ends_tests;
#[cfg(test)]
mod tests;
