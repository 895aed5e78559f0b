use proptest::prelude::*;
use serde_json::json;
use tidegate_core::workload::{WorkloadId, WorkloadKind};

use super::*;

fn read_with(text: &str, settings: &ManifestSettings) -> Manifests {
    Manifests::of_text(Path::new("a.yaml"), text, settings)
}

fn read(text: &str) -> Manifests {
    read_with(text, &ManifestSettings::default())
}

fn messages(text: &str) -> Vec<String> {
    read(text).errors.iter().map(ToString::to_string).collect()
}

fn services(text: &str) -> usize {
    let read = read(text);
    assert!(read.errors.is_empty(), "{:?}", read.errors);
    read.objects.count(Kind::Service)
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";

#[test]
fn several_documents_and_comments_are_read() {
    let other = SERVICE.replace("name: a", "name: b");
    assert_eq!(services(&format!("# a comment\n---\n{SERVICE}---\n# only a comment\n---\n{other}...\n")), 2);
    assert_eq!(services(&format!("%YAML 1.2\n---\n{SERVICE}")), 1);
    assert_eq!(services("--- {apiVersion: v1, kind: Service, metadata: {name: a}}\n"), 1);
    assert_eq!(services(""), 0);
}

#[test]
fn a_marker_inside_a_block_is_no_marker_when_it_is_indented() {
    let text = format!("{SERVICE}  # x\nspec:\n  note: |\n    ---\n    text\n");
    assert_eq!(services(&text), 1);
}

#[test]
fn lists_are_read_whatever_their_kind() {
    let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "ServiceList", "items": [{"metadata": {"name": "b"}}]}]}"#;
    assert_eq!(services(list), 2);
}

#[test]
fn json_objects_may_follow_each_other() {
    let object =
        |name| format!("{{\t\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {{\"name\": \"{name}\"}}}}");
    assert_eq!(services(&format!("{}\n{}", object("a"), object("b"))), 2);
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    let text = "apiVersion: v1\nkind: Service\nx: &base {name: a}\nmetadata:\n  <<: *base\n";
    assert_eq!(services(text), 1);
}

#[test]
fn an_error_names_file_and_line_and_the_rest_is_read() {
    let text = format!("kind: Service\nmetadata:\n  name: [\n---\n{SERVICE}");
    assert_eq!(messages(&text), ["a.yaml:3: unclosed bracket '['"]);
    assert_eq!(read(&text).objects.count(Kind::Service), 1);
    let text = format!("{SERVICE}---\napiVersion: v1\nkind: Service\nmetadata: {{name: b}}\nspec:\n  ports: 3\n");
    assert_eq!(
        messages(&text),
        ["a.yaml:9: Service b: spec.ports is 3, but a list is wanted: read as if it were not set"]
    );
    assert_eq!(read(&text).objects.count(Kind::Service), 2);
    assert_eq!(messages("# x\n\na: b"), ["a.yaml:3: not a Kubernetes object: it has no kind"]);
}

#[test]
fn templates_are_recognised_and_the_tool_is_named() {
    let helm = format!("{SERVICE}---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {{{{ .Release.Name }}}}\n");
    assert_eq!(messages(&helm), ["a.yaml:8: a Helm template: render it with `helm template` first"]);
    assert_eq!(read(&helm).objects.count(Kind::Service), 1);
    let quoted = SERVICE.replace("name: a", "name: '{{ .Release.Name }}-api'");
    assert_eq!(
        messages(&quoted),
        [
            "a.yaml:3: Service {{ .Release.Name }}-api: its name is a Helm template: render it with `helm template` first"
        ]
    );
    assert_eq!(
        messages("{% for x in y %}\nkind: Service\n{% endfor %}"),
        ["a.yaml:1: a Jinja template: render it first"]
    );
    let flux = messages(&format!("{SERVICE}spec: {{ports: [{{port: \"${{PORT}}\"}}]}}\n"));
    assert!(flux[0].starts_with("a.yaml:4: Service a: spec.ports[0].port is \"${PORT}\", but a number"), "{flux:?}");
    assert!(flux[0].contains("a variable that Flux substitutes"), "{flux:?}");
}

#[test]
fn a_byte_order_mark_may_come_first_in_a_file_and_in_each_of_several_that_were_joined() {
    let json =
        |name| format!("{{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {{\"name\": \"{name}\"}}}}\n");
    assert_eq!(services(&format!("\u{feff}{}{}", json("a"), json("b"))), 2);
    assert_eq!(services(&format!("\u{feff}{SERVICE}")), 1);
    let other = SERVICE.replace("name: a", "name: b");
    assert_eq!(services(&format!("\u{feff}---\n{SERVICE}\u{feff}---\n{other}")), 2);
}

#[test]
fn text_that_powershell_wrote_is_read() {
    let bytes = SERVICE.encode_utf16().flat_map(u16::to_le_bytes);
    let bytes: Vec<_> = [0xff, 0xfe].into_iter().chain(bytes).collect();
    assert_eq!(decoded(bytes).as_deref().map(services), Some(1));
    assert_eq!(decoded(vec![0xff, 0x41]), None);
}

#[test]
fn a_list_of_objects_without_a_kind_is_read_in_json_and_in_yaml() {
    let service =
        |name| format!("{{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {{\"name\": \"{name}\"}}}}");
    assert_eq!(services(&format!("[{}, {}]", service("a"), service("b"))), 2);
    assert_eq!(services(&format!("- {}\n- {}\n", service("a"), service("b"))), 2);
}

#[test]
fn json_before_an_error_is_kept_and_the_error_is_on_its_line() {
    let text = "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"a\"}}\n{\"kind\": }\n";
    assert_eq!(messages(text), ["a.yaml:2: expected value"]);
    assert_eq!(read(text).objects.count(Kind::Service), 1);
}

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {replicas: 2.0}\n";

#[test]
fn a_whole_number_may_be_written_with_a_point() {
    let read = read(DEPLOYMENT);
    assert_eq!(read.errors, []);
    let known = WorkloadId { namespace: "default".to_owned(), kind: WorkloadKind::Deployment, name: "api".to_owned() };
    assert_eq!(read.objects.workload(&known).map(|state| state.replicas.wanted), Some(2));
}

#[test]
fn a_scaled_object_that_would_keep_unknown_replicas_is_left_out() {
    let left = |replicas: &str, annotations: &Value| {
        let read = read(&DEPLOYMENT.replace("2.0", replicas));
        let mut objects = vec![json!({"metadata": {"namespace": "default", "annotations": annotations},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "api"}}})];
        read.without_unknown_replicas(&mut objects);
        objects.len()
    };
    let adopted = json!({ADOPTED_REPLICAS: "1"});
    assert_eq!(left("\"${N}\"", &adopted), 0);
    assert_eq!(left("\"3\"", &adopted), 1);
    assert_eq!(left("\"${N}\"", &json!({})), 1);
}

#[test]
fn a_value_is_found_on_the_line_of_its_own_field() {
    let text = format!("{SERVICE}spec:\n  x: v1\n  selector:\n    v: 1\n");
    assert_eq!(
        messages(&text),
        ["a.yaml:7: Service a: spec.selector.v is read as 1 without quotes, but is a text: set it in quotes"]
    );
}

#[test]
fn a_value_that_kubectl_takes_for_a_boolean_or_a_number_is_reported_where_a_text_is_wanted() {
    for (written, read) in [("yes", "true"), ("off", "false"), ("010", "8"), ("0x1F", "31")] {
        let text = format!("{SERVICE}spec:\n  x: [true, 8, 31, false]\n  selector:\n    v: {written}\n");
        let wanted = format!(
            "a.yaml:7: Service a: spec.selector.v is read as {read} without quotes, but is a text: set it in quotes"
        );
        assert_eq!(messages(&text), [wanted]);
    }
}

#[test]
fn a_document_that_cannot_be_read_is_reported_on_its_line_and_the_others_are_read() {
    let other = SERVICE.replace("name: a", "name: b");
    let deep: String = (0..80).map(|depth| format!("{}x:\n", " ".repeat(depth))).collect();
    let broken = [
        "spec: *nowhere\n",
        "kind: Service\n",
        &format!("spec:\n x: &x [{}]\n y: {}\n", "0,".repeat(999), "- *x\n".repeat(2)),
        &deep,
    ];
    let reasons = [
        "a.yaml:8: reference to unknown value",
        "a.yaml:8: duplicate mapping key `kind` is not allowed here",
        "a.yaml:10: block sequence entries are not allowed in this context",
        "a.yaml:72: lists and objects are nested deeper than 64",
    ];
    for (broken, reason) in broken.iter().zip(reasons) {
        let text = format!("{SERVICE}---\n{SERVICE}{broken}---\n{other}");
        assert_eq!(messages(&text), [reason]);
        assert_eq!(read(&text).objects.count(Kind::Service), 2);
    }
}

#[test]
fn a_namespace_that_nobody_named_is_left_out_again() {
    let object = |namespace: &str| json!({"metadata": {"name": "api", "namespace": namespace}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "api"}}});
    let printed = |read: &Manifests, namespace: &str| {
        let mut objects = vec![object(namespace)];
        read.without_assumed_namespaces(&mut objects);
        objects[0]["metadata"]["namespace"].clone()
    };
    assert_eq!(printed(&read(DEPLOYMENT), "default"), Value::Null);
    assert_eq!(printed(&read(DEPLOYMENT), "shop"), "shop");
    let named = DEPLOYMENT.replace("name: api", "name: api, namespace: default");
    assert_eq!(printed(&read(&named), "default"), "default");
    let settings = ManifestSettings { namespace: Some("shop".to_owned()), ..ManifestSettings::default() };
    let of_shop = read_with(DEPLOYMENT, &settings);
    assert_eq!(printed(&of_shop, "shop"), "shop");
    let known = WorkloadId { namespace: "shop".to_owned(), kind: WorkloadKind::Deployment, name: "api".to_owned() };
    assert!(of_shop.objects.workload(&known).is_some());
}

#[test]
fn a_namespace_that_is_a_number_is_read_as_a_name() {
    let text = DEPLOYMENT.replace("name: api", "name: api, namespace: 2024");
    assert_eq!(
        messages(&text),
        ["a.yaml:3: metadata.namespace is read as 2024 without quotes, but is a text: set it in quotes"]
    );
    let known = WorkloadId { namespace: "2024".to_owned(), kind: WorkloadKind::Deployment, name: "api".to_owned() };
    assert!(read(&text).objects.workload(&known).is_some());
}

#[test]
fn lines_that_end_in_cr_alone_are_read_and_what_kubectl_misses_is_reported() {
    let text = format!("# old\n{SERVICE}---\n{}", SERVICE.replace("name: a", "name: b")).replace('\n', "\r");
    assert_eq!(read(&text).objects.count(Kind::Service), 2);
    assert_eq!(
        messages(&text),
        [
            "a.yaml: its lines end in CR alone: all its documents are read here, but kubectl sees no --- between them. Write LF: \
          tr '\\r' '\\n' < FILE"
        ]
    );
    assert_eq!(services(&SERVICE.replace('\n', "\r")), 1, "with one document nothing is missed");
    assert_eq!(services(&SERVICE.replace('\n', "\r\n")), 1);
    let wrong = format!("{SERVICE}spec:\n  ports: 3\n").replace('\n', "\r");
    assert!(messages(&wrong)[0].starts_with("a.yaml:5: Service a: spec.ports"), "{:?}", messages(&wrong));
}

#[test]
fn a_kind_in_a_wrong_group_is_reported_with_the_right_one_also_where_objects_are_read_as_they_stand() {
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: AIGatewayRoute\nmetadata: {name: a, namespace: b}\n";
    let expected =
        "there is no AIGatewayRoute in gateway.networking.k8s.io/v1: write apiVersion: aigateway.envoyproxy.io/v1beta1";
    assert_eq!(messages(text), [format!("a.yaml:1: AIGatewayRoute b/a: {expected}")]);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), format!("{text}---\n{SERVICE}")).unwrap();
    let (values, errors) = read_all_values(&[folder.path().to_owned()]);
    assert_eq!(values.len(), 2);
    assert!(errors.len() == 1 && errors[0].reason.ends_with(expected), "{errors:?}");
}

#[test]
fn a_kind_with_wrong_capitals_is_reported_with_the_right_ones() {
    let text = "apiVersion: gateway.networking.k8s.io/v1\nkind: HttpRoute\nmetadata: {name: a, namespace: b}\n";
    assert_eq!(messages(text), ["a.yaml:1: HttpRoute b/a: the kind is HttpRoute: write kind: HTTPRoute"]);
    assert_eq!(messages(&text.replace("gateway.networking.k8s.io", "example.com")), Vec::<String>::new());
}

#[test]
fn the_same_object_twice_is_reported_unless_both_are_the_same() {
    let other = format!("{SERVICE}spec: {{ports: [{{port: 80}}]}}\n");
    assert_eq!(messages(&format!("{SERVICE}---\n{SERVICE}")), Vec::<String>::new());
    assert_eq!(
        messages(&format!("{SERVICE}---\n{other}")),
        ["a.yaml:5: Service default/a is in a.yaml:1 too, and differs: this one is used. Remove one of them"]
    );
}

#[test]
fn what_an_object_of_another_kind_scales_gets_no_scaled_object() {
    let other = |api_version: &str, kind: &str, field: &str| {
        format!(
            "apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: b}}\nspec: {{{field}: {{name: a, kind: Deployment}}}}\n"
        )
    };
    let left = |text: String| {
        let target = json!({"scaleTargetRef": {"kind": "Deployment", "name": "a"}});
        let mut objects = vec![json!({"metadata": {"namespace": "default"}, "spec": target})];
        let told = read(&text).without_scaled_by_others(&mut objects);
        (objects.len(), told)
    };
    let (kept, told) = left(other("http.keda.sh/v1alpha1", "HTTPScaledObject", "scaleTargetRef"));
    assert_eq!(kept, 0);
    assert!(told[0].starts_with("Deployment default/a: HTTPScaledObject default/b scales it already"), "{told:?}");
    assert_eq!(left(other("autoscaling.k8s.io/v1", "VerticalPodAutoscaler", "targetRef")), (1, vec![]));
}

#[test]
fn the_configuration_of_envoy_gateway_is_read_from_its_config_map() {
    let config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: envoy-gateway-config}\ndata:\n  envoy-gateway.yaml: |\n    \
                      apiVersion: gateway.envoyproxy.io/v1alpha1\n    kind: EnvoyGateway\n    gateway: {controllerName: example.com/eg}\n";
    let class = "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: eg}\nspec: {controllerName: example.com/eg}\n";
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: web}\nspec: {gatewayClassName: eg, \
                   listeners: [{name: http, protocol: HTTP, port: 80}]}\n";
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\nspec: {parentRefs: [{name: web}], \
                 rules: [{backendRefs: [{name: a, port: 80}]}]}\n";
    let service = format!("{SERVICE}spec: {{ports: [{{port: 80}}]}}\n");
    let reasons = |more: &str| {
        let read = read(&format!("{service}---\n{class}---\n{gateway}---\n{route}---\n{more}"));
        read.objects.routing().not_followed.iter().map(|one| one.reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(""), ["OtherController"]);
    assert_eq!(reasons(config_map), Vec::<&str>::new());
}

#[test]
fn annotations_on_a_kind_that_is_not_scaled_are_reported_with_their_line() {
    let text =
        "apiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: a\n  annotations:\n    tidegate.dev/hours: x\n";
    let told: Vec<_> = read(text).misplaced.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("a.yaml:6: Widget a: tidegate.dev/hours: kind Widget is not scaled"), "{told:?}");
}

#[test]
fn only_kinds_that_are_scaled_are_read_and_each_other_one_is_reported_once() {
    let text = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: api\n  annotations:\n    tidegate.dev/hours: x\n";
    let count = |scaled: &[WorkloadKind]| {
        let read = read_with(text, &ManifestSettings { scaled: scaled.to_vec(), ..ManifestSettings::default() });
        (read.objects.plan().workloads.len(), read.misplaced.len() + read.objects.misplaced().len())
    };
    assert_eq!(count(&[]), (1, 0), "every kind that is known");
    assert_eq!(count(&[WorkloadKind::Rollout]), (1, 0));
    assert_eq!(count(&[WorkloadKind::CloneSet]), (0, 1));
}

#[test]
fn links_that_lead_back_end_the_search() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), SERVICE).unwrap();
    for name in ["b", "c", "d"] {
        std::os::unix::fs::symlink(folder.path(), folder.path().join(name)).unwrap();
    }
    let mut reader = Reader::new(&ManifestSettings::default());
    reader.read(&[folder.path().to_owned()]);
    assert_eq!((reader.folders.len(), reader.read.errors.len()), (1, 0));
    assert_eq!(reader.read.objects.count(Kind::Service), 1);
}

#[test]
fn a_kustomization_that_changes_the_files_beside_it_is_reported_with_what_to_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kustomization.yaml"), "resources: [a.yaml]\nnamePrefix: eu-\n").unwrap();
    std::fs::write(folder.path().join("a.yaml"), SERVICE).unwrap();
    let read = Manifests::read(&[folder.path().to_owned()], &ManifestSettings::default());
    let [told] = &read.errors[..] else { panic!("{:?}", read.errors) };
    assert!(told.to_string().contains("kustomization.yaml:1: kustomize makes other objects"), "{told}");
    assert!(told.to_string().contains("(namePrefix)"), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let errors = read_manifests(&["no-such-file.yaml".into()]).unwrap_err();
    assert!(errors.to_string().starts_with("no-such-file.yaml: "), "{errors}");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, before) in ('b'..='j').zip('a'..) {
        let aliases = vec![format!("*{before}"); 10].join(",");
        text = format!("{text}{name}: &{name} [{aliases}]\n");
    }
    let told = messages(&text);
    assert!(
        told[0].starts_with("a.yaml:6: aliases add more than 250000 keys and values or 16 MiB: write out"),
        "{told:?}"
    );
}

/// YAML that looks like objects, with something wrong now and then.
fn almost_yaml() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("---".to_owned()),
        Just("...".to_owned()),
        Just("apiVersion: v1".to_owned()),
        Just("kind: Service".to_owned()),
        Just("metadata: {name: a, namespace: b}".to_owned()),
        Just("spec: {ports: [{port: 80}], selector: {a: b}}".to_owned()),
        Just("  - &a [1, *a]".to_owned()),
        "[ -~\n\t]{0,20}",
        ".{0,10}",
    ];
    proptest::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics(text in almost_yaml()) {
        let read = read(&text);
        let _ = (read.objects.plan(), read.objects.routes());
    }

    #[test]
    fn every_line_of_a_stream_belongs_to_one_document(text in almost_yaml()) {
        for document in documents(&text) {
            let lines_before = text.lines().take(document.line - 1).count();
            prop_assert_eq!(lines_before, document.line - 1);
            prop_assert!(text.contains(document.text));
        }
    }
}
