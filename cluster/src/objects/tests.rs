use proptest::prelude::*;
use serde_json::json;

use super::*;

fn service(name: &str, ports: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": ports}})
}

#[test]
fn a_kind_that_means_nothing_here_is_ignored() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    assert_eq!(Objects::default().apply(secret), Ok(false));
}

#[test]
fn what_is_no_object_is_refused() {
    for value in [
        json!(null),
        json!(3),
        json!([]),
        json!({"kind": "Service"}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {}}),
    ] {
        assert!(
            matches!(Objects::default().apply(value.clone()), Err(ObjectError::NotAnObject(_)) | Ok(false)),
            "{value}"
        );
    }
}

#[test]
fn an_object_that_cannot_be_read_leaves_what_was_known_of_it() {
    let mut objects = Objects::default();
    objects.apply(service("a", &json!([{"port": 80}]))).unwrap();
    let error = objects.apply(service("a", &json!([{"port": "http"}]))).unwrap_err();
    assert_eq!(error.to_string(), r#"Service shop/a: invalid type: string "http", expected u16"#);
    assert_eq!(objects.services["shop"]["a"].spec.ports[0].port, 80);
}

#[test]
fn what_a_list_lacks_is_forgotten_in_the_namespace_of_the_list_alone() {
    let mut objects = Objects::default();
    for (namespace, name) in [("shop", "a"), ("shop", "b"), ("other", "b")] {
        let mut service = service(name, &json!([]));
        service["metadata"]["namespace"] = json!(namespace);
        objects.apply(service).unwrap();
    }
    let known = |objects: &Objects| -> Vec<_> {
        let names = |(namespace, names): (&String, &BTreeMap<String, _>)| {
            names.keys().map(|name| format!("{namespace}/{name}")).collect::<Vec<_>>()
        };
        objects.services.iter().flat_map(names).collect()
    };
    let is_a = |_: &str, name: &str| name == "a";
    objects.keep_listed(Kind::Service, Some("shop"), is_a);
    assert_eq!(known(&objects), ["other/b", "shop/a"]);
    let revision = objects.revision();
    objects.keep_listed(Kind::Service, Some("shop"), is_a);
    assert_eq!(objects.revision(), revision, "nothing was missing");
    objects.keep_listed(Kind::Service, None, is_a);
    assert_eq!(known(&objects), ["shop/a"]);
}

#[test]
fn a_removed_object_is_gone() {
    let mut objects = Objects::default();
    objects.apply(service("a", &json!([]))).unwrap();
    objects.remove(Kind::Service, "shop", "a");
    objects.remove(Kind::Service, "shop", "a");
    assert!(objects.services.is_empty());
    objects.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})).unwrap();
    objects.remove(Kind::Namespace, "shop", "shop");
    assert!(objects.namespaces.is_empty());
}

#[test]
fn nulls_are_absent_fields() {
    let null = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "annotations": null, "labels": null},
        "spec": {"selector": null, "ports": [{"port": 80, "protocol": null}]}});
    assert_eq!(Objects::default().apply(null), Ok(true));
}

#[test]
fn only_pods_of_proxies_and_their_owners_are_kept() {
    for kind in [Kind::Pod, Kind::ReplicaSet, Kind::DaemonSet] {
        let mut objects = Objects::default();
        let object = |labels: Value| {
            json!({"apiVersion": kind.api_version(kind.versions()[0]), "kind": kind.as_str(),
                "metadata": {"name": "a", "labels": labels}, "spec": {"template": {"metadata": {"labels": labels}}}})
        };
        let other = object(json!({"app": "api"}));
        objects.apply(other).unwrap();
        assert_eq!(objects.count(kind), 0);
        let proxy = json!({"app.kubernetes.io/component": "proxy", "app.kubernetes.io/managed-by": "envoy-gateway"});
        objects.apply(object(proxy)).unwrap();
        assert_eq!(objects.count(kind), 1);
    }
}

#[test]
fn foreign_scalers_are_those_that_neither_tidegate_nor_keda_made() {
    let mut objects = Objects::default();
    let scaled = |name: &str, labels: Value| {
        json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject",
            "metadata": {"name": name, "namespace": "shop", "labels": labels},
            "spec": {"scaleTargetRef": {"name": name}}})
    };
    let hpa = |name: &str, owners: Value| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": name, "namespace": "shop", "ownerReferences": owners},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db"}}})
    };
    let owner = json!([{"kind": "ScaledObject", "name": "db", "uid": "1", "controller": true}]);
    for object in [
        scaled("ours", json!({"app.kubernetes.io/managed-by": "tidegate"})),
        scaled("theirs", json!({})),
        hpa("by-keda", owner),
        hpa("by-hand", json!([])),
    ] {
        objects.apply(object).unwrap();
    }
    let id = |kind, name: &str| WorkloadId { namespace: "shop".into(), kind, name: name.into() };
    let expected = BTreeMap::from([
        (
            id(WorkloadKind::Deployment, "theirs"),
            vec![ForeignScaler { kind: Kind::ScaledObject, name: "theirs".into() }],
        ),
        (
            id(WorkloadKind::StatefulSet, "db"),
            vec![ForeignScaler { kind: Kind::HorizontalPodAutoscaler, name: "by-hand".into() }],
        ),
    ]);
    assert_eq!(objects.foreign_scalers(), expected);
}

#[test]
fn namespaces_say_what_is_wrong_with_them() {
    let mut objects = Objects::default();
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop",
        "annotations": {"tidegate.dev/manage": "some"}}});
    objects.apply(namespace).unwrap();
    let problems: Vec<_> = objects.namespaces().map(|(name, problems)| (name.to_owned(), problems.len())).collect();
    assert_eq!(problems, [("shop".to_owned(), 1)]);
}

/// Values that often look like the objects that are read, with fields of any type.
fn any_object() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just("a"),
            Just("HTTP"),
            Just("All"),
            Just("Service"),
            Just("Backend"),
            Just("RegularExpression"),
            Just("*")
        ]
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("name"),
        Just("namespace"),
        Just("kind"),
        Just("group"),
        Just("port"),
        Just("ports"),
        Just("rules"),
        Just("backendRefs"),
        Just("filters"),
        Just("matches"),
        Just("parentRefs"),
        Just("hostnames"),
        Just("listeners"),
        Just("protocol"),
        Just("tls"),
        Just("type"),
        Just("weight"),
        Just("value"),
        Just("selector"),
        Just("labels"),
        Just("annotations"),
        Just("endpoints"),
        Just("fqdn"),
        Just("hostname"),
        Just("spec"),
        Just("targetRef"),
    ]
    .prop_map(str::to_owned);
    let value = scalar.prop_recursive(5, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    let kinds = Kind::ALL.iter().copied().chain(WorkloadKind::KNOWN.map(Kind::of_workload)).collect::<Vec<_>>();
    (proptest::sample::select(kinds), value.clone(), value, "[a-c]").prop_map(|(kind, spec, status, name)| {
        let version = kind.versions()[0];
        let api_version = if kind.api_group().is_empty() { version.to_owned() } else { format!("{}/{version}", kind.api_group()) };
        json!({"apiVersion": api_version, "kind": kind.as_str(), "metadata": {"name": name}, "spec": spec, "status": status})
    })
}

proptest! {
    #[test]
    fn no_objects_panic(values in proptest::collection::vec(any_object(), 0..12)) {
        let mut objects = Objects::default();
        for value in values {
            let _ = objects.apply(value);
        }
        let _ = (objects.plan(), objects.routes(), objects.foreign_scalers());
    }
}

#[test]
fn a_status_that_nothing_reads_is_no_change_and_one_that_is_read_is_one() {
    let mut objects = Objects::default();
    let mut revision = 0;
    let mut changes = |object: Value| {
        assert!(objects.apply(object).unwrap());
        let changed = objects.revision() != revision;
        revision = objects.revision();
        changed
    };
    let hpa = |current: u32| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "api", "namespace": "shop", "resourceVersion": current.to_string()},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "api"}}, "status": {"currentReplicas": current}})
    };
    let scaled_object = |active: &str, max: u32| {
        json!({"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"scaleTargetRef": {"name": "api"}, "maxReplicaCount": max},
            "status": {"conditions": [{"type": "Active", "status": active}], "lastActiveTime": active}})
    };
    let deployment = |ready: u32, updated: u32| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "shop"},
            "spec": {"replicas": 3}, "status": {"readyReplicas": ready, "updatedReplicas": updated}})
    };
    assert!(changes(hpa(1)) && changes(scaled_object("False", 5)) && changes(deployment(0, 0)));
    assert!(!changes(hpa(2)), "replicas of an HPA");
    assert!(!changes(scaled_object("True", 5)), "conditions of a ScaledObject");
    assert!(!changes(deployment(0, 3)), "updated replicas");
    assert!(changes(scaled_object("True", 6)), "the spec of a ScaledObject is compared with what it should be");
    assert!(changes(deployment(3, 3)), "ready replicas are part of the Plan");
    objects.remove(Kind::HorizontalPodAutoscaler, "shop", "api");
    assert_ne!(objects.revision(), revision);
    let removed = objects.revision();
    objects.remove(Kind::HorizontalPodAutoscaler, "shop", "api");
    assert_eq!(objects.revision(), removed, "what was not there");
}
