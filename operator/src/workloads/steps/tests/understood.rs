//! What was understood of annotations is said.

use super::*;

/// The events about a workload with hours, of a service that finds these objects when it starts.
fn understood_of(objects: &Objects) -> Vec<String> {
    let all = steps_of(objects).notices.into_values().flatten();
    all.filter_map(|notice| if let WorkloadNotice::Understood(what) = notice { Some(what) } else { None }).collect()
}

#[test]
fn what_was_understood_is_said_once_and_again_only_when_it_changes() {
    let hours = |minimum: &str| {
        let annotations = json!({
            "tidegate.dev/hours": "Mo-Fr 08:00-18:00", "tidegate.dev/timezone": "UTC",
            "tidegate.dev/kafka-lag": "50", "tidegate.dev/kafka-group": "billing", "tidegate.dev/min-replicas": minimum,
        });
        workload("Deployment", "api", &annotations)
    };
    let mut objects = cluster([hours("2")]);
    let wanted = "scales on messages that wait for group billing, 50 per replica, 2 to 10 replicas within its hours";
    assert_eq!(understood_of(&objects), [wanted]);
    objects.apply(applied(&steps_of(&objects))).unwrap();
    assert_eq!(understood_of(&objects), [""; 0], "not after a restart");
    objects.apply(hours("3")).unwrap();
    assert_eq!(understood_of(&objects), [wanted.replace("2 to", "3 to")]);
}

#[test]
fn nothing_is_said_to_be_understood_while_something_is_missing() {
    let objects = cluster([annotated("Deployment")]);
    assert_eq!(understood_of(&objects), [""; 0], "no route leads to it");
}
