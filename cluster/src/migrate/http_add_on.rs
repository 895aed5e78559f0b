//! HTTPScaledObjects of KEDA's HTTP add-on, and the targets of its InterceptorRoutes.

use serde_json::Value;

use super::{
    behavior,
    draft::{Draft, averaged},
    fields::{Object, scalar},
    target::Target,
};

/// Target where an object gives none (`httpscaledobject_types.go`).
const DEFAULT_TARGET: &str = "100";
/// The time over which requests are averaged where an object gives none.
const DEFAULT_WINDOW: &str = "1m";
/// Most replicas where an object gives none.
const DEFAULT_MAX: i64 = 100;

/// An HTTPScaledObject as annotations of its workload.
pub(super) fn draft(object: &Object<'_>) -> Draft {
    let reference = object.at("/spec/scaleTargetRef");
    let target = reference.and_then(|reference| Target::of_reference(object, reference));
    // Before 0.6 the Deployment had a field of its own.
    let deployment = object.text("/spec/scaleTargetRef/deployment");
    let target = target.or_else(|| Some(Target::beside(object, "apps/v1", "Deployment", deployment?)));
    let mut draft = Draft::new(object, target.clone());
    let why = target.as_ref().map_or_else(|| Some("it names no workload".to_owned()), Target::never_scaled);
    if let Some(why) = why {
        return draft.give_up("spec.scaleTargetRef", why);
    }
    metrics(object, &mut draft);
    replicas(object, &mut draft);
    behavior::turn(&mut draft, "", &Value::Null);
    draft.set("adopt", format!("scaledobject/{}", object.name));
    route(object, &mut draft);
    draft
}

/// The targets of its metrics.
pub(super) fn metrics(object: &Object<'_>, draft: &mut Draft) {
    let target = |path: &str| object.at(path).map(|metric| metric.get("targetValue").and_then(scalar));
    let (rate, concurrency) = (target("/spec/scalingMetric/requestRate"), target("/spec/scalingMetric/concurrency"));
    let pending = object.at("/spec/targetPendingRequests").and_then(scalar);
    if let Some(rate) = &rate {
        draft.set("requests-per-second", rate.clone().unwrap_or_else(|| DEFAULT_TARGET.to_owned()));
        let window = object.text("/spec/scalingMetric/requestRate/window").unwrap_or(DEFAULT_WINDOW);
        draft.note("spec.scalingMetric.requestRate.window", averaged(window));
    }
    if concurrency.is_some() || rate.is_none() {
        let target = concurrency.flatten().or(pending).unwrap_or_else(|| DEFAULT_TARGET.to_owned());
        draft.set("concurrency", target);
    }
}

fn replicas(object: &Object<'_>, draft: &mut Draft) {
    let min = object.number("/spec/replicas/min").unwrap_or(0);
    draft.set("min-replicas", min.max(1).to_string());
    draft.set("max-replicas", object.number("/spec/replicas/max").unwrap_or(DEFAULT_MAX).to_string());
    if min == 0 {
        draft.lost(
            "spec.replicas.min",
            "1 replica is kept: without the add-on's proxy nothing holds a request while there is none",
        );
    }
    // KEDA's `cooldownPeriod`, which is about zero alone.
    if let Some(period) = object.number("/spec/scaledownPeriod") {
        draft.note(
            "spec.scaledownPeriod",
            format!("{period} s was the time before the last replica went; the others wait the HPA's 300 s, as before"),
        );
    }
}

/// Traffic has to come by a route of Envoy Gateway's, and the object has to let go of its ScaledObject.
fn route(object: &Object<'_>, draft: &mut Draft) {
    let service = object.text("/spec/scaleTargetRef/service").unwrap_or("its Service");
    let hosts: Vec<_> = object.list("/spec/hosts").iter().filter_map(Value::as_str).collect();
    let hosts = if hosts.is_empty() { "its hosts".to_owned() } else { hosts.join(", ") };
    draft.note(
        "spec.hosts",
        format!("an HTTPRoute has to lead {hosts} to Service {service}, and not to the add-on's proxy"),
    );
    draft.note(
        "metadata.name",
        format!(
            "annotate it with httpscaledobject.keda.sh/orphan-scaledobject: \"true\" and delete it: what is left of it, ScaledObject \
             {}, is taken over",
            object.name
        ),
    );
}
