//! `tidegate migrate`: what other autoscalers and schedulers say, as Tidegate's annotations.
//!
//! Pure: objects as they stand in files come in, patches and remarks come out. One file per source. What has the same effect is turned
//! into keys of Tidegate; any other trigger of KEDA stays one, in `tidegate.dev/keda-triggers`; what neither says is remarked on.

mod behavior;
mod brokers;
mod cron;
mod downscaler;
mod draft;
mod fields;
mod hpa;
mod http_add_on;
mod keda;
mod kube_green;
mod promql;
mod target;
mod week;

use serde_json::Value;

pub use self::draft::{Migration, Remark};
use self::{brokers::Brokers, draft::Draft, fields::Object};

/// Everything that the objects say, as annotations.
///
/// ```
/// use serde_json::json;
/// use tidegate_cluster::migrate::migrate;
///
/// let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "api"},
///     "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "api"}, "maxReplicas": 8}});
/// let migration = migrate(&[hpa]);
/// assert_eq!(migration.patches()[0]["metadata"]["annotations"]["tidegate.dev/max-replicas"], "8");
/// ```
pub fn migrate(objects: &[Value]) -> Migration {
    let mut migration = Migration::default();
    let mut brokers = Brokers::default();
    for object in objects.iter().filter_map(Object::of) {
        for draft in drafts(&object, objects, &mut brokers) {
            migration.add(draft);
        }
    }
    migration.remarks.extend(brokers.remarks());
    migration.check();
    migration
}

fn drafts(object: &Object<'_>, all: &[Value], brokers: &mut Brokers) -> Vec<Draft> {
    match (object.group, object.kind) {
        ("keda.sh", "ScaledObject") => keda::drafts(object, all, brokers),
        ("keda.sh", "ScaledJob") => vec![keda::scaled_job(object)],
        ("autoscaling", "HorizontalPodAutoscaler") => hpa::drafts(object),
        ("http.keda.sh", "HTTPScaledObject") => vec![http_add_on::draft(object)],
        ("kube-green.com", "SleepInfo") => kube_green::drafts(object),
        _ => downscaler::drafts(object),
    }
}

#[cfg(test)]
mod tests;
