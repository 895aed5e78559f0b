//! `tidegate migrate`: the annotations that say what other autoscalers and schedulers say.

use std::io::{Write, stdout};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use tidegate_cluster::{migrate, read_all_values};
use tidegate_core::yaml;

use crate::args::{MigrateArgs, PatchFormat};

pub(crate) fn migrate(args: &MigrateArgs) -> Result<()> {
    let (values, errors) = read_all_values(&args.files);
    let migration = migrate::migrate(&values);
    let patches = migration.patches();
    let mut out = stdout().lock();
    match args.output {
        PatchFormat::Yaml => {
            for patch in &patches {
                write!(out, "---\n{}", yaml::write(patch)?)?;
            }
        }
        PatchFormat::Kubectl => {
            for patch in &patches {
                writeln!(out, "{}", command(patch))?;
            }
        }
        PatchFormat::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": patches});
            writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
        }
    }
    for error in &errors {
        eprintln!("tidegate: {error}");
    }
    for remark in &migration.remarks {
        eprintln!("tidegate: {remark}");
    }
    match (migration.lost(), errors.len()) {
        (0, 0) if patches.is_empty() => eprintln!(
            "tidegate: nothing to migrate: no ScaledObject, HorizontalPodAutoscaler, HTTPScaledObject or SleepInfo, and no annotation \
             downscaler/…"
        ),
        (0, 0) => {}
        (1, 0) => bail!("1 field could not be turned"),
        (lost, 0) => bail!("{lost} fields could not be turned"),
        (0, _) => bail!("not everything could be read: see above"),
        (lost, _) => bail!("not everything could be read, and {lost} could not be turned: see above"),
    }
    Ok(())
}

/// A command that sets the annotations of one object and changes nothing else of it, however it was applied before.
fn command(patch: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, metadata) = (text(&patch["kind"]).to_ascii_lowercase(), &patch["metadata"]);
    let resource = match text(&patch["apiVersion"]).split_once('/') {
        Some((group, version)) => format!("{kind}.{version}.{group}"),
        None => kind,
    };
    let mut words = vec!["kubectl".to_owned(), "patch".to_owned(), quoted(&resource), quoted(&text(&metadata["name"]))];
    if let Some(namespace) = metadata["namespace"].as_str() {
        words.extend(["-n".to_owned(), quoted(namespace)]);
    }
    let annotations = json!({"metadata": {"annotations": metadata["annotations"]}});
    words.extend(["--type=merge".to_owned(), "-p".to_owned(), quoted(&annotations.to_string())]);
    words.join(" ")
}

/// A word of a shell, in quotes where it needs them: what files contain is not trusted to be a name.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_its_object_and_sets_annotations_alone() {
        let patch = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "api", "namespace": "shop", "annotations": {"tidegate.dev/model": "it's"}}});
        let wanted = r#"kubectl patch deployment.v1.apps api -n shop --type=merge -p '{"metadata":{"annotations":{"tidegate.dev/model":"it'\''s"}}}'"#;
        assert_eq!(command(&patch), wanted);
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dev", "annotations": {}}});
        assert!(command(&namespace).starts_with("kubectl patch namespace dev --type=merge -p "));
    }

    #[test]
    fn a_name_that_is_none_runs_nothing() {
        let patch =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "$(reboot); '", "annotations": {}}});
        assert!(
            command(&patch).starts_with(r"kubectl patch namespace '$(reboot); '\''' --type"),
            "{}",
            command(&patch)
        );
    }
}
