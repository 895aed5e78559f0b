use serde_json::json;

use super::*;
use crate::views::{AiBackendRef, BackendTrafficPolicy, EnvoyProxy, Route, Service, Workload};

fn told<T: DeserializeOwned>(mut object: Value) -> Vec<String> {
    let (_, misread) = read::<T>(&mut object).map_err(|reason| format!("{object}: {reason}")).unwrap();
    misread.iter().map(ToString::to_string).collect()
}

#[test]
fn a_field_that_cannot_be_read_is_named_and_the_others_are_read() {
    let mut object = json!({"metadata": {"name": "p"}, "spec": {"mergeGateways": true,
        "provider": {"kubernetes": {"envoyDeployment": {"replicas": "${REPLICAS:=1}"}}}}});
    let (proxy, misread) = read::<EnvoyProxy>(&mut object).unwrap();
    assert_eq!(proxy.spec.merge_gateways, Some(true));
    assert_eq!(
        misread.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "spec.provider.kubernetes.envoyDeployment.replicas is \"${REPLICAS:=1}\", but a number, 0 or more, is wanted: read as if \
          it were not set. It is a variable that Flux substitutes: do so first, with `flux build kustomization NAME --path DIR` or \
          `envsubst`"
        ]
    );
}

#[test]
fn what_was_meant_is_read_where_it_is_plain_and_said() {
    let service = json!({"metadata": {"labels": {"version": 1.5}}, "spec": {"selector": {"on": true}, "ports": [{"port": "80"}]}});
    let mut object = service.clone();
    let (read, _) = read::<Service>(&mut object).unwrap();
    assert_eq!(read.metadata.labels.get("version"), Some("1.5"));
    assert_eq!(read.spec.selector.get("on"), Some("true"));
    assert_eq!(read.spec.ports[0].port, 80);
    let mut told = told::<Service>(service);
    told.sort();
    assert_eq!(
        told,
        [
            "metadata.labels.version is read as 1.5 without quotes, but is a text: set it in quotes",
            "spec.ports[0].port is the text \"80\", but a number up to 65535 is wanted: write 80 without quotes",
            "spec.selector.on is read as true without quotes, but is a text: set it in quotes",
        ]
    );
}

#[test]
fn an_annotation_that_is_a_list_is_said_and_the_object_is_read_without_it() {
    let mut object =
        json!({"metadata": {"annotations": {"tidegate.dev/a": [100], "tidegate.dev/b": 1}}, "spec": {"replicas": 3}});
    let (workload, misread) = read::<Workload>(&mut object).unwrap();
    assert_eq!((workload.spec.replicas, workload.metadata.annotations.iter().count()), (3, 1));
    assert_eq!(
        misread[0].to_string(),
        "metadata.annotations[\"tidegate.dev/a\"] is [100], but a text is wanted: read as if it were not set"
    );
}

#[test]
fn a_word_that_kubectl_reads_as_a_flag_is_one_where_a_flag_is_wanted() {
    let mut object = json!({"metadata": {"name": "p"}, "spec": {"mergeGateways": "Yes"}});
    let (proxy, misread) = read::<EnvoyProxy>(&mut object).unwrap();
    assert_eq!(proxy.spec.merge_gateways, Some(true));
    let [told] = &misread[..] else { panic!("{misread:?}") };
    assert!(told.to_string().ends_with("but true or false is wanted: write true without quotes"), "{told}");
}

#[test]
fn an_annotation_without_quotes_is_read_and_said() {
    let workload = json!({"metadata": {"annotations": {"tidegate.dev/max-replicas": 20, "x.y/z": 3}}, "spec": {"replicas": "two"}});
    let mut object = workload.clone();
    let (read, _) = read::<Workload>(&mut object).unwrap();
    assert_eq!(read.metadata.annotations.get("tidegate.dev/max-replicas"), Some("20"));
    assert_eq!(
        told::<Workload>(workload),
        [
            "metadata.annotations[\"tidegate.dev/max-replicas\"] is read as 20 without quotes, but is a text: set it in quotes",
            "spec.replicas is \"two\", but a number, 0 or more, is wanted: read as if it were not set",
        ]
    );
}

#[test]
fn an_item_of_a_list_keeps_the_places_of_the_others() {
    let mut object = json!({"spec": {"rules": ["x", {"backendRefs": [{"name": "api", "port": "${P}"}]}]}});
    let (route, misread) = read::<Route>(&mut object).unwrap();
    assert_eq!((route.spec.rules.len(), misread.len()), (2, 2), "{misread:?}");
    assert_eq!(route.spec.rules[1].backend_refs[0].name, "api");
}

#[test]
fn a_part_that_is_buffered_is_not_blamed_as_a_whole() {
    let spec = json!({"targetRefs": [{"group": "g", "kind": "Gateway", "name": 5}], "mergeType": "StrategicMerge"});
    let told = told::<BackendTrafficPolicy>(json!({"metadata": {"name": "a"}, "spec": spec}));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("spec.targetRefs[0].name is read as 5 without quotes"), "{told:?}");
}

#[test]
fn what_only_the_api_server_writes_is_ignored() {
    let told =
        told::<Workload>(json!({"metadata": {"generation": "x", "uid": 5}, "status": {"readyReplicas": "none"}}));
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn what_is_no_object_at_all_is_refused() {
    assert!(read::<AiBackendRef>(&mut json!(3)).is_err());
}

proptest::proptest! {
    #[test]
    fn whatever_the_value_of_a_field_the_object_is_read(text in ".{0,12}", number: i64, place in 0..6_usize) {
        for value in [Value::from(text), Value::from(number), json!([number]), json!({"a": number}), json!(true)] {
            let mut object = json!({"metadata": {"name": "a"}, "spec": {"replicas": 1, "template": {"metadata": {"labels": {"a": "b"}}}}});
            let pointer =
                ["/metadata", "/spec", "/spec/replicas", "/spec/template", "/spec/template/metadata/labels", "/spec/template/metadata/labels/a"];
            *object.pointer_mut(pointer[place]).unwrap() = value;
            proptest::prop_assert!(read::<Workload>(&mut object).is_ok());
        }
    }
}
