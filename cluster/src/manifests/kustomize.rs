//! Folders of kustomize. Their files are read as they are, without what kustomize makes of them.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The names of the file that makes a folder one of kustomize's.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Fields of a kustomization with which objects have other names, annotations, replicas or fields than in their files, or come from
/// elsewhere. Labels and images are the same for whatever is found here.
const CHANGING: [&str; 14] = [
    "namespace",
    "namePrefix",
    "nameSuffix",
    "commonAnnotations",
    "replicas",
    "patches",
    "patchesStrategicMerge",
    "patchesJson6902",
    "replacements",
    "components",
    "generators",
    "transformers",
    "helmCharts",
    "helmChartInflationGenerator",
];

/// Whether a file is that of a folder of kustomize.
pub(super) fn is_kustomization(file: &Path) -> bool {
    file.file_name().is_some_and(|name| KUSTOMIZATIONS.iter().any(|known| name == *known))
}

/// The nearest folder around a file that kustomize builds.
pub(super) fn kustomization(file: &Path) -> Option<PathBuf> {
    let folders = file.ancestors().skip(1);
    let built = |folder: &&Path| KUSTOMIZATIONS.iter().any(|name| folder.join(name).is_file());
    folders.take(super::MAX_DEPTH).find(built).map(Path::to_owned)
}

/// What a kustomization does to the objects of its folder that cannot be seen in their files, as a message; `None` if nothing.
/// `namespace` is the one that objects without one are read with.
pub(super) fn unseen(file: &Path, kustomization: &Value, namespace: Option<&str>) -> Option<String> {
    let is_set = |field: &&&str| match &kustomization[**field] {
        Value::Null => false,
        Value::String(text) if **field == "namespace" => Some(text.as_str()) != namespace,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let elsewhere =
        |resource: &Value| resource.as_str().is_some_and(|path| path.starts_with("..") || path.contains("://"));
    let outside = kustomization["resources"].as_array().into_iter().flatten().any(elsewhere);
    let fields = CHANGING.iter().filter(is_set).copied().chain(outside.then_some("resources of other folders"));
    let fields = fields.collect::<Vec<_>>().join(", ");
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (!fields.is_empty()).then(|| {
        format!(
            "kustomize makes other objects of this folder's files than they are read as ({fields}). Run `kustomize build {} | tidegate \
             render -f -`",
            folder.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_kustomize_changes_is_named_and_what_makes_no_difference_is_not() {
        let unseen = |kustomization: Value| unseen(Path::new("shop/kustomization.yaml"), &kustomization, Some("shop"));
        let none = [
            json!({"resources": ["a.yaml", "sub"], "images": [{"name": "a", "newTag": "2"}], "labels": [], "patches": []}),
            json!({"namespace": "shop", "resources": ["a.yaml"]}),
            json!("not even an object"),
        ];
        assert!(none.into_iter().all(|kustomization| unseen(kustomization).is_none()));
        for (kustomization, named) in [
            (json!({"namePrefix": "a-", "patches": [{"path": "b.yaml"}]}), "namePrefix, patches"),
            (json!({"namespace": "other"}), "namespace"),
            (json!({"resources": ["../base"]}), "resources of other folders"),
        ] {
            let told = unseen(kustomization).unwrap();
            assert!(told.contains(&format!("({named})")) && told.contains("kustomize build shop |"), "{told}");
        }
    }
}
