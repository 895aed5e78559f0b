//! The table of CRDs in `examples/README.md`, against the files beside it and against the versions that the stack has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tidegate_core::yaml;

use super::PEERS;

/// The peer that has the CRDs of a product in the table.
const CRDS: [(&str, &str); 10] = [
    ("Argo CD", "argo-cd-crds"),
    ("Argo Rollouts", "argo-rollouts-manifests"),
    ("Envoy AI Gateway", "ai-gateway-crds"),
    ("Envoy Gateway", "envoy-gateway-crds"),
    ("Flux's kustomize-controller", "flux-kustomize-crds"),
    ("Flux's source-controller", "flux-source-crds"),
    ("Gateway API, experimental channel", "gateway-api-crds"),
    ("KEDA", "keda-manifests"),
    ("Prometheus operator", "prometheus-operator-crds"),
    ("cert-manager", "cert-manager-crds"),
];
/// Groups of Kubernetes itself that examples use.
const BUILT_IN: [&str; 8] = [
    "",
    "apps",
    "autoscaling",
    "batch",
    "discovery.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
];

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// The rows: group and kind (any if it names none), product, version.
fn table() -> Vec<[String; 4]> {
    let page = fs::read_to_string(examples().join("README.md")).unwrap();
    let (_, rows) = page.split_once("| kinds | CRDs of | version |\n|---|---|---|\n").unwrap();
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = rows.lines().take_while(|row| row.starts_with('|')).map(cells);
    let row = |cells: Vec<String>| {
        let [kinds, product, version] = cells.try_into().unwrap();
        let (group, kind) = kinds.trim_start_matches('`').split_once('`').unwrap();
        [group.to_owned(), kind.trim().to_owned(), product, version]
    };
    rows.map(row).collect()
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { yaml_files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

#[test]
fn the_index_of_examples_names_the_versions_of_crds_that_the_stack_has() {
    for [group, _, product, version] in table() {
        if group == "tidegate.dev" {
            continue;
        }
        let (_, peer) = CRDS.iter().find(|(name, _)| *name == product).expect(&product);
        let peer = PEERS.iter().find(|candidate| candidate.name == *peer).expect(peer);
        assert_eq!(version, peer.version, "{product} in examples/README.md, and {} in peers.rs", peer.name);
    }
}

#[test]
fn the_index_of_examples_has_a_row_for_each_kind_that_is_not_of_kubernetes_itself() {
    let table = table();
    for file in yaml_files(&examples()) {
        let objects: Vec<Value> = yaml::read_all(&fs::read_to_string(&file).unwrap()).unwrap();
        for object in objects {
            let (version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
            let (group, _) = version.split_once('/').unwrap_or_default();
            let has_row = table.iter().any(|[of, only, ..]| of == group && (only.is_empty() || only == kind));
            let file = file.display();
            assert!(BUILT_IN.contains(&group) || has_row, "{file}: {kind} of {group} has no row in examples/README.md");
        }
    }
}
