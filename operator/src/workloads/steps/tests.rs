mod adopted_replicas;
mod kinds;
mod scaled_object;
mod takeover;
mod understood;

use serde_json::json;
use tidegate_cluster::scaling::ScalerEndpoint;
use tidegate_core::workload::WorkloadKind;

use super::*;

fn settings() -> Settings {
    let address = "tidegate:9090".to_owned();
    let scaler = ScalerEndpoint { address, ..ScalerEndpoint::default() };
    Settings { scaler, release: "tidegate-system.tidegate".to_owned(), tolerance: true }
}

fn monday(time: &str) -> DateTime<Utc> {
    format!("2026-03-02T{time}:00Z").parse().unwrap()
}

fn workload(kind: &str, name: &str, annotations: &Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-of-{name}"), "annotations": annotations},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": name}}}}})
}

fn annotated(kind: &str) -> Value {
    workload(kind, "api", &json!({"tidegate.dev/requests-per-second": "100"}))
}

fn cluster(objects: impl IntoIterator<Item = Value>) -> Objects {
    let mut all = Objects::default();
    for object in objects {
        assert!(all.apply(object).unwrap());
    }
    all
}

fn steps_of(objects: &Objects) -> Steps {
    steps(&objects.plan(), objects, &settings(), &Entries::new(), monday("12:00"))
}

/// The applied object, as the API server keeps it.
fn applied(steps: &Steps) -> Value {
    let [Step::Apply(_, object)] = &steps.steps[..] else { panic!("{steps:?}") };
    object.parsed()
}

fn notices(steps: &Steps) -> Vec<&'static str> {
    steps.notices.values().flatten().map(|notice| notice.reason().as_str()).collect()
}
