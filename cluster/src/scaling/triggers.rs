//! The triggers of a ScaledObject: Tidegate's own, and KEDA's beside it.

use serde_json::{Map, Value, json};
use tidegate_core::{
    beside::{KedaTrigger, name_in_formulas},
    intent::Intent,
    key::Key,
    problem::Problem,
    signal::Signal,
    trigger::Trigger,
    workload::WorkloadId,
};

use super::settings::ScalerEndpoint;

/// All triggers of a workload. Without a signal of Tidegate's there is none that asks it.
pub(super) fn triggers(id: &WorkloadId, intent: &Intent, scaler: &ScalerEndpoint) -> Vec<Value> {
    let trigger = Trigger::of_workload(id, intent);
    let own: Vec<_> = if intent.beside.formula.is_some() {
        trigger.split().map(|(signal, trigger)| own(&name_in_formulas(signal), &trigger, scaler)).collect()
    } else if trigger.targets.is_empty() {
        Vec::new()
    } else {
        vec![own("tidegate", &trigger, scaler)]
    };
    own.into_iter().chain(intent.beside.triggers.iter().map(|trigger| json!(trigger))).collect()
}

/// `advanced.scalingModifiers`: KEDA's name for a formula.
pub(super) fn scaling_modifiers(intent: &Intent) -> Option<Value> {
    let formula = intent.beside.formula.as_ref()?;
    let has_hours = intent.target(Signal::Schedule).is_some();
    Some(json!({
        "formula": formula.for_keda(has_hours),
        "target": formula.target.to_string(),
        "activationTarget": formula.activation.to_string(),
        "metricType": "AverageValue",
    }))
}

fn own(name: &str, trigger: &Trigger, scaler: &ScalerEndpoint) -> Value {
    let metadata = trigger.metadata().into_iter();
    let mut metadata: Map<_, _> = metadata.map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    metadata.insert("scalerAddress".to_owned(), Value::from(scaler.address.as_str()));
    if scaler.tls {
        metadata.insert("enableTLS".to_owned(), Value::from("true"));
    }
    let mut trigger = json!({
        "type": "external-push",
        "name": name,
        "metricType": "AverageValue",
        "metadata": metadata,
    });
    if let Some(name) = &scaler.authentication {
        trigger["authenticationRef"] = json!({ "name": name, "kind": "ClusterTriggerAuthentication" });
    }
    trigger
}

/// The problem of a trigger in `keda-triggers` that asks Tidegate itself: its annotations do so already, and hours would not count.
pub(super) fn asks_tidegate(intent: &Intent, scaler: &ScalerEndpoint) -> Option<Problem> {
    let asks = |trigger: &&KedaTrigger| {
        let address = trigger.metadata.get("scalerAddress");
        trigger.scaler.is_external() && address.is_some_and(|address| host(address) == host(&scaler.address))
    };
    let trigger = intent.beside.triggers.iter().find(asks)?;
    Some(Problem::Contradiction(format!(
        "{}: the trigger {} asks Tidegate itself: write its keys as annotations instead, such as {}",
        Key::KedaTriggers.annotation(),
        trigger.label(),
        Key::RequestsPerSecond.annotation()
    )))
}

/// The host of an address, without what the cluster's DNS adds to it.
fn host(address: &str) -> String {
    let address = address.rsplit_once('/').map_or(address, |(_, rest)| rest);
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_end_matches('.');
    let host = host.strip_suffix(".cluster.local").unwrap_or(host);
    host.strip_suffix(".svc").unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use tidegate_core::{intent::Annotations, workload::WorkloadKind};

    use super::*;

    fn intent(pairs: &[(&str, &str)]) -> Intent {
        let annotations: Annotations =
            pairs.iter().map(|(key, value)| (format!("tidegate.dev/{key}"), (*value).to_owned())).collect();
        Intent::of_workload(&annotations, "shop", &Annotations::new()).unwrap().unwrap()
    }

    fn of(pairs: &[(&str, &str)]) -> Vec<Value> {
        let id = WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::Deployment, name: "api".to_owned() };
        let scaler = ScalerEndpoint { address: "tidegate:9090".to_owned(), ..ScalerEndpoint::default() };
        triggers(&id, &intent(pairs), &scaler)
    }

    #[test]
    fn kedas_triggers_stand_beside_tidegates() {
        let nsq = "[{type: nsq, metadata: {topic: mail, depthThreshold: 10}, authenticationRef: {name: nsq}}]";
        let all = of(&[
            ("requests-per-second", "100"),
            ("cpu", "70%"),
            ("memory", "512Mi"),
            ("container", "app"),
            ("keda-triggers", nsq),
        ]);
        assert_eq!(all[0]["name"], "tidegate");
        assert_eq!(
            all[1..],
            [
                json!({"type": "cpu", "name": "cpu", "metricType": "Utilization", "metadata": {"value": "70", "containerName": "app"}}),
                json!({"type": "memory", "name": "memory", "metricType": "AverageValue",
                    "metadata": {"value": "512Mi", "containerName": "app"}}),
                json!({"type": "nsq", "metadata": {"topic": "mail", "depthThreshold": "10"}, "authenticationRef": {"name": "nsq"}}),
            ]
        );
    }

    #[test]
    fn hours_beside_kedas_triggers_are_a_trigger_and_without_any_signal_there_is_none() {
        let hours = of(&[("cpu", "70%"), ("hours", "Mo-Fr 08:00-18:00"), ("timezone", "UTC")]);
        assert_eq!((&hours[0]["metadata"]["schedule"], &hours[1]["type"]), (&json!("true"), &json!("cpu")));
        let alone = of(&[("cpu", "70%")]);
        assert_eq!((alone.len(), &alone[0]["type"]), (1, &json!("cpu")));
    }

    #[test]
    fn beside_a_formula_each_signal_is_a_trigger_of_its_own_that_the_formula_can_name() {
        let asked = [
            ("requests-per-second", "100"),
            ("kafka-lag", "50"),
            ("kafka-group", "mail"),
            ("hours", "24/7"),
            ("timezone", "UTC"),
            ("formula", "requests_per_second + 2 * kafka_lag + jobs"),
            ("formula-target", "80"),
            ("keda-triggers", "[{type: nsq, name: jobs, metadata: {topic: a}}]"),
        ];
        let all = of(&asked);
        let names: Vec<_> = all.iter().map(|trigger| trigger["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["requests_per_second", "kafka_lag", "schedule", "jobs"]);
        assert_eq!(
            all[0]["metadata"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["requestsPerSecond", "scalerAddress", "workload"]
        );
        assert_eq!(
            (&all[1]["metadata"]["kafkaGroup"], &all[2]["metadata"]["schedule"]),
            (&json!("mail"), &json!("true"))
        );
        let modifiers = scaling_modifiers(&intent(&asked)).unwrap();
        assert_eq!((&modifiers["target"], &modifiers["activationTarget"]), (&json!("80"), &json!("0")));
        assert!(modifiers["formula"].as_str().unwrap().contains("max(tidegate_formula, schedule * 80)"), "{modifiers}");
    }

    #[test]
    fn a_trigger_that_asks_tidegate_itself_is_refused_however_it_spells_the_address() {
        let scaler =
            ScalerEndpoint { address: "tidegate.tidegate-system.svc:9090".to_owned(), ..ScalerEndpoint::default() };
        let refused = |kind: &str, address: &str| {
            let text = format!("[{{type: {kind}, metadata: {{scalerAddress: '{address}'}}}}]");
            asks_tidegate(&intent(&[("keda-triggers", &text)]), &scaler).is_some()
        };
        for address in [
            "tidegate.tidegate-system.svc:9090",
            "tidegate.tidegate-system:9090",
            "dns:///Tidegate.tidegate-system.svc.cluster.local.:9090",
        ] {
            assert!(refused("external-push", address) && refused("external", address), "{address}");
        }
        assert!(!refused("external-push", "their-scaler.tidegate-system.svc:9090"));
        assert!(!refused("metrics-api", "tidegate.tidegate-system.svc:9090"), "another scaler's setting");
    }
}
