//! The read rules of the chart's roles, from the table of kinds.

use std::{collections::BTreeMap, fmt::Write};

use tidegate_cluster::Kind;

/// A template of Helm with one rule for each API group: one list for all namespaces, one for each.
pub(super) fn template() -> String {
    let mut text =
        "{{- /* `cargo xtask docs` writes this file from the table in cluster/src/kind.rs. */}}\n".to_owned();
    rules(&mut text, "tidegate.clusterReadRules", |kind| !kind.namespaced());
    rules(&mut text, "tidegate.readRules", |kind| kind.namespaced() && !only_by_value(kind));
    text
}

/// CronJobs may be read only where `manage.cronJobs` lets Tidegate suspend them, by the rule for that.
fn only_by_value(kind: Kind) -> bool {
    kind == Kind::CronJob
}

fn rules(text: &mut String, name: &str, wanted: impl Fn(Kind) -> bool) {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for kind in Kind::ALL.iter().copied().filter(|kind| wanted(*kind)) {
        groups.entry(kind.api_group()).or_default().push(kind.plural());
    }
    let _ = writeln!(text, "{{{{- define \"{name}\" -}}}}");
    for (group, plurals) in groups {
        let group = if group.is_empty() { "\"\"" } else { group };
        let _ = write!(
            text,
            "- apiGroups: [{group}]\n  resources: [{}]\n  verbs: [get, list, watch]\n",
            plurals.join(", ")
        );
    }
    text.push_str("{{- end }}\n");
}
