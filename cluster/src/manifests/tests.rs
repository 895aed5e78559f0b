use proptest::prelude::*;

use super::*;
use crate::Kind;

fn reader_of(text: &str) -> ManifestReader {
    let mut reader = ManifestReader { objects: Objects::default(), values: None, errors: Vec::new() };
    reader.read_text(Path::new("a.yaml"), text, Strictness::OnlyObjects);
    reader
}

fn messages(text: &str) -> Vec<String> {
    reader_of(text).errors.iter().map(ToString::to_string).collect()
}

fn services(text: &str) -> usize {
    let reader = reader_of(text);
    assert!(reader.errors.is_empty(), "{:?}", reader.errors);
    reader.objects.count(Kind::Service)
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
fn an_error_names_file_document_and_line() {
    let text = format!("{SERVICE}---\nkind: Service\nmetadata:\n  name: [\n");
    assert_eq!(messages(&text), ["a.yaml, document 2, line 8: did not find expected node content"]);
    let text = format!("{SERVICE}---\napiVersion: v1\nkind: Service\nmetadata: {{name: b}}\nspec: {{ports: 3}}\n");
    assert_eq!(
        messages(&text),
        ["a.yaml, document 2, line 5: Service default/b: invalid type: integer `3`, expected a sequence"]
    );
    assert_eq!(messages("a: b"), ["a.yaml, document 1, line 1: not a Kubernetes object: it has no kind"]);
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
    assert_eq!(messages(&text), ["a.yaml, document 1, line 1: repetition limit exceeded"]);
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
        let reader = reader_of(&text);
        let _ = (reader.objects.plan(), reader.objects.routes());
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
