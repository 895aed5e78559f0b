//! KEDA's ScaledObjects.

mod cron;
mod kafka;
mod prometheus;
pub(super) mod resource;

use serde_json::Value;
use tidegate_core::{key::PREFIX, yaml};

use super::{
    behavior,
    brokers::Brokers,
    draft::Draft,
    fields::{Object, scalar, text},
    http_add_on,
    target::Target,
};

/// `minReplicaCount` and `maxReplicaCount` where an object gives none (`scaledobject_types.go`).
const DEFAULT_BOUNDS: Bounds = Bounds { min: 0, max: 100 };
/// `cooldownPeriod` where an object gives none, in seconds; as long as Tidegate's `scale-down-after`.
const DEFAULT_COOLDOWN: i64 = 300;
/// Prefix of the annotations that stop a ScaledObject.
const PAUSED: &str = "autoscaling.keda.sh/paused";

/// Lowest and highest number of replicas.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    min: i64,
    max: i64,
}

/// One of `spec.triggers`.
#[derive(Debug, Clone, Copy)]
struct Trigger<'a> {
    position: usize,
    value: &'a Value,
}

impl Trigger<'_> {
    fn kind(&self) -> &str {
        text(self.value, "type").unwrap_or_default()
    }

    fn metric_type(&self) -> Option<&str> {
        text(self.value, "metricType").filter(|text| !text.is_empty())
    }

    /// A value of its metadata that is not empty.
    fn get(&self, key: &str) -> Option<String> {
        self.value.get("metadata")?.get(key).and_then(scalar).filter(|value| !value.is_empty())
    }

    /// The first key of its metadata that names a variable of the pod's environment.
    fn env_key(&self) -> Option<&str> {
        let metadata = self.value.get("metadata")?.as_object()?;
        metadata.keys().find(|key| key.ends_with("FromEnv")).map(String::as_str)
    }

    /// KEDA's default is the value per replica, which is Tidegate's only way.
    fn is_per_replica(&self) -> Result<(), String> {
        match self.metric_type() {
            None | Some("AverageValue") => Ok(()),
            Some(other) => Err(format!("its metricType is {other}, and Tidegate's targets are per replica")),
        }
    }

    /// The path of one of its fields, for remarks.
    fn field(&self, path: &str) -> String {
        format!("spec.triggers[{}].{path}", self.position)
    }
}

/// A ScaledObject as annotations of its workload; none for Tidegate's own, and for those of the HTTP add-on, whose sources say the same.
pub(super) fn drafts(object: &Object<'_>, all: &[Value], brokers: &mut Brokers) -> Vec<Draft> {
    let is_tidegates = object.text("/metadata/labels/app.kubernetes.io~1managed-by") == Some("tidegate");
    if is_tidegates || object.is_owned_by("HTTPScaledObject") {
        return Vec::new();
    }
    let target = object.at("/spec/scaleTargetRef").and_then(|reference| Target::of_reference(object, reference));
    let foreign_kind = target.clone().filter(|target| !target.is_workload());
    let mut draft = Draft::new(object, target.clone());
    let why = target.as_ref().map_or_else(|| Some("it names no workload".to_owned()), Target::never_scaled);
    if let Some(why) = why {
        return vec![draft.give_up("spec.scaleTargetRef", why)];
    }
    if object.text("/spec/advanced/scalingModifiers/formula").is_some_and(|formula| !formula.is_empty()) {
        let why = "a formula over triggers has no key; the ScaledObject is left to itself";
        return vec![draft.give_up("spec.advanced.scalingModifiers", why)];
    }
    if let Some(target) = foreign_kind {
        draft.note("spec.scaleTargetRef", format!("{target} is annotated: see whether this Tidegate scales its kind"));
    }
    draft.set("adopt", format!("scaledobject/{}", object.name));
    triggers(object, all, brokers, &mut draft);
    behaviour(object, &mut draft);
    others(object, &mut draft);
    vec![draft]
}

/// ScaledJobs start a Job per piece of work.
pub(super) fn scaled_job(object: &Object<'_>) -> Draft {
    Draft::new(object, None).give_up("", "it starts Jobs, which Tidegate does not; leave it to KEDA")
}

fn triggers(object: &Object<'_>, all: &[Value], brokers: &mut Brokers, draft: &mut Draft) {
    let list = object.list("/spec/triggers").iter().enumerate();
    let (crons, rest): (Vec<_>, Vec<_>) =
        list.map(|(position, value)| Trigger { position, value }).partition(|trigger| trigger.kind() == "cron");
    let mut kept = Vec::new();
    for trigger in &rest {
        if let Err(why) = turn(trigger, object, all, brokers, draft) {
            draft.note(
                trigger.field("type"),
                format!("{} stays KEDA's, in tidegate.dev/keda-triggers: {why}", trigger.kind()),
            );
            kept.push(*trigger);
        }
    }
    let mut bounds = Bounds {
        min: object.number("/spec/minReplicaCount").unwrap_or(DEFAULT_BOUNDS.min),
        max: object.number("/spec/maxReplicaCount").unwrap_or(DEFAULT_BOUNDS.max),
    };
    let wakes = draft.has("kafka-lag") || !kept.is_empty() || rest.is_empty();
    if bounds.min == 0 && !wakes {
        bounds.min = 1;
        keeps_one(object, draft);
    }
    let beside = !kept.is_empty() || draft.has("cpu") || draft.has("memory");
    let others = match (rest.is_empty(), beside) {
        (true, _) => Others::None,
        (false, false) => Others::Tidegates,
        (false, true) => Others::Kedas,
    };
    if let Err(why) = hours(&crons, others, bounds, draft) {
        draft.note("spec.triggers", format!("cron stays KEDA's, in tidegate.dev/keda-triggers: {why}"));
        kept.extend(&crons);
    }
    if !draft.has("min-replicas") {
        draft.set("min-replicas", bounds.min.to_string());
    }
    draft.set("max-replicas", bounds.max.to_string());
    keep(&kept, draft);
}

/// The traffic of a workload at zero is not counted, and nothing would wake it.
fn keeps_one(object: &Object<'_>, draft: &mut Draft) {
    let why = "1 replica is kept: at zero Envoy Gateway has no endpoint, and no request is counted that could wake it";
    match object.number("/spec/minReplicaCount") {
        Some(_) => draft.lost("spec.minReplicaCount", why),
        None => draft.note("spec.minReplicaCount", format!("0 is KEDA's default, but {why}")),
    }
}

fn turn(
    trigger: &Trigger<'_>,
    object: &Object<'_>,
    all: &[Value],
    brokers: &mut Brokers,
    draft: &mut Draft,
) -> Result<(), String> {
    match trigger.kind() {
        "prometheus" => prometheus::turn(trigger, draft),
        "kafka" | "apache-kafka" => kafka::turn(trigger, brokers, draft),
        key @ ("cpu" | "memory") => resource::turn(trigger, key, draft),
        "external-push" | "external" => of_add_on(trigger, object, all, draft),
        _ => Err("Tidegate has no key for it".to_owned()),
    }
}

/// A trigger on the HTTP add-on's scaler, whose targets stand in another object.
fn of_add_on(trigger: &Trigger<'_>, object: &Object<'_>, all: &[Value], draft: &mut Draft) -> Result<(), String> {
    let none = || "Tidegate has no key for it".to_owned();
    let name = trigger.get("interceptorRoute").or_else(|| trigger.get("httpScaledObject")).ok_or_else(none)?;
    let mut routes = all.iter().filter_map(Object::of).filter(|route| route.group == "http.keda.sh");
    let route = routes.find(|route| route.name == name && route.namespace == object.namespace);
    let route = route.ok_or_else(|| format!("{name}, which has its target, is not among the files"))?;
    http_add_on::metrics(&route, draft);
    Ok(())
}

/// The triggers beside `cron`.
#[derive(Debug, Clone, Copy)]
enum Others {
    None,
    /// All are signals of Tidegate now
    Tidegates,
    /// Some are KEDA's, or CPU or memory
    Kedas,
}

fn hours(crons: &[Trigger<'_>], others: Others, bounds: Bounds, draft: &mut Draft) -> Result<(), String> {
    if crons.is_empty() {
        return Ok(());
    }
    match others {
        Others::None => {
            cron::hours(crons)?.alone(bounds, draft);
            Ok(())
        }
        Others::Tidegates => cron::hours(crons)?.beside_others(bounds, draft),
        // Hours do not clamp these: they would be held by a pause, at as many replicas as are allowed outside.
        Others::Kedas => {
            Err("outside of hours Tidegate pauses what scales on CPU, memory or a trigger of KEDA's".to_owned())
        }
    }
}

fn keep(kept: &[Trigger<'_>], draft: &mut Draft) {
    if kept.is_empty() {
        return;
    }
    let list: Vec<_> = kept.iter().map(|trigger| trigger.value.clone()).collect();
    match yaml::write(&list.into()) {
        Ok(yaml) => draft.set("keda-triggers", yaml),
        Err(error) => draft.lost("spec.triggers", error.to_string()),
    }
}

fn behaviour(object: &Object<'_>, draft: &mut Draft) {
    const PATH: &str = "spec.advanced.horizontalPodAutoscalerConfig.behavior";
    let behavior = object.at("/spec/advanced/horizontalPodAutoscalerConfig/behavior");
    let is_cron = |trigger: &Value| text(trigger, "type") == Some("cron");
    // A number of replicas that the clock alone gives is to be reached exactly.
    let hours_only = draft.has("hours") && object.list("/spec/triggers").iter().all(is_cron);
    if behavior.is_some() || !hours_only {
        behavior::turn(draft, PATH, behavior.unwrap_or(&Value::Null));
    }
    let is_zero = |key: &str| draft.annotations.get(&format!("{PREFIX}{key}")).is_some_and(|replicas| replicas == "0");
    // Where one replica is kept, KEDA's cool-down has no effect.
    let to_zero = is_zero("min-replicas") || (hours_only && is_zero("off-hours-replicas"));
    let Some(cooldown) = object.number("/spec/cooldownPeriod").filter(|_| to_zero) else { return };
    if draft.has("scale-down-after") {
        draft.note(
            "spec.cooldownPeriod",
            format!(
                "{cooldown} s: tidegate.dev/scale-down-after holds for the way to zero, too, and has the HPA's window"
            ),
        );
    } else if cooldown != DEFAULT_COOLDOWN {
        draft.set("scale-down-after", format!("{cooldown}s"));
        draft.note(
            "spec.cooldownPeriod",
            format!(
                "{cooldown} s, which was for the way to zero, is tidegate.dev/scale-down-after now and for every way down; above \
                 zero the HPA waited 300 s"
            ),
        );
    }
}

fn others(object: &Object<'_>, draft: &mut Draft) {
    if object.at("/spec/fallback").is_some() {
        draft.lost("spec.fallback", "while a signal is unknown Tidegate leaves the replicas as they are");
    }
    if object.at("/spec/idleReplicaCount").is_some() {
        draft.lost(
            "spec.idleReplicaCount",
            "there is no number for a workload without load but tidegate.dev/min-replicas",
        );
    }
    if object.at("/spec/advanced/restoreToOriginalReplicaCount") == Some(&Value::Bool(true)) {
        draft.lost(
            "spec.advanced.restoreToOriginalReplicaCount",
            "without its annotations a workload keeps the replicas that it has",
        );
    }
    if let Some(annotations) = object.at("/metadata/annotations").and_then(Value::as_object) {
        for key in annotations.keys().filter(|key| key.starts_with("downscaler/")) {
            draft.lost(
                format!("metadata.annotations[{key}]"),
                "hours stand on the workload: write it there and migrate that",
            );
        }
        for key in annotations.keys().filter(|key| key.starts_with(PAUSED)) {
            draft.lost(
                format!("metadata.annotations[{key}]"),
                "it is stopped, and is not taken over until that is removed; tidegate.dev/paused: \"true\" leaves it as it is",
            );
        }
    }
}
