//! Snapshots of each example: the ScaledObjects that `tidegate render` prints, and the notices. `cargo insta review` accepts a change.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use insta::assert_snapshot;
use tidegate_cluster::{
    ManifestSettings, Manifests,
    scaling::{ScalerEndpoint, Settings, render},
};
use tidegate_core::yaml;

/// The YAML files of each example, by its name: those of a folder are one example, and each file outside of one is.
fn examples() -> Vec<(String, Vec<PathBuf>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut examples: Vec<_> = entries(&folder).into_iter().map(|path| (name(&path), manifests(path))).collect();
    examples.retain(|(_, files)| !files.is_empty());
    examples
}

fn manifests(path: PathBuf) -> Vec<PathBuf> {
    let mut files = if path.is_dir() { entries(&path) } else { vec![path] };
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

#[test]
fn each_example_gets_the_scaled_objects_of_its_snapshot() {
    let address = "tidegate.tidegate-system.svc:9090".to_owned();
    let scaler = ScalerEndpoint { address, ..ScalerEndpoint::default() };
    let settings = Settings { scaler, release: "tidegate-system.tidegate".to_owned(), tolerance: true };
    let monday: DateTime<Utc> = "2026-03-02T12:00:00Z".parse().unwrap();
    let examples = examples();
    assert!(examples.len() >= 7, "{examples:?}");
    for (name, files) in examples {
        let as_installed = ManifestSettings { activates: true, ..ManifestSettings::default() };
        let Manifests { objects, errors, misplaced, .. } = Manifests::read(&files, &as_installed);
        assert!(errors.is_empty() && misplaced.is_empty(), "{name}: {errors:?} {misplaced:?}");
        let rendered = render(&objects, &objects.plan(), &settings, monday);
        let objects = rendered.scaled_objects.iter().map(|object| yaml::write(object).unwrap());
        let notices = rendered.notices.iter().map(|(id, notice)| format!("# {id}: {notice}\n"));
        let text = objects.chain(notices).collect::<Vec<_>>().join("---\n");
        assert_snapshot!(name, text);
    }
}
