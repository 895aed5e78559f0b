//! The Tidegate that is installed: its releases, its readiness, its sources, its version.

use super::{
    finding::Finding,
    object::{arguments, name, namespace},
    site::Site,
    versions,
};
use crate::version::VERSION;

/// Two releases that watch all namespaces would each write the ScaledObjects of the other, if they were not kept from it.
pub(super) fn one_release(site: &Site) -> Vec<Finding> {
    let places: Vec<_> =
        site.tidegates.iter().map(|deployment| format!("{}/{}", namespace(deployment), name(deployment))).collect();
    let everywhere = site.tidegates.iter().filter(|deployment| arguments(deployment, "--namespace").is_empty()).count();
    match places.len() {
        0 | 1 => Finding::ok(places.join("")),
        _ if everywhere == 0 => Finding::ok(format!("{}, each in namespaces of its own", places.join(", "))),
        several => vec![Finding::warning(
            format!("{several} are installed: {}", places.join(", ")),
            "have each watch namespaces of its own (namespaces in the chart's values), or remove one",
        )],
    }
}

pub(super) fn ready(site: &Site) -> Vec<Finding> {
    let answer = match &site.readyz {
        Ok(answer) => answer,
        Err(failure) => {
            let namespace = &site.installed.system_namespace;
            return vec![Finding::failure(
                failure.to_string(),
                format!("`kubectl -n {namespace} logs deploy/tidegate`"),
            )];
        }
    };
    let failed = answer.body.lines().filter_map(|line| line.strip_prefix("[-]"));
    let failed = failed.map(|what| Finding::failure(what, "Tidegate does nothing until then"));
    Finding::or_ok(failed.collect(), site.tidegates.iter().map(versions::image).collect::<Vec<_>>().join(", "))
}

/// What is not required to be ready: sources that do not answer, and kinds that cannot be watched.
pub(super) fn sources(site: &Site) -> Vec<Finding> {
    let Ok(answer) = &site.readyz else { return Finding::unknown("Tidegate does not answer") };
    let failed = answer.body.lines().filter_map(|line| line.strip_prefix("[ ]"));
    // A CRD that is not installed is the business of whoever wants the kind.
    let failed = failed.filter(|what| !what.contains("the API server does not serve it"));
    let failed =
        failed.map(|what| Finding::warning(what, "its last values are used for --stale-after, then replicas are held"));
    let good = answer.body.lines().filter(|line| line.starts_with("[+]source ")).count();
    Finding::or_ok(failed.collect(), format!("{good} of {good}"))
}

pub(super) fn versions(site: &Site) -> Vec<Finding> {
    match &site.server {
        Ok(server) if server.version == VERSION => Finding::ok(VERSION),
        Ok(server) => vec![Finding::warning(
            format!("this command is {VERSION}, and Tidegate in the cluster {}", server.version),
            "use the command of the same version, or upgrade the chart",
        )],
        Err(failure) => Finding::unknown(failure),
    }
}
